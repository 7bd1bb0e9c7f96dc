"""The question that is put to the strategies, with what was said before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer, as a conversation or an example shows them."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the earlier turns of each column by the column's key.

    A column only ever sees its own turns: an answer of one never leaks into another's prompt.
    `person` is who asks, for the queue before a busy server: everybody has the same share of it.
    """

    text: str
    history: Mapping[str, tuple[Turn, ...]] = field(default_factory=dict)
    person: str = ""
