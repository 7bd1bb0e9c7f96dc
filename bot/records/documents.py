"""The documents of the library and their passages, as records: the truth that indexes follow.

Every function raises `RecordsError` when the records cannot be read or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Engine, Index, delete, func, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from bot.records.database import BIG, Table
from bot.records.transaction import transaction

DocumentStatus = Literal["indexing", "ready", "duplicate", "failed"]

_IDS_PER_STATEMENT = 500


class DocumentRecord(Table):
    """One file of the knowledge folder, by its name there."""

    __tablename__ = "documents"

    name: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(index=True)
    title: Mapped[str]
    kind: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BIG)
    modified_ns: Mapped[int] = mapped_column(BIG)
    layout: Mapped[str]
    status: Mapped[str]
    error: Mapped[str] = mapped_column(default="")
    duplicate_of: Mapped[str] = mapped_column(default="")
    updated_at: Mapped[str]


class PassageRecord(Table):
    """One passage. It belongs to the document that has the same content hash."""

    __tablename__ = "passages"

    id: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    document: Mapped[str]
    title: Mapped[str]
    heading: Mapped[str]
    page: Mapped[int | None]
    number: Mapped[int]
    text: Mapped[str]

    __table_args__ = (Index("passages_of_content", "sha256", "number"),)


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as a list shows it. `error` says why when the status is not "ready"."""

    name: str
    title: str
    kind: str
    size_bytes: int
    passages: int
    status: DocumentStatus
    error: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What the last reading of a file left behind.

    `layout` names the rules by which it was split; `modified_ns` is the file's time then.
    """

    name: str
    sha256: str
    title: str
    kind: str
    size_bytes: int
    modified_ns: int
    layout: str
    status: DocumentStatus
    error: str = ""
    duplicate_of: str = ""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with the hash of the content it was cut from."""

    id: str
    sha256: str
    document: str
    title: str
    heading: str
    page: int | None
    number: int
    text: str


def stored_documents(engine: Engine) -> list[StoredDocument]:
    """Every document, by name."""
    with transaction(engine) as session:
        records = session.scalars(select(DocumentRecord).order_by(DocumentRecord.name))
        return [_document(record) for record in records]


def stored_document(engine: Engine, name: str) -> StoredDocument | None:
    """The document of this name, or nothing."""
    with transaction(engine) as session:
        record = session.get(DocumentRecord, name)
        return _document(record) if record else None


def documents_of(engine: Engine, sha256: str) -> list[StoredDocument]:
    """The documents that have this content, by name."""
    statement = select(DocumentRecord).where(DocumentRecord.sha256 == sha256)
    with transaction(engine) as session:
        records = session.scalars(statement.order_by(DocumentRecord.name))
        return [_document(record) for record in records]


def save_document(engine: Engine, document: StoredDocument) -> None:
    """Write a document's record, replacing the one of the same name."""
    save_documents(engine, [document])


def save_documents(engine: Engine, documents: Iterable[StoredDocument]) -> None:
    """Write records of documents in one transaction, replacing those of the same names."""
    with transaction(engine) as session:
        for document in documents:
            values = {field: getattr(document, field) for field in StoredDocument.__slots__}
            session.merge(DocumentRecord(**values, updated_at=_now()))


def delete_document(engine: Engine, name: str) -> None:
    """Remove a document's record; its passages become stray (`stray_passage_ids`)."""
    with transaction(engine) as session:
        session.execute(delete(DocumentRecord).where(DocumentRecord.name == name))


def document_rows(engine: Engine) -> list[DocumentRow]:
    """Every document with its number of searchable passages, by name."""
    counted = (
        select(PassageRecord.sha256, func.count().label("passages"))
        .group_by(PassageRecord.sha256)
        .subquery()
    )
    statement = (
        select(DocumentRecord, counted.c.passages)
        .outerjoin(
            counted,
            (counted.c.sha256 == DocumentRecord.sha256) & (DocumentRecord.status == "ready"),
        )
        .order_by(DocumentRecord.name)
    )
    with transaction(engine) as session:
        return [
            DocumentRow(
                name=record.name,
                title=record.title,
                kind=record.kind,
                size_bytes=record.size_bytes,
                passages=passages or 0,
                status=record.status,  # type: ignore[arg-type]
                error=record.error,
                updated_at=record.updated_at,
            )
            for record, passages in session.execute(statement)
        ]


def save_passages(engine: Engine, passages: Iterable[StoredPassage]) -> None:
    """Write passages, replacing those with the same id."""
    rows = [{field: getattr(p, field) for field in StoredPassage.__slots__} for p in passages]
    with transaction(engine) as session:
        _delete_passages(session, [row["id"] for row in rows])
        if rows:
            session.execute(insert(PassageRecord), rows)


def passages_of(engine: Engine, sha256: str) -> list[StoredPassage]:
    """The passages cut from this content, in reading order."""
    with transaction(engine) as session:
        records = session.scalars(
            select(PassageRecord)
            .where(PassageRecord.sha256 == sha256)
            .order_by(PassageRecord.number)
        )
        return [_passage(record) for record in records]


def passage_ids(engine: Engine) -> dict[str, list[str]]:
    """The ids of all passages by the hash of the content they were cut from."""
    found: dict[str, list[str]] = {}
    with transaction(engine) as session:
        for sha256, id_ in session.execute(select(PassageRecord.sha256, PassageRecord.id)):
            found.setdefault(sha256, []).append(id_)
    return found


def searchable_passages(engine: Engine, ids: Sequence[str]) -> dict[str, StoredPassage]:
    """Those of the ids that belong to a document that is ready, by id."""
    found: dict[str, StoredPassage] = {}
    with transaction(engine) as session:
        for start in range(0, len(ids), _IDS_PER_STATEMENT):
            records = session.scalars(
                select(PassageRecord)
                .join(DocumentRecord, DocumentRecord.sha256 == PassageRecord.sha256)
                .where(DocumentRecord.status == "ready")
                .where(PassageRecord.id.in_(ids[start : start + _IDS_PER_STATEMENT]))
            )
            found |= {record.id: _passage(record) for record in records}
    return found


def stray_passage_ids(engine: Engine) -> list[str]:
    """Ids of passages that no document owns: their file was deleted or has changed."""
    owned = select(DocumentRecord.sha256).where(DocumentRecord.status.in_(("ready", "indexing")))
    with transaction(engine) as session:
        return list(
            session.scalars(select(PassageRecord.id).where(PassageRecord.sha256.not_in(owned)))
        )


def delete_passages(engine: Engine, ids: Sequence[str]) -> None:
    """Remove passages by id; unknown ids are passed over."""
    with transaction(engine) as session:
        _delete_passages(session, ids)


def _delete_passages(session: Session, ids: Sequence[str]) -> None:
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        batch = ids[start : start + _IDS_PER_STATEMENT]
        session.execute(delete(PassageRecord).where(PassageRecord.id.in_(batch)))


def _document(record: DocumentRecord) -> StoredDocument:
    return StoredDocument(**{field: getattr(record, field) for field in StoredDocument.__slots__})


def _passage(record: PassageRecord) -> StoredPassage:
    return StoredPassage(**{field: getattr(record, field) for field in StoredPassage.__slots__})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
