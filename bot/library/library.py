"""The library: its records, its two indexes, its embedder and its folder, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from bot.library.embed import Embedder
from bot.library.keywords import KeywordIndex
from bot.library.reader import Reader
from bot.library.vectors import VectorStore


@dataclass(frozen=True, slots=True)
class Library:
    """The parts that ingesting and retrieving work with.

    Args:
        engine: the records, which are the truth; both indexes can be rebuilt from them.
        vectors: passage vectors, in Chroma.
        keywords: the keyword index, beside the records.
        embedder: what turns passages and questions into vectors.
        knowledge_dir: folder of the documents; uploads land there.
        upload_bytes: size of the largest document that is taken in.
        reader: reads files, in a child process.
    """

    engine: Engine
    vectors: VectorStore
    keywords: KeywordIndex
    embedder: Embedder
    knowledge_dir: Path
    upload_bytes: int
    reader: Reader = field(default_factory=Reader)

    @property
    def lock_path(self) -> Path:
        """The lock file that changes are serialised by, across threads and processes."""
        database = self.engine.url.database
        if self.engine.dialect.name == "sqlite" and database and database != ":memory:":
            return Path(database).with_name("library.lock")
        return self.knowledge_dir / ".library.lock"
