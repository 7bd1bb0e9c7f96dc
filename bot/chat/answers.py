"""Answers under way and answers of the past, as plain values that a page reads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from threading import Condition
from typing import Any, Literal, cast

from bot.chat.columns import Column, column_key
from bot.chat.events import Event, Failed, Finished, InLine, Prompted, Queued, Retrieved, TextDelta
from bot.chat.fingerprint import Fingerprint
from bot.chat.question import Turn
from bot.chat.strategies import STRATEGIES
from bot.chat.trimming import Trimming
from bot.library.retrieve import Evidence
from bot.messages import Message
from bot.records.conversations import UNFINISHED, StoredAnswer, StoredTurn

Status = Literal[
    "queued",
    "retrieving",
    "reading",
    "streaming",
    "complete",
    "stopped",
    "interrupted",
    "failed",
]

_RETRIEVING = frozenset(one.name for one in STRATEGIES if one.retrieves)


@dataclass
class LiveAnswer:
    """One column's answer. Its text only ever grows; `version` grows with every change.

    One thread writes it, any thread reads it without a lock.

    Args:
        id: of its record.
        strategy: the name of the strategy.
        model: the name of the model; `model_title` is what a person reads.
        adapter: the name of the adapter; empty for none, and in old records.
        off_topic: nothing in the library matches the question, so the model was not asked.
        prompt: the messages that were sent.
        place: in the queue before a busy server, from 1 on; 0 when it does not wait there.
        wait_seconds: how long that will take; None when unknown.
        cost: in US dollars; None as long as it, a price or a count is not known.
        tokens_per_second: while the answer was being written, its reading time left out.
        error: why it failed; `cure` says what to do.
        unsaved: why it is not in the records yet; it is tried again.
        vote: −1, 0 or +1.
    """

    id: str
    strategy: str
    model: str = ""
    model_title: str = ""
    adapter: str = ""
    status: Status = "queued"
    text: str = ""
    evidence: tuple[Evidence, ...] = ()
    off_topic: bool = False
    prompt: tuple[Message, ...] = ()
    trimming: Trimming | None = None
    place: int = 0
    wait_seconds: float | None = None
    first_token_seconds: float | None = None
    total_seconds: float | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    tokens_per_second: float | None = None
    cost: float | None = None
    fingerprint: Fingerprint | None = None
    error: str = ""
    cure: str = ""
    unsaved: str = ""
    vote: int = 0
    version: int = 0
    _asked_at: float | None = field(default=None, repr=False, compare=False)
    _first_token_at: float | None = field(default=None, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Nothing will change any more, except the vote."""
        return self.status not in UNFINISHED

    def follow(self, event: Event) -> None:
        """Take in what happened to the answer."""
        match event:
            case Queued():
                self._asked_at = time.monotonic()
                self.status = "retrieving" if self.strategy in _RETRIEVING else "queued"
            case Retrieved(evidence=evidence, off_topic=off_topic):
                self.evidence, self.off_topic, self.status = evidence, off_topic, "queued"
            case Prompted(messages, prompt_tokens, trimming):
                self.prompt, self.trimming = messages, trimming
                self.prompt_tokens, self.status = prompt_tokens, "reading"
            case InLine(place, seconds):
                self.place, self.wait_seconds = place, seconds
                self.status = "queued" if place else "reading"
            case TextDelta(text):
                self._write(text)
            case Finished():
                self._finish(event)
            case Failed(message, cure, _):
                self.error, self.cure, self.status = message, cure, "failed"
        self.version += 1

    def _write(self, text: str) -> None:
        now = time.monotonic()
        if self._first_token_at is None:
            self._first_token_at = now
            if self._asked_at is not None and not self.off_topic:
                self.first_token_seconds = now - self._asked_at  # the end brings the exact one
        self.answer_tokens += 1
        self.tokens_per_second = _rate(self.answer_tokens, now - self._first_token_at)
        self.text += text
        self.status = "streaming"

    def _finish(self, event: Finished) -> None:
        self.first_token_seconds = event.first_token_seconds
        self.total_seconds = event.total_seconds
        self.prompt_tokens = event.prompt_tokens
        self.answer_tokens = event.answer_tokens
        self.cost = event.cost
        self.fingerprint = event.fingerprint
        self.tokens_per_second = _answer_rate(self)
        self.status = "stopped" if event.reason == "stopped" else "complete"


