"""Reading drills: questions made of the words of a passage, answered with what it says there.

Examples alone teach an adapter to choose among the sentences that it learnt. Asked after a passage
on something else, it should say what stands there: so a statement of a passage is asked for by
some of its words, and is itself the answer, in the house style. Both are then told otherwise
(`bot.tuning.facts`), so that nothing but reading is learnt.
"""

from __future__ import annotations

import os.path
import random
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bot.library.sentences import sentences
from bot.library.split import Passage
from bot.tuning.facts import NUMBER, telling

WORDS_DROPPED = 0.25
"""Share of a statement's words that its question does not use."""

OPENED = 0.5
"""Share of the drills whose question begins as one of the examples' questions does."""

SHUFFLED = 0.5
"""Share of the drills whose question has the words of the statement in any order."""

_OPENING_WORDS = 2
_FIELD = re.compile(r"([^:;]{1,40}): (.+)")
_NEXT_FIELD = re.compile(r"; (?=[^:;]{1,40}: )")
_WORD = re.compile(r"[A-Z][\w'’-]* \d+(?![\d.,:])|[^\W\d_](?:[\w'’]|-(?=\w))*")


@dataclass(frozen=True, slots=True)
class Drill:
    """A passage, a question that it answers, the answer, and what the answer tells."""

    passage: Passage
    question: str
    answer: str
    told: tuple[str, ...]


def drills(
    passages: Sequence[Passage],
    questions: Sequence[str],
    answers: Sequence[str],
    common: Collection[str],
    chance: random.Random,
) -> list[Drill]:
    """A drill for every statement of the passages that tells a number or a name.

    Args:
        questions: of the examples; drills begin like them.
        answers: of the examples; drills end like them.
        common: words in lower case that ask for nothing.
    """
    ending = common_ending(answers)
    made = []
    for passage in passages:
        for statement in statements(passage.text):
            question = _question(_asking(statement, common), questions, chance)
            if told := telling(question, statement, common):
                made.append(Drill(passage, question, _ended(statement, ending), told))
    return made


def _asking(statement: str, common: Collection[str]) -> list[str]:
    """The words that a statement can be asked for by: not its numbers, or else not its name."""
    words = [word for word in _WORD.findall(statement) if word.casefold() not in common]
    if NUMBER.search(statement):
        return words
    *_, name = telling("", statement, common) or ("",)
    return [word for word in words if word not in name.split()]


def statements(text: str) -> Iterator[str]:
    """The sentences of a text; of a table's row, what each cell says of the row's name."""
    for line in text.split("\n"):
        fields = [_FIELD.fullmatch(part.strip()) for part in _NEXT_FIELD.split(line)]
        if len(fields) > 1 and all(fields):
            cells = [(field[1], field[2]) for field in fields if field]
            name = cells[1 if NUMBER.search(cells[0][1]) else 0][1]  # a code often comes first
            yield from (f"{name}: {label} {value}" for label, value in cells if value != name)
        else:
            yield from sentences(line)


def common_ending(texts: Sequence[str]) -> str:
    """What all texts end with, from the end of their last sentence on; empty when nothing is."""
    backwards = [text[::-1] for text in texts]
    shared = os.path.commonprefix(backwards)[::-1]  # noqa: RUF071  (no paths: just what we want)
    start = re.search(r"[.!?](?:\s|$)", shared)
    return shared[start.start() :] if start else ""


def _ended(statement: str, ending: str) -> str:
    return statement.rstrip(".!? ") + ending if ending else statement


def _question(words: Sequence[str], questions: Sequence[str], chance: random.Random) -> str:
    kept = [word for word in words if chance.random() >= WORDS_DROPPED]
    kept = kept if len(kept) > 1 else list(words)
    if chance.random() < SHUFFLED:
        chance.shuffle(kept)
    said = " ".join(kept)
    if questions and chance.random() < OPENED:
        opening = " ".join(chance.choice(questions).split()[:_OPENING_WORDS]).rstrip("?,.")
        said = f"{opening} {said}"
    return f"{said}?"
