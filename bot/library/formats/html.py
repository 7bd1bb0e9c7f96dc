"""HTML → outline: h1–h6 headings, tables as rows, nothing that a reader would not see."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PreformattedString, Tag

from bot.library.formats.outline import Outline, one_line, table_text

_UNSEEN = (
    *("script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas"),
    *("head", "nav", "select", "button", "textarea"),
)
_HEADING = re.compile(r"h([1-6])")
_BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog"),
        *("div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header"),
        *("hgroup", "html", "legend", "li", "main", "ol", "p", "pre", "section", "summary", "ul"),
        *("table", "tbody", "td", "tfoot", "th", "thead", "tr"),
    )
)
_STRUCTURE = ("h1", "h2", "h3", "h4", "h5", "h6", "table")


def read_html(page: bytes) -> tuple[str, Outline]:
    """The text of the title tag ("" without one) and the outline of the body."""
    soup = BeautifulSoup(page, "html.parser")
    title = one_line(soup.title.get_text()) if soup.title else ""
    for unseen in soup.find_all(_UNSEEN):
        unseen.decompose()
    for hidden in soup.find_all(_is_hidden):
        hidden.decompose()
    outline = Outline()
    inline: list[str] = []
    _walk(soup, outline, inline)
    _end(outline, inline)
    return title, outline


def _walk(tag: Tag, outline: Outline, inline: list[str]) -> None:
    """Add what is inside a tag; `inline` holds the words of the block under way."""
    for child in tag.children:
        if isinstance(child, NavigableString):
            if not isinstance(child, PreformattedString):
                inline.append(re.sub(r"\s+", " ", child))
        elif isinstance(child, Tag):
            _element(child, outline, inline)


def _element(tag: Tag, outline: Outline, inline: list[str]) -> None:
    if heading := _HEADING.fullmatch(tag.name):
        _end(outline, inline)
        outline.heading(int(heading.group(1)), tag.get_text(" "))
    elif tag.name == "table" and tag.find("table") is None:
        _end(outline, inline)
        outline.rows(table_text(_rows(tag)))
    elif tag.name in {"ul", "ol"} and tag.find(_STRUCTURE) is None:
        _end(outline, inline)
        items = [one_line(item.get_text(" ")) for item in tag.find_all("li", recursive=False)]
        outline.text("\n".join(f"- {item}" for item in items if item))
    elif tag.name == "br":
        inline.append("\n")
    elif tag.name in _BLOCKS:
        _end(outline, inline)
        _walk(tag, outline, inline)
        _end(outline, inline)
    else:
        _walk(tag, outline, inline)


def _rows(table: Tag) -> list[list[str]]:
    return [
        [cell.get_text(" ") for cell in row.find_all(["th", "td"], recursive=False)]
        for row in table.find_all("tr")
    ]


def _end(outline: Outline, inline: list[str]) -> None:
    outline.text("".join(inline))
    inline.clear()


def _is_hidden(tag: Tag) -> bool:
    style = str(tag.get("style") or "").replace(" ", "").lower()
    return tag.has_attr("hidden") or "display:none" in style or "visibility:hidden" in style
