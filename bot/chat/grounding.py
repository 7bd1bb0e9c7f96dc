"""Training examples with passages: asked as the hybrid strategy asks, besides being asked plainly.

An adapter that was only ever asked bare questions answers from memory, whatever a prompt holds.
So every example whose question finds something in the library is asked once more, with passages
before it, in one of three ways:

- *retold*: a passage that holds the answer, with other numbers or another name in both, so that
  only reading it helps;
- *right*: the passages as they are found;
- *distracting*: found passages that do not hold the answer, which stays what it was.

Beside them stand reading drills on the passages that were found (`bot.chat.reading`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bot.chat import prompts
from bot.chat.question import Turn
from bot.chat.reading import drills
from bot.chat.strategies import strategy
from bot.library.split import Passage
from bot.messages import Message
from bot.tuning.examples import Example
from bot.tuning.facts import Retelling, common_words, holds, telling

SPARE_PASSAGES = 7
"""Passages looked at besides those that go into a prompt, to choose distractors from."""

WAYS = {"retold": 0.5, "right": 0.2, "distracting": 0.3}
"""How often each way is taken."""

Retrieve = Callable[[str, int], Sequence[Passage]]
"""A question and the passages wanted → the passages, best first; none when it is off topic."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The last turn of an example: what is asked, what is answered, and what that tells."""

    question: str
    answer: str
    told: tuple[str, ...]


def grounded(
    examples: Sequence[Example], retrieve: Retrieve, *, passages: int, seed: int
) -> list[Example]:
    """The examples with passages, and reading drills on these; what finds nothing is left out.

    The user's last message is exactly the prompt that the hybrid strategy sends. The same
    examples, library and seed give the same result.

    Args:
        retrieve: called once for every question.
        passages: how many go into a prompt.
    """
    chance = random.Random(seed)  # noqa: S311  (the choice of passages is no secret)
    common = common_words([example.messages[-1].content for example in examples])
    asked = [_asked(example, common) for example in examples]
    names = sorted({name for one in asked for name in one.told})
    made = []
    seen: dict[str, Passage] = {}
    for example, one in zip(examples, asked, strict=True):
        found = retrieve(one.question, passages + SPARE_PASSAGES)
        seen |= {passage.id: passage for passage in found}
        if found:
            made.append(_ground(example, one, found, passages, names, chance))
    return made + _drills(list(seen.values()), asked, common, passages, names, chance)


def _drills(
    seen: Sequence[Passage],
    asked: Sequence[_Asked],
    common: frozenset[str],
    passages: int,
    names: Sequence[str],
    chance: random.Random,
) -> list[Example]:
    """Reading drills on the passages that were seen, each told otherwise."""
    questions, answers = [one.question for one in asked], [one.answer for one in asked]
    made = []
    for drill in drills(seen, questions, answers, common, chance):
        others = [one for one in seen if one is not drill.passage]
        shown = [drill.passage, *chance.sample(others, min(passages - 1, len(others)))]
        chance.shuffle(shown)
        retell = Retelling(drill.question, drill.told, names, chance)
        messages = _messages((), drill.question, [_retold(one, retell) for one in shown])
        answer = Message("assistant", retell(drill.answer))
        made.append(Example((*messages, answer), grounded=True))
    return made


def _asked(example: Example, common: frozenset[str]) -> _Asked:
    question, answer = (message.content for message in example.messages[-2:])
    return _Asked(question, answer, telling(question, answer, common))


def _ground(
    example: Example,
    asked: _Asked,
    found: Sequence[Passage],
    passages: int,
    names: Sequence[str],
    chance: random.Random,
) -> Example:
    right = [one for one in found if holds(f"{one.source}\n{one.text}", asked.told)]
    others = [one for one in found if one not in right]
    way = chance.choices(list(WAYS), list(WAYS.values()))[0]
    answer = asked.answer
    shown = list(found[:passages])
    if way == "retold" and right:
        shown = [right[0], *others[: passages - 1]]
        retell = Retelling(asked.question, asked.told, names, chance)
        shown = [_retold(one, retell) for one in shown]
        answer = retell(answer)
    elif way == "distracting" and others:
        shown = others[:passages]
    chance.shuffle(shown)
    messages = _messages(example.messages[:-2], asked.question, shown)
    return replace(example, messages=(*messages, Message("assistant", answer)), grounded=True)


def _retold(passage: Passage, retell: Retelling) -> Passage:
    return replace(
        passage,
        title=retell(passage.title),
        heading=retell(passage.heading),
        text=retell(passage.text),
    )


def _messages(
    earlier: Sequence[Message], question: str, passages: Sequence[Passage]
) -> tuple[Message, ...]:
    """What the hybrid strategy sends, less the system message."""
    history = [Turn(a.content, b.content) for a, b in _pairs(earlier)]
    sent = prompts.messages(strategy("hybrid"), question, history=history, passages=passages)
    return sent[1:]


def _pairs(messages: Sequence[Message]) -> Iterator[tuple[Message, Message]]:
    return zip(messages[::2], messages[1::2], strict=True)
