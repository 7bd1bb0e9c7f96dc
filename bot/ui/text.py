"""Text of models and documents, made safe to show as Markdown.

Everything a model says or a document holds is untrusted. Streamlit already shows raw HTML as
text; what is left to disarm is images (a request to somebody else's server), links that are not
web links, mathematics, and Streamlit's own directives (colours, icons, badges).

The scanner never has to guess what the renderer will take for code: fences are moved to the
first column, code spans must close on their own line, and every bracket outside of code that is
not part of a plain web link is escaped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

_WORD_JOINER = "\u2060"  # invisible; keeps two characters from being read together
_CURSOR = " ▌"

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_FENCE = re.compile(r"^([ ]*)(`{3,}|~{3,})(.*)$")
_LANGUAGE = re.compile(r"^[A-Za-z0-9+#-]{1,20}$")
_DRAWN_LANGUAGES = {"mermaid", "math", "latex"}  # the renderer would draw these

_WEB_ADDRESS = r"https?://[^\s()<>\[\]{}\\`\"'|$]+"
_CODE_SPAN = r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?P<inside>.*?[^`])(?P=ticks)(?!`))"
_OTHER_TOKENS = rf"""
      \[(?P<label>[^\[\]\\`<>!|$]*)\]\((?P<target>{_WEB_ADDRESS}(?:\([^\s()<>`\\]*\))?)\)
    | <(?P<bracketed>{_WEB_ADDRESS})>
    | (?P<address>{_WEB_ADDRESS})
    | (?P<ticked>`+)
    | (?P<bare>[\[<$]|!(?=\[))
    | (?P<named>:(?=[\w+/-]+:))
    | (?P<colon>:(?=[A-Za-z:]))
"""
_ESCAPED = r"(?P<escaped>\\[!-/:-@\[-`{-~])"
_TOKEN = re.compile(f"{_ESCAPED} | {_CODE_SPAN} | {_OTHER_TOKENS}", re.VERBOSE | re.IGNORECASE)
_TOKEN_OUTSIDE_CODE = re.compile(f"{_ESCAPED} | {_OTHER_TOKENS}", re.VERBOSE | re.IGNORECASE)
_LINK_BEFORE = re.compile(r"://|www\.|@", re.IGNORECASE)
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_LINKED_BY_RENDERER = re.compile(r"(:(?=/|[\w+-])|\bwww(?=\.)|@)", re.IGNORECASE)


def safe_markdown(text: str, *, streaming: bool = False) -> str:
    """Markdown of untrusted origin, disarmed; links are kept when they are http or https.

    Args:
        text: what a model wrote, or a document holds.
        streaming: the text goes on: open bold is closed and a cursor shown at its end.
    """
    lines = list(_marked_lines(_cleaned(text)))
    shown = "\n".join(line if is_code else _disarmed(line) for is_code, line in lines)
    ends_in_code = lines[-1][0]
    return _with_bold_closed(shown) + _CURSOR if streaming and not ends_in_code else shown


def plain(text: str) -> str:
    """Markdown that shows exactly these characters, on one line, with nothing to click."""
    one_line = " ".join(_cleaned(text).split())
    joined = _LINKED_BY_RENDERER.sub(rf"\1{_WORD_JOINER}", one_line)
    return _PUNCTUATION.sub(r"\\\1", joined)


def plain_lines(text: str) -> str:
    """Like `plain`, with the line breaks kept."""
    return "  \n".join(plain(line) or "&nbsp;" for line in _cleaned(text).strip().split("\n"))


def widget_key(name: str) -> str:
    """A widget key for an untrusted name: keys become class names in the page."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _cleaned(text: str) -> str:
    unix = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    return _CONTROL.sub("", unix)


def _marked_lines(text: str) -> Iterator[tuple[bool, str]]:
    """Each line, with whether it belongs to a fenced code block; fences in the first column."""
    fence, indent = "", 0
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if fence:
            if match and match[2].startswith(fence) and not match[3].strip():
                yield True, fence
                fence = ""
            else:
                yield True, line[min(indent, len(line) - len(line.lstrip(" "))) :]
        elif match and not (match[2].startswith("`") and "`" in match[3]):
            indent, fence = len(match[1]), match[2]
            yield True, fence + _language(match[3])
        else:
            yield False, line
    if fence:
        yield True, fence


def _language(info: str) -> str:
    word = info.strip().split(" ")[0]
    if not _LANGUAGE.match(word) or word.lower() in _DRAWN_LANGUAGES:
        return ""
    return word


def _disarmed(line: str, tokens: re.Pattern[str] = _TOKEN) -> str:
    return tokens.sub(lambda match: _disarmed_token(match, line), line)


def _disarmed_token(match: re.Match[str], line: str) -> str:
    found = match[0]
    match match.lastgroup:
        case "escaped":
            return "\\:" + _WORD_JOINER if found == "\\:" else found
        case "code":
            return found if _is_code_span(match, line) else _escaped_ticks(match)
        case "target":
            return _link(match["label"], match["target"])
        case "named":
            return ":" + _WORD_JOINER
        case "ticked":
            return "\\`" * len(found)
        case "bare" | "colon":
            return "\\" + found
        case _:
            return found


def _is_code_span(match: re.Match[str], line: str) -> bool:
    """Whether the renderer is certain to read this as code: not in an address, not in a cell."""
    before = re.split(r"[ ]", line[: match.start()])[-1]
    return "|" not in match[0] and not _LINK_BEFORE.search(before)


def _escaped_ticks(match: re.Match[str]) -> str:
    ticks = "\\`" * len(match["ticks"])
    return ticks + _disarmed(match["inside"], _TOKEN_OUTSIDE_CODE) + ticks


def _link(label: str, target: str) -> str:
    address = urlsplit(target)
    if not address.hostname or address.username is not None:
        return _PUNCTUATION.sub(r"\\\1", f"[{label}]({target})".replace(":", ":" + _WORD_JOINER))
    return f"[{_disarmed(label) or _disarmed(address.hostname)}]({target})"


def _with_bold_closed(shown: str) -> str:
    body = shown.rstrip()
    paragraph = re.sub(r"`[^`\n]*`", "", body.rpartition("\n\n")[2])
    if paragraph.count("**") % 2 == 0:
        return body
    return body[:-2].rstrip() if body.endswith("**") else body + "**"
