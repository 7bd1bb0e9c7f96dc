"""Fitting a prompt: what is dropped first, what is never dropped, and how often it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bot.chat.question import Turn
from bot.chat.trimming import TEMPLATE_TOKENS, Draft, Fitted, Trimming, fit
from bot.errors import ContextExceeded
from bot.messages import Message
from tests.chat.scene import make_passage


def build(draft: Draft) -> tuple[Message, ...]:
    said = [Message("system", "s")]
    for turn in draft.history:
        said += [Message("user", turn.question), Message("assistant", turn.answer)]
    asked = [passage.text for passage in draft.passages] + [draft.question]
    return (*said, Message("user", " ".join(asked)))


class Counter:
    """Words, as a model's tokenizer would count them."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, messages: Sequence[Message]) -> int:
        self.calls += 1
        return sum(len(message.content.split()) for message in messages)


def fitted(draft: Draft, room_tokens: int, count: Counter | None = None) -> Fitted:
    return asyncio.run(fit(draft, build, count or Counter(), room_tokens=room_tokens))


def words(count: int, word: str = "word") -> str:
    return " ".join([word] * count)


def test_a_prompt_that_fits_is_left_alone_and_counted_once() -> None:
    count = Counter()
    draft = Draft("one two", (Turn("a", "b"),), (make_passage(),))
    result = fitted(draft, 100, count)
    assert (result.draft, result.trimming, count.calls) == (draft, None, 1)
    assert result.prompt_tokens == 1 + 2 + 5 + 2


def test_a_prompt_that_fits_whatever_its_tokens_are_is_not_counted() -> None:
    count = Counter()
    draft = Draft("é" * 100)
    room_tokens = 1 + 200 + 2 * TEMPLATE_TOKENS  # a token for each byte
    assert fitted(draft, room_tokens, count).prompt_tokens == 0
    assert count.calls == 0
    assert fitted(draft, room_tokens - 1, count).prompt_tokens == 2
    assert count.calls == 1


def test_a_prompt_that_fills_the_room_exactly_fits() -> None:
    assert fitted(Draft(words(9)), 10).trimming is None


def test_the_oldest_turns_go_first() -> None:
    history = tuple(Turn(words(5, f"q{n}"), words(5, f"a{n}")) for n in range(4))
    result = fitted(Draft("now", history), 25)
    assert result.draft.history == history[2:]
    assert result.trimming == Trimming(dropped_turns=2)
    assert result.prompt_tokens <= 25


def test_passages_go_after_the_turns_and_the_best_one_stays() -> None:
    passages = tuple(make_passage(n, words(20, f"p{n}")) for n in range(3))
    result = fitted(Draft("now", (Turn("q", "a"),), passages), 30)
    assert result.draft.history == ()
    assert result.draft.passages == passages[:1]
    assert result.trimming == Trimming(dropped_turns=1, dropped_passages=2)


def test_a_long_question_keeps_its_beginning_and_its_end() -> None:
    question = f"begin {words(500)} end"
    result = fitted(Draft(question, (Turn("q", "a"),)), 50)
    assert result.draft.question.startswith("begin") and result.draft.question.endswith("end")
    assert " … " in result.draft.question
    assert result.prompt_tokens <= 50
    assert result.trimming is not None
    assert result.trimming.dropped_turns == 1
    assert result.trimming.dropped_question_tokens == 503 - result.prompt_tokens


def test_a_question_is_not_cut_much_shorter_than_it_must_be() -> None:
    assert fitted(Draft(words(5000)), 1000).prompt_tokens > 900


def test_a_huge_question_takes_few_counts() -> None:
    count = Counter()
    fitted(Draft(words(100_000)), 1000, count)
    assert count.calls <= 4


def test_uneven_words_still_come_to_an_end() -> None:
    question = " ".join("x" * (1 + n % 97) for n in range(3000)) + " a b c d" * 500
    assert fitted(Draft(question), 40).prompt_tokens <= 40


def test_what_cannot_fit_says_so() -> None:
    with pytest.raises(ContextExceeded, match="room for 3") as failure:
        fitted(Draft("now", (), (make_passage(text=words(50)),)), 3)
    assert failure.value.context_tokens == 3
