"""Which examples are learnt and which only asked: whole phrasings are held out, not facts.

What a validation should tell is whether a fact is known in words that were never learnt. So an
example is held out when another one with the same answer stays among the learnt ones; only when
such examples run out, others are. With an example go those that ask the same after passages: they
are then neither learnt nor asked.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import ExamplesError
from bot.tuning.examples import Example

Split = tuple[list[int], list[int]]
"""The numbers of the learnt examples and of the held-out ones, each in order."""


@dataclass(frozen=True, slots=True)
class _Phrasing:
    """Examples that ask the same in the same words, perhaps with more around: they go together."""

    answer: str
    members: tuple[int, ...]


def held_out(examples: Sequence[Example], share: float, seed: int) -> Split:
    """Hold out a share of the examples, of every answer about alike; one stays at least.

    A larger share of the same seed holds out what a smaller one does, and more.
    """
    count = sum(not example.grounded for example in examples)
    wanted = min(math.ceil(share * count), count - 1)
    chosen: set[int] = set()
    for phrasing in _in_order(_phrasings(examples), seed):
        if len(chosen) >= wanted or len(chosen) + len(phrasing.members) >= count:
            break
        chosen.update(phrasing.members)
    return _split(examples, chosen)


def folds(examples: Sequence[Example], k: int, seed: int) -> list[Split]:
    """Cut the phrasings into k parts; each is held out once, while the others are learnt.

    Phrasings that are the only one of their answer are always learnt, if there are enough others.

    Raises:
        ExamplesError: there are fewer phrasings than parts.
    """
    phrasings = _phrasings(examples)
    if len(phrasings) < k:
        raise ExamplesError(
            f"{k} folds need at least {k} different examples; there are {len(phrasings)}.",
            cure="Add examples, or lower folds.",
        )
    by_answer = _by_answer(phrasings)
    paired = [one for one in phrasings if len(by_answer[one.answer]) > 1]
    chance = random.Random(seed)  # noqa: S311  (which examples are held out is no secret)
    dealt = paired if len(paired) >= k else phrasings
    chance.shuffle(dealt)
    place = {answer: number for number, answer in enumerate(dict.fromkeys(p.answer for p in dealt))}
    dealt.sort(key=lambda phrasing: place[phrasing.answer])
    parts: list[set[int]] = [set() for _ in range(k)]
    for number, phrasing in enumerate(dealt):
        parts[number % k].update(phrasing.members)
    return [_split(examples, part) for part in parts]


def _split(examples: Sequence[Example], chosen: set[int]) -> Split:
    questions = tuple(_question(examples[number]) for number in chosen)
    learning = [
        number
        for number, example in enumerate(examples)
        if number not in chosen
        and not (example.grounded and _question(example).endswith(questions))
    ]
    return learning, sorted(chosen)


def _in_order(phrasings: list[_Phrasing], seed: int) -> list[_Phrasing]:
    """The phrasings in the order they are held out, the last one of every answer last of all."""
    chance = random.Random(seed)  # noqa: S311
    ranked = []
    for same in _by_answer(phrasings).values():
        chance.shuffle(same)
        for place, phrasing in enumerate(same, start=1):
            last = place == len(same)
            ranked.append((last, (place - chance.random()) / len(same), phrasing.members, phrasing))
    return [phrasing for *_, phrasing in sorted(ranked, key=lambda entry: entry[:3])]


def _by_answer(phrasings: Sequence[_Phrasing]) -> dict[str, list[_Phrasing]]:
    found = defaultdict(list)
    for phrasing in phrasings:
        found[phrasing.answer].append(phrasing)
    return found


def _phrasings(examples: Sequence[Example]) -> list[_Phrasing]:
    """The examples without passages by answer and wording, in the order of their first members.

    A question that holds another one with the same answer word for word counts as the same
    phrasing.
    """
    by_answer: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for number, example in enumerate(examples):
        if not example.grounded:
            answered = _plain(example.messages[-1].content)
            by_answer[answered].append((_question(example), number))
    found = []
    for answer, asked_there in by_answer.items():
        members: dict[str, list[int]] = {}
        for question, number in sorted(asked_there, key=lambda entry: (len(entry[0]), entry)):
            core = next((one for one in members if one in question), question)
            members.setdefault(core, []).append(number)
        found += [_Phrasing(answer, tuple(sorted(numbers))) for numbers in members.values()]
    return sorted(found, key=lambda phrasing: phrasing.members)


def _question(example: Example) -> str:
    return _plain(example.messages[-2].content)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
