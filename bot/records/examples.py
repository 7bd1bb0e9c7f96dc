"""Named sets of training examples, and drafts of some, as records.

A row's texts may be empty while a person is still writing them; what is learnt from is checked
elsewhere. Every function is one transaction, so any thread may call it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import JSON, Engine, ForeignKey, case, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from bot.errors import RecordsError
from bot.messages import Message
from bot.records.database import Table
from bot.records.transaction import transaction

State = Literal["approved", "draft"]
Source = Literal["upload", "chat", "draft", "typed", "sample"]

LONGEST_NAME = 80


class ExampleSetTable(Table):
    """A set of examples. `version` grows with every change of it or of its rows."""

    __tablename__ = "example_sets"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[str]
    updated_at: Mapped[str]
    version: Mapped[int] = mapped_column(default=0)


class ExampleTable(Table):
    """One example of a set; `number` gives the order of the rows."""

    __tablename__ = "examples"

    id: Mapped[str] = mapped_column(primary_key=True)
    set_id: Mapped[str] = mapped_column(
        ForeignKey("example_sets.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int]
    state: Mapped[str]
    source: Mapped[str]
    document: Mapped[str] = mapped_column(default="")
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """A set as a list shows it: how many of its rows are approved, and how many are drafts."""

    id: str
    name: str
    approved: int
    drafts: int
    updated_at: str
    version: int


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be added.

    Args:
        messages: user and assistant in turn; a text may be empty while it is being written.
        source: where it comes from.
        state: only approved rows are learnt from.
        document: name of the document it was made from; empty when unknown.
    """

    messages: tuple[Message, ...]
    source: Source
    state: State = "approved"
    document: str = ""


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """A row as it is stored."""

    id: str
    messages: tuple[Message, ...]
    source: str
    state: str
    document: str


def example_sets(engine: Engine) -> list[ExampleSet]:
    """Every set, sorted by name.

    Raises:
        RecordsError: the records cannot be read.
    """
    drafts = func.coalesce(func.sum(case((ExampleTable.state == "draft", 1), else_=0)), 0)
    statement = (
        select(ExampleSetTable, func.count(ExampleTable.id), drafts)
        .outerjoin(ExampleTable, ExampleTable.set_id == ExampleSetTable.id)
        .group_by(ExampleSetTable.id)
        .order_by(ExampleSetTable.name)
    )
    with transaction(engine) as session:
        return [
            ExampleSet(row.id, row.name, count - drafts, drafts, row.updated_at, row.version)
            for row, count, drafts in session.execute(statement)
        ]


def create_set(engine: Engine, name: str) -> str:
    """Make an empty set; its id.

    Raises:
        RecordsError: the name is empty, too long or taken, or nothing was written.
    """
    now = _now()
    row = ExampleSetTable(id=uuid4().hex, created_at=now, updated_at=now, version=0)
    with transaction(engine) as session:
        row.name = _free_name(session, name)
        session.add(row)
        return row.id


def rename_set(engine: Engine, set_id: str, name: str) -> bool:
    """Give a set another name; False when there is no such set.

    Raises:
        RecordsError: the name is empty, too long or taken, or nothing was written.
    """
    with transaction(engine) as session:
        found = session.get(ExampleSetTable, set_id)
        if found is not None and found.name != name.strip():
            found.name = _free_name(session, name)
            _touch(found)
        return found is not None


def delete_set(engine: Engine, set_id: str) -> bool:
    """Remove a set with its rows; False when there is no such set.

    Raises:
        RecordsError: nothing was removed.
    """
    statement = (
        delete(ExampleSetTable).where(ExampleSetTable.id == set_id).returning(ExampleSetTable.id)
    )
    with transaction(engine) as session:
        return session.scalar(statement) is not None


def example_rows(engine: Engine, set_id: str, state: State | None = None) -> list[ExampleRow]:
    """The rows of a set in their order, or those of one state; none for an unknown set.

    Raises:
        RecordsError: the records cannot be read.
    """
    statement = select(ExampleTable).where(ExampleTable.set_id == set_id)
    if state is not None:
        statement = statement.where(ExampleTable.state == state)
    with transaction(engine) as session:
        rows = session.scalars(statement.order_by(ExampleTable.number, ExampleTable.id))
        return [_row(row) for row in rows]


