"""Fitting a prompt into the model's context by the model's own token counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.chat.question import Turn
from bot.errors import ContextExceeded
from bot.library.split import Passage
from bot.messages import Message

TEMPLATE_TOKENS = 32
"""More than a chat template puts around one message, an implied system message included."""

_ELLIPSIS = " … "


@dataclass(frozen=True, slots=True)
class Trimming:
    """What was left out of a prompt so that it fits the model's context."""

    dropped_turns: int = 0
    dropped_passages: int = 0
    dropped_question_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """The parts of a prompt that may be shortened."""

    question: str
    history: tuple[Turn, ...] = ()
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits: its parts, its messages and their length in the model's tokens.

    The length is 0 when there was no need to count: so short a prompt fits in any case.
    """

    draft: Draft
    messages: tuple[Message, ...]
    prompt_tokens: int
    trimming: Trimming | None


async def fit(
    draft: Draft,
    build: Callable[[Draft], tuple[Message, ...]],
    count: Callable[[Sequence[Message]], Awaitable[int]],
    *,
    room_tokens: int,
) -> Fitted:
    """Shorten a draft until its messages take at most `room_tokens`.

    The oldest turns go first, then the lowest-ranked passages except the best one, then the
    middle of the question. A prompt whose bytes would fit is not even counted, so that an
    ordinary question starts without delay.

    Raises:
        ContextExceeded: even a question cut to nothing does not fit.
        ModelError: the model's server cannot count.
    """
    messages = build(draft)
    if _most_tokens(messages) <= room_tokens:
        return Fitted(draft, messages, 0, None)
    tokens = await count(messages)
    if tokens <= room_tokens:
        return Fitted(draft, messages, tokens, None)

    whole = draft
    while tokens > room_tokens and (draft.history or len(draft.passages) > 1):
        draft = _drop(draft, tokens - room_tokens, tokens / _characters(messages))
        messages = build(draft)
        tokens = await count(messages)

    question_tokens = tokens
    while tokens > room_tokens:
        shorter = _shorten(draft.question, tokens - room_tokens, tokens / _characters(messages))
        if shorter == draft.question:
            raise ContextExceeded(
                f"The prompt takes {tokens} tokens, and the model has room for {room_tokens}.",
                prompt_tokens=tokens,
                context_tokens=room_tokens,
            )
        draft = Draft(shorter, draft.history, draft.passages)
        messages = build(draft)
        tokens = await count(messages)

    trimming = Trimming(
        dropped_turns=len(whole.history) - len(draft.history),
        dropped_passages=len(whole.passages) - len(draft.passages),
        dropped_question_tokens=question_tokens - tokens,
    )
    return Fitted(draft, messages, tokens, trimming)


def _drop(draft: Draft, excess_tokens: int, tokens_per_character: float) -> Draft:
    """Leave out oldest turns, else lowest-ranked passages, until the estimate is low enough."""
    history, passages = list(draft.history), list(draft.passages)
    excess = excess_tokens / tokens_per_character
    while history and excess > 0:
        turn = history.pop(0)
        excess -= len(turn.question) + len(turn.answer)
    if not draft.history:
        while len(passages) > 1 and excess > 0:
            excess -= len(passages.pop().text)
    return Draft(draft.question, tuple(history), tuple(passages))


def _shorten(question: str, excess_tokens: int, tokens_per_character: float) -> str:
    """Cut the middle: what is asked stands at the beginning or at the end of a long question."""
    keep = len(question) - int(excess_tokens / tokens_per_character) - len(_ELLIPSIS) - 1
    if keep <= 0:
        return question if len(question) <= len(_ELLIPSIS) else _ELLIPSIS
    head = (keep + 1) // 2
    return question[:head].rstrip() + _ELLIPSIS + question[len(question) - keep // 2 :].lstrip()


def _most_tokens(messages: Sequence[Message]) -> int:
    """More tokens than the messages can have: no token is shorter than a byte."""
    return sum(len(message.content.encode()) + TEMPLATE_TOKENS for message in messages)


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages) or 1
