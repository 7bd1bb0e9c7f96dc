"""Conversations, their questions and their answers, as records.

Values that other rooms own (evidence, prompts, fingerprints) are kept as plain JSON. Every
function opens one short session, so any thread may call it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Engine, ForeignKey, bindparam, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from bot.records.database import Table
from bot.records.transaction import transaction

UNFINISHED = ("queued", "retrieving", "reading", "streaming")


class ConversationRecord(Table):
    """A conversation. It is written with its first question."""

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    created_at: Mapped[str]
    updated_at: Mapped[str] = mapped_column(index=True)


class TurnRecord(Table):
    """One question of a conversation; `number` counts from 0."""

    __tablename__ = "turns"

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int]
    question: Mapped[str]
    asked_at: Mapped[str]


class AnswerRecord(Table):
    """One column's answer to a question: a strategy's, by a model. `owner` names the process that
    writes it; `cost` is in US dollars."""

    __tablename__ = "answers"

    id: Mapped[str] = mapped_column(primary_key=True)
    turn_id: Mapped[str] = mapped_column(ForeignKey("turns.id", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    strategy: Mapped[str]
    model: Mapped[str]
    model_title: Mapped[str]
    adapter: Mapped[str] = mapped_column(server_default="")
    status: Mapped[str] = mapped_column(default="queued", index=True)
    owner: Mapped[str]
    text: Mapped[str] = mapped_column(default="")
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    off_topic: Mapped[bool] = mapped_column(default=False)
    prompt: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    trimming: Mapped[dict[str, int] | None] = mapped_column(JSON, default=None)
    first_token_seconds: Mapped[float | None] = mapped_column(default=None)
    total_seconds: Mapped[float | None] = mapped_column(default=None)
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    answer_tokens: Mapped[int] = mapped_column(default=0)
    cost: Mapped[float | None] = mapped_column(default=None)
    fingerprint: Mapped[dict[str, Any] | None] = mapped_column(JSON, default=None)
    error: Mapped[str] = mapped_column(default="")
    cure: Mapped[str] = mapped_column(default="")
    vote: Mapped[int] = mapped_column(default=0)


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """A conversation as a list shows it. Times are ISO 8601 in UTC."""

    id: str
    title: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer that is about to be made: by which strategy, on which model (`model_title` is
    what a person reads), with which adapter (empty for none)."""

    id: str
    strategy: str
    model: str
    model_title: str
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it was last written."""

    id: str
    strategy: str
    model: str
    model_title: str
    adapter: str
    status: str
    owner: str
    text: str
    evidence: list[dict[str, Any]]
    off_topic: bool
    prompt: list[dict[str, str]]
    trimming: dict[str, int] | None
    first_token_seconds: float | None
    total_seconds: float | None
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    fingerprint: dict[str, Any] | None
    error: str
    cure: str
    vote: int


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A question with its answers, in the order of the columns."""

    id: str
    conversation_id: str
    question: str
    asked_at: str
    answers: tuple[StoredAnswer, ...]


def conversations(engine: Engine) -> list[ConversationRow]:
    """Every conversation, the one used last first.

    Raises:
        RecordsError: the records cannot be read.
    """
    statement = select(ConversationRecord).order_by(
        ConversationRecord.updated_at.desc(), ConversationRecord.id
    )
    with transaction(engine) as session:
        return [_conversation(record) for record in session.scalars(statement)]


def conversation(engine: Engine, conversation_id: str) -> ConversationRow | None:
    """One conversation, or nothing.

    Raises:
        RecordsError: the records cannot be read.
    """
    with transaction(engine) as session:
        record = session.get(ConversationRecord, conversation_id)
        return _conversation(record) if record else None


def turns(engine: Engine, conversation_id: str) -> list[StoredTurn]:
    """A conversation's turns, in the order they were asked; none for an unknown conversation.

    Raises:
        RecordsError: the records cannot be read.
    """
    asked = (
        select(TurnRecord)
        .where(TurnRecord.conversation_id == conversation_id)
        .order_by(TurnRecord.number)
    )
    answered = (
        select(AnswerRecord)
        .join(TurnRecord)
        .where(TurnRecord.conversation_id == conversation_id)
        .order_by(AnswerRecord.number)
    )
    with transaction(engine) as session:
        answers: dict[str, list[StoredAnswer]] = {}
        for record in session.scalars(answered):
            answers.setdefault(record.turn_id, []).append(_answer(record))
        return [
            StoredTurn(
                id=record.id,
                conversation_id=record.conversation_id,
                question=record.question,
                asked_at=record.asked_at,
                answers=tuple(answers.get(record.id, ())),
            )
            for record in session.scalars(asked)
        ]


