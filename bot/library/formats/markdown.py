"""Markdown → outline: headings kept, tables as rows, inline marks taken off."""

from __future__ import annotations

import re

from bot.library.formats.outline import Outline, is_list_item, table_text

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.MULTILINE)
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*")
_TABLE_LINE = re.compile(r"\s*\|?[ \t:]*-{2,}[-| \t:]*")
_QUOTE_MARK = re.compile(r"^[ \t]*>[ \t]?")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE = (
    (re.compile(r"!?\[([^\]]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])"), r"\1"),
    (re.compile(r"`([^`\n]+)`"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>])"), r"\1"),
)


def read_markdown(text: str) -> tuple[str, Outline]:
    """The title of the front matter ("" without one) and the outline of the rest."""
    title = ""
    if front := _FRONT_MATTER.match(text):
        found = _FRONT_TITLE.search(front.group(1))
        title = found.group(1) if found else ""
        text = text[front.end() :]
    outline = Outline()
    _Reader(outline).read(_COMMENT.sub("", text).split("\n"))
    return title, outline


class _Reader:
    """Goes through the lines once, holding the paragraph or table under way."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._lines: list[str] = []

    def read(self, lines: list[str]) -> None:
        fence = ""
        for raw in lines:
            line = _QUOTE_MARK.sub("", raw)
            mark = _FENCE.match(line)
            if fence:
                if mark and line.strip().startswith(fence) and not line.strip(" `~"):
                    fence = ""
                else:
                    self._lines.append(line)
            elif mark:
                self._end()
                fence = mark.group(1)
            else:
                self._line(line)
        self._end()

    def _line(self, line: str) -> None:
        if heading := _HEADING.fullmatch(line):
            self._end()
            self._outline.heading(len(heading.group(1)), _plain(heading.group(2)))
        elif len(self._lines) == 1 and (under := _SETEXT.fullmatch(line)) and self._is_prose():
            text = self._lines.pop()
            self._outline.heading(1 if under.group(1)[0] == "=" else 2, _plain(text))
        elif not line.strip() or _RULE.fullmatch(line):
            self._end()
        else:
            self._lines.append(line)

    def _is_prose(self) -> bool:
        return not is_list_item(self._lines[0]) and "|" not in self._lines[0]

    def _end(self) -> None:
        """Hand over the lines gathered so far as a paragraph, a list or a table."""
        lines, self._lines = self._lines, []
        if len(lines) > 1 and "|" in lines[0] and _TABLE_LINE.fullmatch(lines[1]):
            rows = [_cells(line) for line in (lines[0], *lines[2:])]
            self._outline.rows(table_text(rows))
            return
        joined: list[str] = []
        for line in lines:
            broken = bool(joined) and joined[-1].endswith(("  ", "\\"))
            if joined and not broken and not is_list_item(line):
                joined[-1] = f"{joined[-1]} {line.strip()}"
            else:
                joined.append(line)
        self._outline.text(_plain("\n".join(line.rstrip("\\") for line in joined)))


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())
    if cells and not cells[0].strip():
        cells = cells[1:]
    if cells and not cells[-1].strip():
        cells = cells[:-1]
    return [_plain(cell.replace("\\|", "|")) for cell in cells]


def _plain(text: str) -> str:
    """The text as a reader sees it: without emphasis, code marks and link targets."""
    for pattern, kept in _INLINE:
        text = pattern.sub(kept, text)
    return text
