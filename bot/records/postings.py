"""The tables of the keyword index, beside the records that it can be made again from."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from bot.records.database import Table


class BlockRecord(Table):
    """A block of passages: how many it has, and how many terms these have together."""

    __tablename__ = "keyword_blocks"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    passages: Mapped[int]
    terms: Mapped[int]


class MemberRecord(Table):
    """A passage of the index: its number, counted on through the blocks, and its terms."""

    __tablename__ = "keyword_members"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    passage_id: Mapped[str] = mapped_column(index=True, unique=True)
    length: Mapped[int]


class TermRecord(Table):
    """Which passages of one block hold a term: an array that the keyword index can read."""

    __tablename__ = "keyword_terms"

    block: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    term: Mapped[str] = mapped_column(primary_key=True)
    postings: Mapped[bytes]

    # Kept in the order of its key: the lists of a block lie side by side.
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  (SQLAlchemy's own way)
