"""The tables of the keyword index, beside the records that it can be made again from."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from bot.records.database import Table


class PostingRecord(Table):
    """How often a term stands in a passage."""

    __tablename__ = "keyword_postings"

    term: Mapped[str] = mapped_column(primary_key=True)
    passage_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    count: Mapped[int]


class LengthRecord(Table):
    """How many terms a passage has."""

    __tablename__ = "keyword_lengths"

    passage_id: Mapped[str] = mapped_column(primary_key=True)
    length: Mapped[int]
