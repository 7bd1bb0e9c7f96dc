"""Plain text and the pages of a PDF → outline: lines that look like headings become headings."""

from __future__ import annotations

import re

from bot.library.formats.outline import Outline, is_list_item, unwrap

_UNDERLINE = re.compile(r"\s*([=\-~_*#])\1{2,}\s*")
_LONGEST_HEADING = 80
_MOST_HEADING_WORDS = 10
_SHORTEST_PROSE = 40


def read_plain(text: str) -> Outline:
    """Underlined and capital lines are headings, the rest is paragraphs."""
    outline = Outline()
    for block in re.split(r"\n\s*\n", text.expandtabs()):
        lines = [line for line in block.split("\n") if line.strip()]
        while lines and (level := _heading_level(lines)):
            outline.heading(level, lines[0])
            lines = lines[2:] if _is_underline(lines[1:2]) else lines[1:]
        lines = [line for line in lines if not _UNDERLINE.fullmatch(line)]
        outline.text(unwrap("\n".join(lines)))
    return outline


def _heading_level(lines: list[str]) -> int:
    """1 for a line underlined with "=", 2 for other headings, 0 when the block starts with text."""
    line = lines[0].strip()
    if not any(letter.isalpha() for letter in line) or len(line) > _LONGEST_HEADING:
        return 0
    if _is_underline(lines[1:2]):
        return 1 if lines[1].strip().startswith("=") else 2
    capital = line.isupper() and sum(letter.isalpha() for letter in line) >= 4
    return 2 if capital and line[-1] not in ".;,:" and not is_list_item(line) else 0


def _is_underline(lines: list[str]) -> bool:
    return bool(lines) and _UNDERLINE.fullmatch(lines[0]) is not None


def read_page(text: str, outline: Outline, *, page: int) -> None:
    """Add a page of a PDF, whose text has lines but no marks.

    A short line that begins a paragraph, does not end like a sentence and stands over a longer
    line is taken for a heading.
    """
    lines = [line.strip() for line in text.split("\n")]
    paragraph: list[str] = []
    for place, line in enumerate(lines):
        after = next((later for later in lines[place + 1 :] if later), "")
        if _looks_like_heading(line, before=paragraph[-1] if paragraph else "", after=after):
            outline.text(unwrap("\n".join(paragraph)))
            paragraph = []
            outline.heading(2, line, page=page)
        else:
            paragraph.append(line)
    outline.text(unwrap("\n".join(paragraph)))


def _looks_like_heading(line: str, *, before: str, after: str) -> bool:
    return (
        bool(line)
        and (line[0].isupper() or line[0].isdigit())
        and line[-1] not in ".,;:-"
        and len(line) <= _LONGEST_HEADING
        and len(line.split()) <= _MOST_HEADING_WORDS
        and len(after) >= max(_SHORTEST_PROSE, len(line))
        and (after[0].isupper() or after[0].isdigit())
        and before[-1:] in ("", ".", "!", "?")
    )
