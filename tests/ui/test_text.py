"""Untrusted text: what must be disarmed, and what must stay as it was written."""

from __future__ import annotations

import re

import pytest

from bot.ui.text import plain, plain_lines, safe_markdown

JOINER = "\u2060"
_LIVE_IMAGE = re.compile(r"(?<!\\)(?:\\\\)*!\[")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("![x](http://evil.example/p.png)", "\\![x](http://evil.example/p.png)"),
        ("![x][1]", "\\!\\[x]\\[1]"),
        ("[1]: http://evil.example", "\\[1]: http://evil.example"),
        ("[go](javascript:alert(1))", "\\[go](javascript\\:alert(1))"),
        ("[go](data:text/html;x)", "\\[go](data\\:text/html;x)"),
        ("[go](//evil.example)", "\\[go](//evil.example)"),
        ("[go](#top)", "\\[go](#top)"),
        ("<img src=x onerror=alert(1)>", "\\<img src=x onerror=alert(1)>"),
        ("costs $5 and $6", "costs \\$5 and \\$6"),
        (":red[alarm]", "\\:red\\[alarm]"),
        ("see :material/home: now", f"see :{JOINER}material/home: now"),
        (":smile:", f":{JOINER}smile:"),
        (":::note", "\\:\\:\\:note"),
        ("\\:smile:", f"\\:{JOINER}smile:"),
    ],
)
def test_what_could_act_is_disarmed(written: str, shown: str) -> None:
    assert safe_markdown(written) == shown


@pytest.mark.parametrize(
    "written",
    [
        "Plain words, a list:\n- one\n- two\n\n1. first\n2. second",
        "**bold**, *soft*, ~~gone~~ and `code with $ and [x] and <b>`",
        "[Pellworth](https://pellworth.example/a_b?c=1#d)",
        "see https://pellworth.example/a:b_c for more",
        "<https://pellworth.example/>",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "```python\nprint('$x', a[0], ':red[x]', '<b>')\n```",
        "At 10:30, ratio 3:1, 1,260 °C",
        "> quoted",
    ],
)
def test_harmless_markdown_stays_as_written(written: str) -> None:
    assert safe_markdown(written) == written


def test_a_link_hides_nobody_behind_a_user_name() -> None:
    shown = safe_markdown("[bank](https://bank.example@evil.example/)")
    assert shown.startswith("\\[bank\\]")


@pytest.mark.parametrize(
    "trick",
    [
        "| ` | ![x](http://e.example/1) ` |",
        "a ` b\n` ![x](http://e.example/2) `",
        "http://a.example/` ![x](http://e.example/3) `",
        "www.a.example/` ![x](http://e.example/4) `",
        "me@a.example` ![x](http://e.example/5) `",
        "[a](`) ![x](http://e.example/6) `",
        "\\`![x](http://e.example/7)`",
        "> ```\n![x](http://e.example/8)\n> ```",
        "- a\n  ```\n![x](http://e.example/9)".replace("  ```", "  text"),
        "`` ` ![x](http://e.example/10)",
        "<!--\n![x](http://e.example/11)",
        "$$\n![x](http://e.example/12)\n$$",
        ":::box\n![x](http://e.example/13)\n:::",
        "```\ncode\n```\n![x](http://e.example/14)",
        "````\n```\n````\n![x](http://e.example/15)",
        "```\ncode\n      ```\n![x](http://e.example/16)",
        "~~~\n```\n~~~\n![x](http://e.example/17)",
        "``` a`b\n![x](http://e.example/18)",
        "http://a.example/``a\\`![x](http://e.example/19)``",
        "text\u2028![x](http://e.example/20)",
        "!\x00[x](http://e.example/21)",
        "!\u202e[x](http://e.example/22)",
    ],
)
def test_no_trick_leaves_an_image_alive(trick: str) -> None:
    shown = safe_markdown(trick)
    outside_fences = re.sub(r"^(`{3,}|~{3,}).*?^\1$", "", shown, flags=re.DOTALL | re.MULTILINE)
    outside_code = re.sub(r"(?<!\\)`[^`\n]*(?<!\\)`", "", outside_fences)
    assert not _LIVE_IMAGE.search(outside_code)


def test_fences_move_to_the_first_column_where_nothing_can_close_them_early() -> None:
    written = "1. Do:\n   ```bash\n   echo $HOME ![x](y)\n     two\n   ```\n![x](http://e.example)"
    assert safe_markdown(written) == (
        "1. Do:\n```bash\necho $HOME ![x](y)\n  two\n```\n\\![x](http://e.example)"
    )


@pytest.mark.parametrize("language", ["mermaid", "Math", "latex", "x onload=1", "{=html}"])
def test_a_fence_is_never_drawn_as_something_else_than_code(language: str) -> None:
    first_line = safe_markdown(f"```{language}\na\n```").split("\n")[0]
    assert first_line in ("```", "```x")


def test_an_open_fence_is_closed_and_has_no_cursor_in_it() -> None:
    assert safe_markdown("Look:\n```py\nx = 1", streaming=True) == "Look:\n```py\nx = 1\n```"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("It is **very", "It is **very** ▌"),
        ("It is **", "It is ▌"),
        ("It is **very** hot", "It is **very** hot ▌"),
        ("`2 ** 3` is", "`2 ** 3` is ▌"),
        ("", " ▌"),
    ],
)
def test_open_bold_is_closed_while_the_text_goes_on(written: str, shown: str) -> None:
    assert safe_markdown(written, streaming=True) == shown


def test_plain_shows_exactly_the_characters_and_links_nothing() -> None:
    shown = plain("# <b>a</b> ![x](http://e.example) www.e.example a@e.example :smile: 1.")
    assert JOINER + "//" in shown.replace("\\", "")
    assert "www" + JOINER in shown
    assert re.sub(rf"\\([!-/:-@\[-`{{-~])|{JOINER}", r"\1", shown) == (
        "# <b>a</b> ![x](http://e.example) www.e.example a@e.example :smile: 1."
    )
    assert not re.search(r"(?<!\\)[#<>\[\]()`*_$]", shown)


def test_plain_is_one_line_and_plain_lines_keeps_them() -> None:
    assert plain("a\n\n b\t c") == "a b c"
    assert plain_lines("a\n\nb*") == "a  \n&nbsp;  \nb\\*"
