"""A file → a Document with titled sections. The only user of langchain-community.

Its loader reads PDF. The others lose the headings of Markdown, HTML and Word and the cells of
CSV, need a query language for JSON and one encoding for the whole of a text, so those are read by
`bot.library.formats`. Files that nobody vouches for are read through `bot.library.reader`.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.errors import DocumentError
from bot.library.formats.docx import read_docx
from bot.library.formats.html import read_html
from bot.library.formats.json import read_json
from bot.library.formats.markdown import read_markdown
from bot.library.formats.outline import Outline, Section, clean, one_line, table_text
from bot.library.formats.plain import read_page, read_plain
from bot.library.formats.signatures import signature

__all__ = ["SUFFIXES", "Document", "Section", "load"]

_LONGEST_TITLE = 120
_FIRST_BYTES = 64 * 1024
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_MOST_CONTROL = 0.05
_MOST_COLUMNS = 16_384  # as in Excel
_MEANINGLESS_TITLE = re.compile(
    r"(?:microsoft word|untitled|slide \d|\S+\.\w{2,4}$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says.

    Args:
        name: the file's name in the knowledge folder.
        sha256: of the file's bytes.
        title: what the document calls itself, else its name in words.
        kind: "txt", "md", "pdf", "docx", "html", "csv" or "json".
        size_bytes: size of the file.
        sections: in reading order, each with text.
    """

    name: str
    sha256: str
    title: str
    kind: str
    size_bytes: int
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of document: its name, and what reads a path into (own title, outline)."""

    name: str
    read: Callable[[Path], tuple[str, Outline]]


def load(path: Path, *, name: str | None = None) -> Document:
    """Read a document.

    Args:
        path: the file.
        name: what the document is called; the file's name when not given.

    Raises:
        DocumentError: the file is missing, empty, of an unknown type, encrypted or damaged, or
            holds no text.
    """
    name = name or path.name
    kind = _KINDS.get(Path(name).suffix.lower())
    if kind is None:
        raise DocumentError(
            name,
            "is of a type that cannot be read.",
            cure=f"Readable are {', '.join(sorted(SUFFIXES))}.",
        )
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DocumentError(
            name, "cannot be opened.", cure="Check that it exists and is readable."
        ) from error
    if size_bytes == 0:
        raise DocumentError(name, "is empty.", cure="Add a file that has text in it.")
    own_title, outline = _read(kind, path, name)
    sections = outline.sections()
    if not sections:
        raise DocumentError(
            name,
            "holds no text.",
            cure="If it is a scan, run text recognition (OCR) over it first."
            if kind.name == "pdf"
            else "Add a file that has text in it.",
        )
    title = outline.title() or one_line(own_title) or _title_from(name)
    sections = tuple(
        replace(section, heading="") if section.heading == title else section
        for section in sections
    )
    return Document(name, sha256, title[:_LONGEST_TITLE], kind.name, size_bytes, sections)


def _read(kind: _Kind, path: Path, name: str) -> tuple[str, Outline]:
    """Read with whatever suits the kind; its errors become a DocumentError here and only here.

    Raises:
        DocumentError: it is another kind of file, encrypted, damaged or nested too deeply.
        MemoryError: the memory does not suffice.
    """
    with path.open("rb") as file:
        found = signature(file.read(_FIRST_BYTES))
    if found and found.kind != kind.name:
        raise DocumentError(
            name,
            f"is not really a {kind.name.upper()} file, but {found.words}.",
            cure="Save it as one of the types that can be read, without a password.",
        )
    try:
        return kind.read(path)
    except DocumentError as error:
        raise DocumentError(name, error.reason, cure=error.cure) from error
    except RecursionError as error:
        raise DocumentError(
            name, "is nested too deeply to be read.", cure="Save it in a simpler structure."
        ) from error
    # Readers of foreign files fail in more ways than can be listed.
    except Exception as error:
        if _for_want_of_memory(error):
            raise MemoryError from error
        raise DocumentError(
            name,
            f"is damaged, or is not really a {kind.name.upper()} file.",
            cure="Open it in the program it came from and save it again.",
        ) from error


def _for_want_of_memory(error: BaseException | None) -> bool:
    """Whether an error began as a lack of memory, whatever a reader made of it."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__context__
    return error is not None


def _title_from(name: str) -> str:
    """A file name in words: "price_list-2024.csv" becomes "Price list 2024"."""
    words = " ".join(re.split(r"[\s_\-.]+", clean(Path(name).stem))).strip()
    return words[:1].upper() + words[1:] or name