def add_rows(engine: Engine, set_id: str, rows: Iterable[NewRow]) -> list[str]:
    """Add rows at the end of a set; their ids.

    Raises:
        RecordsError: there is no such set, or nothing was written.
    """
    with transaction(engine) as session:
        number = _next_number(session, _changed(session, set_id))
        added = [
            ExampleTable(
                id=uuid4().hex,
                set_id=set_id,
                number=number + place,
                state=row.state,
                source=row.source,
                document=row.document,
                messages=_as_json(row.messages),
            )
            for place, row in enumerate(rows)
        ]
        session.add_all(added)
        return [row.id for row in added]


def change_row(
    engine: Engine,
    row_id: str,
    messages: Sequence[Message],
    document: str,
    *,
    shown: ExampleRow | None = None,
) -> bool:
    """Write a row's texts anew.

    Args:
        shown: the row as the person saw it before; when somebody else has changed it since,
            nothing is written.

    Returns:
        Whether it was written; not when the row was deleted, or changed by somebody else.

    Raises:
        RecordsError: nothing was written.
    """
    with transaction(engine) as session:
        row = session.get(ExampleTable, row_id)
        if row is None:
            return False
        _changed(session, row.set_id)  # from here on nobody else changes it
        session.refresh(row)
        if shown is not None and _texts(_row(row)) != _texts(shown):
            session.rollback()
            return False
        row.messages = _as_json(messages)
        row.document = document
        return True


def approve_rows(engine: Engine, row_ids: Collection[str]) -> int:
    """Let drafts be learnt from: they move to the end of their set; how many there were.

    Raises:
        RecordsError: nothing was written.
    """
    with transaction(engine) as session:
        rows = session.scalars(
            select(ExampleTable)
            .where(ExampleTable.id.in_(row_ids), ExampleTable.state == "draft")
            .order_by(ExampleTable.number, ExampleTable.id)
        ).all()
        for row in rows:
            number = _next_number(session, _changed(session, row.set_id))
            row.state, row.number = "approved", number
            session.flush()
        return len(rows)


def delete_rows(engine: Engine, row_ids: Collection[str]) -> int:
    """Remove rows; how many were there.

    Raises:
        RecordsError: nothing was removed.
    """
    statement = delete(ExampleTable).where(ExampleTable.id.in_(row_ids))
    with transaction(engine) as session:
        gone = session.scalars(statement.returning(ExampleTable.set_id)).all()
        for set_id in set(gone):
            _changed(session, set_id)
        return len(gone)


def _free_name(session: Session, name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise RecordsError(
            f"A set's name has 1 to {LONGEST_NAME} characters.", cure="Give it such a name."
        )
    if session.scalar(select(ExampleSetTable.id).where(ExampleSetTable.name == name)):
        raise RecordsError(f"There is a set named {name} already.", cure="Choose another name.")
    return name


def _changed(session: Session, set_id: str) -> str:
    """Note that a set changes; whoever does it at the same time waits here.

    Raises:
        RecordsError: there is no such set.
    """
    found = session.get(ExampleSetTable, set_id, with_for_update=True)
    if found is None:
        raise RecordsError("This set of examples was deleted.", cure="Choose or make another.")
    _touch(found)
    session.flush()
    return set_id


def _touch(row: ExampleSetTable) -> None:
    row.version = ExampleSetTable.version + 1
    row.updated_at = _now()


def _next_number(session: Session, set_id: str) -> int:
    last = session.scalar(
        select(func.max(ExampleTable.number)).where(ExampleTable.set_id == set_id)
    )
    return 0 if last is None else last + 1


def _row(row: ExampleTable) -> ExampleRow:
    messages = tuple(Message(one["role"], one["content"]) for one in row.messages)
    return ExampleRow(row.id, messages, row.source, row.state, row.document)


def _texts(row: ExampleRow) -> tuple[tuple[Message, ...], str]:
    return row.messages, row.document


def _as_json(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [dict(one.as_dict()) for one in messages]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
