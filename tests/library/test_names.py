"""Names of uploads cannot lead anywhere or look like something else."""

from __future__ import annotations

import pytest

from bot.library.names import LONGEST_NAME, numbered_name, safe_name


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("report.md", "report.md"),
        ("Preisliste März 2024.csv", "Preisliste März 2024.csv"),
        ("../../x.md", "x.md"),
        ("..\\..\\x.md", "x.md"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\x.md", "x.md"),
        ("a\u202etxt.md", "atxt.md"),
        ("a\x00b\nc.md", "ab c.md"),
        (".hidden.md", "hidden.md"),
        ("con.md", "_con.md"),
        ("LPT1", "_LPT1"),
        ('a<b>:"|?*.md', "a_b______.md"),
        ("name. .md", "name.md"),
        ("~$open.docx", "$open.docx"),
        ("NUL.txt", "_NUL.txt"),
        ("con .txt", "_con.txt"),
        ("CONIN$", "_CONIN$"),
        ("com¹.md", "_com¹.md"),
        ("half \ud800 a character.md", "half a character.md"),
        ("שלום.md", "שלום.md"),
        ("..", "document"),
        ("...", "document"),
        ("", "document"),
        ("dir/", "document"),
    ],
)
def test_safe_names(given: str, safe: str) -> None:
    assert safe_name(given) == safe
    assert safe_name(safe) == safe


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_long_names_keep_their_suffix_and_fit_a_file_system(letter: str) -> None:
    name = safe_name(letter * 500 + ".docx")
    assert name.endswith(f"{letter}.docx")
    assert len(name) <= LONGEST_NAME
    assert len(name.encode()) <= 255


def test_a_long_suffix_is_cut_too() -> None:
    assert len(safe_name("a." + "b" * 500)) <= LONGEST_NAME


def test_a_second_file_of_a_name_gets_a_number() -> None:
    assert numbered_name("notes.md", 2) == "notes (2).md"
    for letter in "a😀":
        longest = safe_name(letter * 500 + ".docx")
        numbered = numbered_name(longest, 12)
        assert numbered.endswith(f"{letter} (12).docx")
        assert len(numbered) <= LONGEST_NAME
        assert len(numbered.encode()) <= 255
        assert safe_name(numbered) == numbered
