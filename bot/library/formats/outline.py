"""Headings and paragraphs in reading order → titled sections."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

_HEADING_JOINT = " — "
_LONGEST_HEADING = 300
_UNWANTED = re.compile(
    # control characters but newline and tab; invisible and text-direction characters; halves of
    # characters, which no database takes
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_SPACES = re.compile(r"[^\S\n]+")
_LIST_MARK = re.compile(r"\s*(?:[-*+•‣▪◦–—]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+")


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading.

    Args:
        heading: the headings above it, outermost first, joined by a dash; without the title.
        text: paragraphs separated by a blank line; rows and list items by a newline.
        page: where it stands, counted from 1; nothing when the format has no pages.
        rows: whether each line is the row of a table or list and can be read alone.
    """

    heading: str
    text: str
    page: int | None = None
    rows: bool = False


@dataclass(slots=True)
class _Part:
    """A heading with the paragraphs below it; level 0 is what stands before any heading."""

    level: int
    heading: str
    page: int | None
    rows: bool = False
    blocks: list[str] = field(default_factory=list)


class Outline:
    """Collects headings and text in reading order, then gives title and sections."""

    def __init__(self) -> None:
        self._parts = [_Part(level=0, heading="", page=None)]

    def heading(self, level: int, text: str, *, page: int | None = None) -> None:
        """Begin a section; level 1 is the outermost. What is too long for a heading is text."""
        text = one_line(text)
        if len(text) > _LONGEST_HEADING:
            self.text(text)
        elif text:
            self._parts.append(_Part(level=level, heading=text, page=page))

    def page(self, number: int) -> None:
        """Continue the current section on another page, counted from 1."""
        last = self._parts[-1]
        if last.page is None and not last.blocks:
            last.page = number
        elif last.page != number:
            # The same heading again, under its own level, so that the path stays as it was.
            self._parts.append(_Part(level=last.level, heading=last.heading, page=number))

    def text(self, text: str) -> None:
        """Add a paragraph, or list items separated by newlines."""
        self._add(text, rows=False)

    def rows(self, text: str) -> None:
        """Add rows that can each be read alone, one a line."""
        self._add(text, rows=True)

    def _add(self, text: str, *, rows: bool) -> None:
        if not text.strip():
            return
        last = self._parts[-1]
        if last.rows != rows and last.blocks:
            last = _Part(last.level, last.heading, last.page)
            self._parts.append(last)
        last.rows = rows
        last.blocks.append(text.strip())

    def title(self) -> str:
        """The heading that stands over all others, or "" when none does."""
        headings = [(part.level, part.heading) for part in self._parts if part.level]
        if not headings or self._parts[0].blocks:
            return ""
        level, first = headings[0]
        others = [other for other, text in headings[1:] if text != first]
        if level == 1 or all(level < other for other in others):
            return first
        return ""

    def sections(self) -> tuple[Section, ...]:
        """Every section that has text, in reading order."""
        title = self.title()
        sections: list[Section] = []
        above: list[tuple[int, str]] = []
        for place, part in enumerate(self._parts):
            if part.level:
                above = [(level, text) for level, text in above if level < part.level]
                above.append((part.level, part.heading))
            text = clean(("\n" if part.rows else "\n\n").join(part.blocks))
            if not text and self._says_something(place):
                text = part.heading
            if text:
                path = [heading for _, heading in above if heading != title]
                sections.append(Section(_HEADING_JOINT.join(path), text, part.page, part.rows))
        return tuple(sections)

    def _says_something(self, place: int) -> bool:
        """Whether a heading without text stands over nothing else, so it is text itself."""
        part = self._parts[place]
        after = self._parts[place + 1] if place + 1 < len(self._parts) else None
        before = self._parts[place - 1].heading if place else ""
        repeated = part.heading in {before, after.heading if after else ""}
        return part.level > 0 and not repeated and (after is None or after.level <= part.level)


def clean(text: str) -> str:
    """Composed characters, no control or invisible ones, no runs of spaces or blank lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _UNWANTED.sub("", text.replace("\x0b", "\n").replace("\x0c", "\n"))
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def one_line(text: str) -> str:
    """The text cleaned, on a single line."""
    return " ".join(clean(text).split())


def row_text(columns: Sequence[str], cells: Sequence[str]) -> str:
    """One row of a table that can be read alone: "column: value; column: value".

    Args:
        columns: the names of the columns, cleaned; there may be fewer than cells.
        cells: the values, as they are.
    """
    pairs = []
    for number, cell in enumerate(cells):
        if value := one_line(cell):
            column = columns[number] if number < len(columns) else ""
            pairs.append(f"{column}: {value}" if column else value)
    return "; ".join(pairs)


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row names the columns, as one line a row."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        return "\n".join(row_text((), row) for row in rows)
    columns = [one_line(cell) for cell in rows[0]]
    return "\n".join(filter(None, (row_text(columns, row) for row in rows[1:])))


def unwrap(text: str) -> str:
    """Join lines that were broken only because the page was full."""
    lines = [line.rstrip() for line in text.split("\n")]
    full = 0.7 * max((len(line) for line in lines), default=0)
    joined: list[str] = []
    for line in lines:
        before = joined[-1] if joined else ""
        last_line = before.rsplit("\n", 1)[-1]
        continues = len(last_line) >= max(full, 40) and line.strip() and not _LIST_MARK.match(line)
        if not continues:
            joined.append(line)
        elif before.endswith("-") and line[:1].islower() and before[-2:-1].isalpha():
            joined[-1] = before[:-1] + line.lstrip()
        else:
            joined[-1] = f"{before} {line.lstrip()}"
    return "\n".join(joined)


def is_list_item(line: str) -> bool:
    """Whether a line begins with a bullet or a number."""
    return _LIST_MARK.match(line) is not None