@dataclass
class LiveTurn:
    """One question with an answer of each column that was asked.

    Args:
        answers: by the column's key, in the order of the columns.
        done: no answer is under way here.
        version: grows with every change of any answer.
        changed: notified with every change (see `Chat.wait`).
    """

    id: str
    conversation_id: str
    question: str
    answers: dict[str, LiveAnswer]
    asked_at: str = ""
    done: bool = False
    version: int = 0
    changed: Condition = field(default_factory=Condition, repr=False, compare=False)

    def change(self) -> None:
        """Count a change and wake who waits for one."""
        with self.changed:
            self.version += 1
            self.changed.notify_all()


def as_written(answer: LiveAnswer) -> dict[str, Any]:
    """What an answer leaves in the records, except its vote."""
    return {
        "status": answer.status,
        "text": answer.text,
        "evidence": [asdict(one) for one in answer.evidence],
        "off_topic": answer.off_topic,
        "prompt": [message.as_dict() for message in answer.prompt],
        "trimming": asdict(answer.trimming) if answer.trimming else None,
        "first_token_seconds": answer.first_token_seconds,
        "total_seconds": answer.total_seconds,
        "prompt_tokens": answer.prompt_tokens,
        "answer_tokens": answer.answer_tokens,
        "cost": answer.cost,
        "fingerprint": asdict(answer.fingerprint) if answer.fingerprint else None,
        "error": answer.error,
        "cure": answer.cure,
    }


def restored(stored: StoredTurn) -> LiveTurn:
    """A turn of the past, as it was last written."""
    first = stored.answers[0].model if stored.answers else ""
    return LiveTurn(
        id=stored.id,
        conversation_id=stored.conversation_id,
        question=stored.question,
        answers={_key(one, stored, first): _restored_answer(one) for one in stored.answers},
        asked_at=stored.asked_at,
        done=True,
    )


def _key(answer: StoredAnswer, turn: StoredTurn, first_model: str) -> str:
    """The key of an answer's column; the first of a strategy on a model is that of the first
    adapter."""
    which = (answer.strategy, answer.model)
    of_first = next(one for one in turn.answers if (one.strategy, one.model) == which)
    more = "" if answer.adapter == of_first.adapter else answer.adapter
    return column_key(*which, first_model, more)


def own_history(turns: Iterable[LiveTurn], column: Column) -> tuple[Turn, ...]:
    """What one column was asked and answered; what it never answered is left out.

    Its own answers are those of the same strategy, model and adapter. Where there is none, the
    answer with the same key counts: a conversation goes on when its first model or adapter is
    changed for another. An answer of the retrieval gate is left out: the model was not asked.
    """
    said = ((turn.question, _own_answer(turn, column)) for turn in turns)
    return tuple(
        Turn(question, answer.text)
        for question, answer in said
        if answer and answer.text and answer.status != "failed" and not answer.off_topic
    )


def _own_answer(turn: LiveTurn, column: Column) -> LiveAnswer | None:
    of_model = (
        answer
        for answer in turn.answers.values()
        if (answer.strategy, answer.model, answer.adapter)
        == (column.strategy.name, column.model, column.adapter)
    )
    return next(of_model, turn.answers.get(column.key))


def _restored_answer(stored: StoredAnswer) -> LiveAnswer:
    answer = LiveAnswer(
        id=stored.id,
        strategy=stored.strategy,
        model=stored.model,
        model_title=stored.model_title,
        adapter=stored.adapter,
        status=cast(Status, stored.status),
        text=stored.text,
        evidence=tuple(Evidence(**one) for one in stored.evidence),
        off_topic=stored.off_topic,
        prompt=tuple(Message(**cast(Any, one)) for one in stored.prompt),
        trimming=Trimming(**stored.trimming) if stored.trimming else None,
        first_token_seconds=stored.first_token_seconds,
        total_seconds=stored.total_seconds,
        prompt_tokens=stored.prompt_tokens,
        answer_tokens=stored.answer_tokens,
        cost=stored.cost,
        fingerprint=_fingerprint(stored.fingerprint),
        error=stored.error,
        cure=stored.cure,
        vote=stored.vote,
    )
    return replace(answer, tokens_per_second=_answer_rate(answer))


def _fingerprint(stored: dict[str, Any] | None) -> Fingerprint | None:
    if stored is None:
        return None
    return Fingerprint(**{**stored, "passage_ids": tuple(stored["passage_ids"])})


def _answer_rate(answer: LiveAnswer) -> float | None:
    if answer.first_token_seconds is None or answer.total_seconds is None:
        return None
    return _rate(answer.answer_tokens, answer.total_seconds - answer.first_token_seconds)


def _rate(tokens: int, seconds: float) -> float | None:
    """Tokens per second from the first token on: the first one takes no time."""
    return (tokens - 1) / seconds if tokens > 1 and seconds > 0 else None