def _read_text(path: Path) -> tuple[str, Outline]:
    text = _text(path)
    outline = read_plain(text)
    first = clean(text).split("\n\n", 1)[0]
    is_title = "\n" not in first and len(first) <= 80 and first[-1:] not in ".;,:!?"
    return (first if is_title else ""), outline


def _read_markdown(path: Path) -> tuple[str, Outline]:
    return read_markdown(_text(path))


def _read_html(path: Path) -> tuple[str, Outline]:
    return read_html(path.read_bytes())


def _read_docx(path: Path) -> tuple[str, Outline]:
    return read_docx(path.read_bytes())


def _read_json(path: Path) -> tuple[str, Outline]:
    return read_json(_text(path))


def _read_csv(path: Path) -> tuple[str, Outline]:
    """Each row becomes one line "column: value; column: value"."""
    text = _text(path)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text[:_FIRST_BYTES]))
    table: list[list[str]] = []
    for row in rows:
        if len(row) > _MOST_COLUMNS:
            raise DocumentError(
                path.name,
                f"has {len(row):,} columns, and a table may have {_MOST_COLUMNS:,}.",
                cure="Swap its rows and columns, or leave some out.",
            )
        table.append(row)
    outline = Outline()
    outline.rows(table_text(table))
    return "", outline


def _delimiter(beginning: str) -> str:
    """The separator that the header line uses most."""
    header = beginning.split("\n", 1)[0]
    try:
        return csv.Sniffer().sniff(beginning, delimiters=",;\t|").delimiter
    except csv.Error:
        return max(",;\t|", key=header.count)


def _read_pdf(path: Path) -> tuple[str, Outline]:
    """Page after page; the pages are counted from 1."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        locked = _is_locked(PdfReader(path))
    except PyPdfError:
        locked = False  # damaged: the loader says so
    if locked:
        raise DocumentError(
            path.name, "is encrypted.", cure="Save it without a password, then add it again."
        )
    # The loader's page mode takes time with the square of the number of pages.
    mark = f"\f{secrets.token_hex(8)}\f"
    (loaded,) = _pdf_loader()(str(path), mode="single", pages_delimiter=mark).lazy_load()
    pages = loaded.page_content.split(mark)
    if not any(page.strip() for page in pages):
        return "", Outline()
    own_title = one_line(str(loaded.metadata.get("title") or ""))
    if _MEANINGLESS_TITLE.match(own_title):
        own_title = ""
    first_lines = (one_line(page.strip().split("\n", 1)[0]) for page in pages)
    title = own_title or next(filter(None, first_lines), "")
    outline = Outline()
    outline.heading(1, title[:_LONGEST_TITLE])
    for number, page in enumerate(pages, start=1):
        outline.page(number)
        read_page(page, outline, page=number)
    return title, outline


def _is_locked(reader: Any) -> bool:
    """Whether a password is needed; an empty one opens a file that is only protected."""
    return bool(reader.is_encrypted) and not reader.decrypt("")


def _pdf_loader() -> Any:
    """langchain-community's loader, without the notice that the package is being retired."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.document_loaders import PyPDFLoader
    return PyPDFLoader


def _text(path: Path) -> str:
    """UTF-16 by its mark, else UTF-8 in which bytes that are not are taken for Windows-1252."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    text = content.decode("utf-8-sig", errors="triptych.windows-1252")
    beginning = text[:_FIRST_BYTES]
    if "\0" in beginning or len(_CONTROL.findall(beginning)) > _MOST_CONTROL * len(beginning):
        raise DocumentError(path.name, "is not text.", cure="Save it as plain text in UTF-8.")
    return text.replace("\r\n", "\n")


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are not UTF-8; files pieced together may hold both."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    try:
        return wrong.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return wrong.decode("latin-1"), error.end


codecs.register_error("triptych.windows-1252", _as_windows_1252)

_KINDS = {
    ".txt": _Kind("txt", _read_text),
    ".md": _Kind("md", _read_markdown),
    ".markdown": _Kind("md", _read_markdown),
    ".pdf": _Kind("pdf", _read_pdf),
    ".docx": _Kind("docx", _read_docx),
    ".html": _Kind("html", _read_html),
    ".htm": _Kind("html", _read_html),
    ".csv": _Kind("csv", _read_csv),
    ".json": _Kind("json", _read_json),
    ".jsonl": _Kind("json", _read_json),
}

SUFFIXES: frozenset[str] = frozenset(_KINDS)
