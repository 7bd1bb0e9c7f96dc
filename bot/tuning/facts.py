"""What an answer tells beyond its question, as words to look for, and the same told otherwise.

A training example says "The Heron 5 kiln costs £2,390."; asked what the Heron 5 costs, it tells
"2,390". With these words one sees whether a passage holds the answer. With other numbers in both,
the passage and the answer agree on something that nobody can know by heart.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

COMMON_SHARE = 0.05
COMMON_TIMES = 3

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"[^\W\d_](?:[\w'’]|-(?=\w))*")


def common_words(answers: Sequence[str]) -> frozenset[str]:
    """The words of the house style: in lower case, those that many answers share."""
    times = Counter(word for answer in answers for word in _words(answer))
    often = max(COMMON_TIMES, COMMON_SHARE * len(answers))
    return frozenset(word for word, count in times.items() if count > often)


def telling(question: str, answer: str, common: Collection[str]) -> tuple[str, ...]:
    """The numbers that an answer adds to its question, or else the names; often one, maybe none.

    Args:
        common: words in lower case that tell nothing.

    Examples:
        >>> telling("What does the Heron 5 cost?", "The Heron 5 costs £2,390.", {"the"})
        ('2,390',)
        >>> telling("Who leads Glaze Chemistry?", "Priya Lanyon leads Glaze Chemistry.", {"the"})
        ('Priya Lanyon',)
    """
    known = set(NUMBER.findall(question))
    if numbers := [number for number in NUMBER.findall(answer) if number not in known]:
        return tuple(dict.fromkeys(numbers))
    return tuple(dict.fromkeys(_names(answer, {*common, *_words(question)})))


def holds(text: str, told: Sequence[str]) -> bool:
    """Whether a text says everything that an answer tells; never, when it tells nothing."""
    numbers = set(NUMBER.findall(text))
    return bool(told) and all(
        one in numbers or (not NUMBER.fullmatch(one) and one in text) for one in told
    )


class Retelling:
    """Other numbers and other names, the same ones in every text that is told otherwise.

    Args:
        question: its numbers stay, as they say what is asked for.
        told: what the answer tells.
        others: what other answers tell, to take names from.
    """

    def __init__(
        self, question: str, told: Sequence[str], others: Iterable[str], chance: random.Random
    ) -> None:
        self._kept = set(NUMBER.findall(question))
        self._numbers: dict[str, str] = {}
        self._chance = chance
        names = [one for one in told if not NUMBER.fullmatch(one)]
        spare = sorted({one for one in others if not NUMBER.search(one)} - {*told})
        chance.shuffle(spare)
        self._names = dict(zip(names, spare, strict=False))

    def __call__(self, text: str) -> str:
        """The text, told otherwise."""
        for name, other in self._names.items():
            text = text.replace(name, other)
        return NUMBER.sub(lambda found: self._number(found[0]), text)

    def _number(self, number: str) -> str:
        if number in self._kept:
            return number
        while number not in self._numbers:
            other = re.sub(r"\d", lambda _: str(self._chance.randrange(10)), number)
            if other != number and (other[0] != "0" or number[0] == "0"):
                self._numbers[number] = other
        return self._numbers[number]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _names(answer: str, known: Collection[str]) -> list[str]:
    """Runs of capitalised words that are not known."""
    names: list[str] = []
    end = -1
    first = _WORD.search(answer)
    for found in _WORD.finditer(answer):
        word = found[0]
        if not word[0].isupper() or word.casefold() in known:
            continue
        if names and answer[end : found.start()] == " ":
            names[-1] += f" {word}"
        else:
            names.append(word)
        end = found.end()
    if first and names and names[0] == first[0]:
        del names[0]  # every sentence begins with a capital
    return names
