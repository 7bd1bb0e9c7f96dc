"""HTML → outline: h1–h6 headings, tables as rows, nothing that a reader would not see."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PageElement, PreformattedString, Tag

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


def _walk(page: Tag, outline: Outline, inline: list[str]) -> None:
    """Add what is inside a page, however deep; `inline` holds the words of the block under way.

    Tags that were never closed nest thousands deep in old pages, so this does not recurse.
    """
    open_tags: list[tuple[Tag, Iterator[PageElement]]] = [(page, iter(page.children))]
    while open_tags:
        tag, children = open_tags[-1]
        child = next(children, None)
        if child is None:
            open_tags.pop()
            if tag.name in _BLOCKS:
                _end(outline, inline)
        elif isinstance(child, Tag):
            if not _is_told(child, outline, inline):
                open_tags.append((child, iter(child.children)))
        elif isinstance(child, NavigableString) and not isinstance(child, PreformattedString):
            inline.append(re.sub(r"\s+", " ", child))


def _is_told(tag: Tag, outline: Outline, inline: list[str]) -> bool:
    """Add a tag as a whole when that is how it is read; else what is inside is still to come."""
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
    else:
        if tag.name in _BLOCKS:
            _end(outline, inline)
        return False
    return True


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
