"""Word documents → outline, from the XML inside: heading styles kept, tables as rows."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from bot.errors import DocumentError
from bot.library.formats.outline import Outline, one_line, table_text

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_DC_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_MOST_BYTES = 100_000_000
_NO_MEMORY = 1  # expat's code for it
_HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)


def read_docx(file: bytes) -> tuple[str, Outline]:
    """The title of the document's properties ("" without one) and the outline of its body.

    Raises:
        DocumentError: a part unpacks to too much, or declares a document type, or this is
            another kind of archive.
        ValueError: a part is missing.
        zipfile.BadZipFile: the file is not a zip archive, so not a Word document.
        xml.etree.ElementTree.ParseError: a part is not well-formed XML.
    """
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        names = set(archive.namelist())
        if "word/document.xml" not in names:
            raise DocumentError(
                "",
                "is an archive without a Word document in it.",
                cure="Add what is in it, as a file of its own.",
            )
        document = _part(archive, "word/document.xml")
        styles = _styles(archive) if "word/styles.xml" in names else {}
        core = _part(archive, "docProps/core.xml") if "docProps/core.xml" in names else None
    outline = Outline()
    body = document.find(f"{_W}body")
    if body is None:
        raise ValueError("no body")
    _blocks(body, styles, outline)
    title = core.findtext(f".//{_DC_TITLE}") if core is not None else ""
    return one_line(title or ""), outline


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise DocumentError(
            "",
            f"unpacks to more than {_MOST_BYTES // 1_000_000} MB of text.",
            cure="Split it into smaller files.",
        )
    # The content is foreign; declarations, which could expand or fetch, are refused by the target.
    parser = ElementTree.XMLParser(target=_NoDeclarations())  # noqa: S314
    try:
        parser.feed(archive.read(name))
        return parser.close()
    except ElementTree.ParseError as error:
        if error.code == _NO_MEMORY:
            raise MemoryError from error
        raise


class _NoDeclarations(ElementTree.TreeBuilder):
    """Refuses document type declarations, in whatever encoding they stand."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        """Word writes none; entities and external files hide in them."""
        raise DocumentError(
            "",
            "is refused: it declares XML entities, which no Word document needs.",
            cure="Open it in Word and save it again.",
        )


def _styles(archive: zipfile.ZipFile) -> dict[str, int]:
    """Style id → heading level; ids are translated by Word, names are not."""
    levels: dict[str, int] = {}
    for style in _part(archive, "word/styles.xml").iter(f"{_W}style"):
        name = style.find(f"{_W}name")
        level = _level((name.get(f"{_W}val") or "") if name is not None else "")
        if level:
            levels[style.get(f"{_W}styleId") or ""] = level
    return levels


def _level(style_name: str) -> int:
    if style_name.lower() == "title":
        return 1
    found = _HEADING_NAME.fullmatch(style_name)
    # A "Title" stands over every "heading 1".
    return int(found.group(1)) + 1 if found else 0


def _blocks(parent: ElementTree.Element, styles: dict[str, int], outline: Outline) -> None:
    items: list[str] = []
    for child in parent:
        if child.tag == f"{_W}p":
            text = _text(child)
            level = _paragraph_level(child, styles)
            if not level and _is_list_item(child):
                items.append(f"- {one_line(text)}")
                continue
            _end_list(outline, items)
            if level:
                outline.heading(level, text)
            else:
                outline.text(text)
        elif child.tag == f"{_W}tbl":
            _end_list(outline, items)
            outline.rows(table_text(_rows(child)))
        elif child.tag in {f"{_W}sdt", f"{_W}sdtContent", f"{_W}customXml"}:
            _end_list(outline, items)
            _blocks(child, styles, outline)
    _end_list(outline, items)


def _end_list(outline: Outline, items: list[str]) -> None:
    outline.text("\n".join(item for item in items if item != "- "))
    items.clear()


def _style(paragraph: ElementTree.Element) -> str:
    style = paragraph.find(f"{_W}pPr/{_W}pStyle")
    return (style.get(f"{_W}val") or "") if style is not None else ""


def _paragraph_level(paragraph: ElementTree.Element, styles: dict[str, int]) -> int:
    return styles.get(_style(paragraph), 0)


def _is_list_item(paragraph: ElementTree.Element) -> bool:
    numbered = paragraph.find(f"{_W}pPr/{_W}numPr") is not None
    return numbered or _style(paragraph).lower().startswith("list")


def _rows(table: ElementTree.Element) -> list[list[str]]:
    return [
        [" ".join(_text(p) for p in cell.iter(f"{_W}p")) for cell in row.findall(f"{_W}tc")]
        for row in table.findall(f"{_W}tr")
    ]


def _text(paragraph: ElementTree.Element) -> str:
    return "".join(_pieces(paragraph))


def _pieces(element: ElementTree.Element) -> Iterator[str]:
    for child in element:
        if child.tag == f"{_W}t":
            yield child.text or ""
        elif child.tag == f"{_W}tab":
            yield "\t"
        elif child.tag in {f"{_W}br", f"{_W}cr"}:
            yield "\n"
        elif child.tag != _FALLBACK:
            yield from _pieces(child)