def conversation_of_answer(engine: Engine, answer_id: str) -> str | None:
    """The id of the conversation that an answer belongs to, or nothing.

    Raises:
        RecordsError: the records cannot be read.
    """
    statement = (
        select(TurnRecord.conversation_id)
        .join(AnswerRecord, AnswerRecord.turn_id == TurnRecord.id)
        .where(AnswerRecord.id == answer_id)
    )
    with transaction(engine) as session:
        return session.scalar(statement)


def add_turn(
    engine: Engine,
    *,
    conversation_id: str,
    title: str,
    turn_id: str,
    question: str,
    answers: Sequence[NewAnswer],
    owner: str,
) -> str:
    """Write a question with its empty answers, in one transaction.

    Args:
        title: of the conversation, used when this is its first question.
        answers: in the order of the columns; the first one's model is the question's first.
        owner: the process that will write the answers.

    Returns:
        When it was asked.

    Raises:
        RecordsError: nothing was written.
    """
    now = _now()
    count = (
        select(func.count())
        .select_from(TurnRecord)
        .where(TurnRecord.conversation_id == conversation_id)
    )
    with transaction(engine) as session:
        record = session.get(ConversationRecord, conversation_id)
        if record is None:
            record = ConversationRecord(id=conversation_id, title=title, created_at=now)
            session.add(record)
        record.updated_at = now
        session.flush()
        session.add(
            TurnRecord(
                id=turn_id,
                conversation_id=conversation_id,
                number=session.scalar(count) or 0,
                question=question,
                asked_at=now,
            )
        )
        session.flush()
        session.add_all(
            AnswerRecord(
                id=one.id,
                turn_id=turn_id,
                number=number,
                strategy=one.strategy,
                model=one.model,
                model_title=one.model_title,
                adapter=one.adapter,
                owner=owner,
            )
            for number, one in enumerate(answers)
        )
    return now


def update_answer(engine: Engine, answer_id: str, values: Mapping[str, Any]) -> None:
    """Write some columns of an answer; one that was deleted meanwhile is passed over.

    Raises:
        RecordsError: nothing was written.
    """
    update_answers(engine, {answer_id: values})


def update_answers(engine: Engine, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the same columns of several answers (by id), in one transaction.

    Raises:
        RecordsError: nothing was written.
    """
    if not values:
        return
    statement = update(AnswerRecord).where(AnswerRecord.id == bindparam("answer_id"))
    rows = [{"answer_id": answer_id, **columns} for answer_id, columns in values.items()]
    with transaction(engine) as session:  # its connection: less than half of a session's work
        session.connection().execute(statement, rows)


def rename(engine: Engine, conversation_id: str, title: str) -> bool:
    """Give a conversation another title; False when there is no such conversation.

    Raises:
        RecordsError: nothing was written.
    """
    with transaction(engine) as session:
        record = session.get(ConversationRecord, conversation_id)
        if record is not None:
            record.title = title
        return record is not None


def delete_conversation(engine: Engine, conversation_id: str) -> None:
    """Remove a conversation with its turns and answers; an unknown one is passed over.

    Raises:
        RecordsError: nothing was removed.
    """
    with transaction(engine) as session:
        session.execute(delete(ConversationRecord).where(ConversationRecord.id == conversation_id))


def owners_of_unfinished(engine: Engine) -> set[str]:
    """The processes that, by the records, are writing an answer.

    Raises:
        RecordsError: the records cannot be read.
    """
    statement = select(AnswerRecord.owner).where(AnswerRecord.status.in_(UNFINISHED)).distinct()
    with transaction(engine) as session:
        return set(session.scalars(statement))


def mark_interrupted(engine: Engine, owners: Collection[str]) -> int:
    """Mark what these processes left unfinished as interrupted, keeping the text.

    Returns:
        How many answers were marked.

    Raises:
        RecordsError: nothing was written.
    """
    statement = (
        update(AnswerRecord)
        .where(AnswerRecord.status.in_(UNFINISHED), AnswerRecord.owner.in_(owners))
        .values(status="interrupted")
        .returning(AnswerRecord.id)
    )
    with transaction(engine) as session:
        return len(session.scalars(statement).all())


def _conversation(record: ConversationRecord) -> ConversationRow:
    return ConversationRow(record.id, record.title, record.created_at, record.updated_at)


def _answer(record: AnswerRecord) -> StoredAnswer:
    return StoredAnswer(**{name: getattr(record, name) for name in _ANSWER_COLUMNS})


_ANSWER_COLUMNS: Sequence[str] = StoredAnswer.__slots__


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
