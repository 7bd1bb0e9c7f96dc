"""A Document → passages. The only user of langchain-text-splitters; pure and deterministic."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.library.load import Document, Section

PASSAGE_TOKENS = 200
OVERLAP = 0.15

# Changes whenever the same file would give other passages, so that they are cut anew.
LAYOUT = f"3:{PASSAGE_TOKENS}:{OVERLAP}"

# Paragraphs first, then rows and list items, sentences, cells; words only when nothing else is.
_SEPARATORS = ["\n\n", "\n", ". ", "! ", "? ", "; ", ", ", " ", ""]
_WORD = re.compile(r"\w+|[^\w\s]")
_LETTERS_PER_TOKEN = 7


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that is found, shown and put into prompts as one.

    Args:
        id: the first 16 digits of the file's SHA-256 and the number, so it is the same each time.
        document: name of the document.
        title: what the document calls itself.
        heading: the headings above it; may be empty.
        page: counted from 1; nothing when the format has no pages.
        number: its place in the document, counted from 0.
        text: the words themselves.
    """

    id: str
    document: str
    title: str
    heading: str
    page: int | None
    number: int
    text: str

    @property
    def source(self) -> str:
        """ "Title — heading": what the passage is about, even when its words do not say so."""
        return f"{self.title} — {self.heading}" if self.heading else self.title

    @property
    def sourced_text(self) -> str:
        """The text under its source: what is embedded and searched."""
        return f"{self.source}\n{self.text}"


def split(
    document: Document, *, passage_tokens: int = PASSAGE_TOKENS, overlap: float = OVERLAP
) -> list[Passage]:
    """Cut a document into passages that never cross a section.

    Args:
        document: what was read.
        passage_tokens: the longest passage, in the embedder's tokens as estimated here.
        overlap: the part of a passage that may be said again at the start of the next one.
    """
    pieces = [
        (section, piece)
        for section in document.sections
        for piece in _pieces(section, passage_tokens, overlap)
    ]
    return [
        Passage(
            id=f"{document.sha256[:16]}-{number:04d}",
            document=document.name,
            title=document.title,
            heading=section.heading,
            page=section.page,
            number=number,
            text=piece,
        )
        for number, (section, piece) in enumerate(pieces)
    ]


def estimated_tokens(text: str) -> int:
    """About how many word pieces the embedder makes of a text; never far too few."""
    return sum(1 + (len(word) - 1) // _LETTERS_PER_TOKEN for word in _WORD.findall(text))


def _pieces(section: Section, passage_tokens: int, overlap: float) -> list[str]:
    if section.rows:
        # A row says one thing; among its neighbours it is found far less often.
        rows = [row for row in section.text.split("\n") if row]
        return [piece for row in rows for piece in _pieces(Section("", row), passage_tokens, 0.0)]
    if estimated_tokens(section.text) <= passage_tokens:
        return [section.text]
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        separators=_SEPARATORS,
        keep_separator="end",
        chunk_size=passage_tokens,
        chunk_overlap=int(passage_tokens * overlap),
        length_function=estimated_tokens,
    )
    return [piece.strip() for piece in splitter.split_text(section.text) if piece.strip()]
