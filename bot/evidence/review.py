"""A set of examples looked at before training: its problems and statistics, with what the checks
have to know from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.chat.prompts import few_shot_examples
from bot.errors import ExamplesError, ModelError, ServerError
from bot.evidence.cases import read_cases
from bot.tuning.checks import Problem, Statistics, check, statistics
from bot.tuning.examples import Example


@dataclass(frozen=True, slots=True)
class Review:
    """What was found.

    Args:
        problems: those that block training first.
        tokens: the length of each example, by its place; empty when they were not counted.
        uncounted: why they were not, in a sentence; else empty.
    """

    problems: tuple[Problem, ...]
    statistics: Statistics
    tokens: tuple[int, ...]
    uncounted: str = ""

    @property
    def blocking(self) -> tuple[Problem, ...]:
        """The problems with which nothing can be trained."""
        return tuple(one for one in self.problems if one.blocks)


def review(
    examples: Sequence[Example],
    *,
    count: Callable[[Sequence[Example]], Sequence[int]],
    most_tokens: int,
    origin: Callable[[str], str],
    documents: Iterable[str],
    cases: Path,
) -> Review:
    """Look at a set.

    Args:
        count: the lengths of examples, in the tokens of the model that is trained.
        most_tokens: the longest example that can be trained on.
        origin: the document that a statement comes from, for examples that name none.
        documents: the names of the library's documents.
        cases: a file of evaluation questions; one that is not there measures nothing.
    """
    tokens, uncounted = _counted(examples, count)
    named = [_with_document(example, origin) for example in examples]
    problems = check(
        examples,
        tokens=tokens,
        most_tokens=most_tokens,
        evaluation=_phrasings(cases),
        few_shot=[turn.question for turn in few_shot_examples()],
    )
    found = statistics(named, tokens=tokens, documents=documents)
    return Review(tuple(problems), found, tokens, uncounted)


def _counted(
    examples: Sequence[Example], count: Callable[[Sequence[Example]], Sequence[int]]
) -> tuple[tuple[int, ...], str]:
    try:
        return tuple(count(examples)), ""
    except (ModelError, ServerError) as error:
        return (), str(error)


def _with_document(example: Example, origin: Callable[[str], str]) -> Example:
    if example.document:
        return example
    said = " ".join(message.content for message in example.messages)
    return replace(example, document=origin(said))


def _phrasings(cases: Path) -> list[str]:
    try:
        return [phrasing for case in read_cases(cases) for phrasing in case.phrasings]
    except ExamplesError:
        return []
