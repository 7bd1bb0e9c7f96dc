"""A set of examples before training: its problems by row, each with its cure, and its statistics.

Nothing here judges meaning. Two questions are one and the same when they differ in case, signs,
articles or one misspelt word; numbers and names never count as misspelt. So neither several
phrasings of one fact nor one question about two products are taken for a mistake.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Literal

from bot.tuning.examples import Example

Kind = Literal[
    "empty", "long", "contradiction", "duplicate", "near-duplicate", "leakage", "few-shot"
]

SAME_WORD_SCORE = 80
"""So alike (of 100, by edits) are a word and its misspelling."""

BINS = 12


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is better mended before training.

    Args:
        rows: the rows that it is about, by their `Example.line`; the first one is kept when the
            cure is to keep one of them.
        reason: what is wrong, in a sentence.
        cure: what to do about it, in a sentence.
        blocks: nothing can be trained while it is there; others are warnings.
    """

    kind: Kind
    rows: tuple[int, ...]
    reason: str
    cure: str
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Bin:
    """How many examples have from `low` up to, but not including, `high` tokens."""

    low: int
    high: int
    examples: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a set holds.

    Args:
        examples: how many there are.
        answers: how many different answers they give.
        tokens: the shortest, the middle and the longest example, in tokens; empty when they were
            not counted.
        histogram: of the lengths, in bins of one width.
        documents: how many examples each document has, most first.
        uncovered: documents of the library that have none.
        unknown: examples of which the document is not known.
    """

    examples: int
    answers: int
    tokens: tuple[int, ...]
    histogram: tuple[Bin, ...]
    documents: tuple[tuple[str, int], ...]
    uncovered: tuple[str, ...]
    unknown: int


def check(
    examples: Sequence[Example],
    *,
    tokens: Sequence[int],
    most_tokens: int,
    evaluation: Iterable[str] = (),
    few_shot: Iterable[str] = (),
) -> list[Problem]:
    """Every problem of a set: first those that block, then in the order of the rows.

    Args:
        tokens: the length of each example; empty when they cannot be counted.
        most_tokens: the longest example that can be trained on.
        evaluation: questions that measure what was learnt, their paraphrases included.
        few_shot: questions of the examples that few-shot shows.
    """
    found = [
        *_empty(examples),
        *_long(examples, tokens, most_tokens),
        *_alike(examples),
        *_known(examples, evaluation, few_shot),
    ]
    return sorted(found, key=lambda one: (not one.blocks, one.rows))


def statistics(
    examples: Sequence[Example], *, tokens: Sequence[int], documents: Iterable[str]
) -> Statistics:
    """What a set holds.

    Args:
        tokens: the length of each example; empty when they cannot be counted.
        documents: the names of the library's documents.
    """
    named = Counter(example.document for example in examples if example.document)
    return Statistics(
        examples=len(examples),
        answers=len({_words(example.messages[-1].content) for example in examples}),
        tokens=(min(tokens), round(median(tokens)), max(tokens)) if tokens else (),
        histogram=tuple(_histogram(tokens)),
        documents=tuple(named.most_common()),
        uncovered=tuple(sorted(set(documents) - named.keys())),
        unknown=len(examples) - named.total(),
    )


def is_same(one: str, other: str) -> bool:
    """Whether two questions differ in nothing but their spelling.

    Examples:
        >>> is_same("What does the Heron 5 cost?", "what does heron 5 cost")
        True
        >>> is_same("What does the Heron 5 cost?", "What does the Heron 7 cost?")
        False
    """
    left, right = _words(one), _words(other)
    if len(left) != len(right):
        return False
    apart = [(a, b) for a, b in zip(left, right, strict=True) if a != b]
    if len(apart) > 1:
        return False
    names = _names(one) | _names(other)
    return all(_is_misspelt(a, b) and not {a, b} & names for a, b in apart)


# --- one row -----------------------------------------------------------------------------------


def _empty(examples: Sequence[Example]) -> Iterator[Problem]:
    for example in examples:
        missing = [one for one in example.messages if not one.content.strip()]
        if missing:
            what = "question" if missing[0].role == "user" else "answer"
            cure = f"Write the {what}, or delete the row."
            yield Problem("empty", (example.line,), f"The {what} is empty.", cure, blocks=True)


def _long(examples: Sequence[Example], tokens: Sequence[int], most: int) -> Iterator[Problem]:
    for example, length in zip(examples, tokens, strict=False):
        if length > most:
            yield Problem(
                "long",
                (example.line,),
                f"It has {length:,} tokens; {most:,} fit.",
                "Shorten it, or split it into several examples.",
                blocks=True,
            )


# --- rows beside each other --------------------------------------------------------------------


def _alike(examples: Sequence[Example]) -> Iterator[Problem]:
    """Rows that ask the same, by what they answer."""
    whole = [one for one in examples if all(said.content.strip() for said in one.messages)]
    for asking in _groups([_asked(one) for one in whole]):
        group = [whole[place] for place in asking]
        answers = _groups([one.messages[-1].content for one in group], alone=True)
        if len(answers) > 1:
            yield Problem(
                "contradiction",
                tuple(one.line for one in group),
                f"{len(answers)} different answers to one question.",
                "Keep the one that is right.",
            )
        for places in answers:
            yield from _repeated([group[place] for place in places])


def _repeated(examples: Sequence[Example]) -> Iterator[Problem]:
    """Rows that say the same: to the letter, or nearly."""
    if len(examples) < 2:
        return
    rows = tuple(example.line for example in examples)
    texts = {tuple(_words(one.content) for one in example.messages) for example in examples}
    if len(texts) == 1:
        yield Problem(
            "duplicate", rows, "The same question and answer.", "Keep one, delete the rest."
        )
    else:
        yield Problem(
            "near-duplicate",
            rows,
            "Nearly the same question, with the same answer.",
            "Keep one, or ask in other words: new phrasings teach, new spellings do not.",
        )


def _groups(texts: Sequence[str], *, alone: bool = False) -> list[list[int]]:
    """Which texts are one and the same, by their places in order.

    Args:
        alone: also list those that have no other beside them.
    """
    by_words: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        by_words[_words(text)].append(place)
    merged: dict[tuple[str, ...], list[int]] = {}  # by the words that each group began with
    index: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for words, places in by_words.items():
        text = texts[places[0]]
        near = (one for signature in _signatures(text) for one in index[signature])
        first = next((one for one in near if is_same(texts[merged[one][0]], text)), words)
        merged.setdefault(first, []).extend(places)
        if first is words:
            for signature in _signatures(text):
                index[signature].append(words)
    return [sorted(places) for places in merged.values() if alone or len(places) > 1]


def _known(
    examples: Sequence[Example], evaluation: Iterable[str], few_shot: Iterable[str]
) -> Iterator[Problem]:
    """Rows whose question is asked elsewhere, where nobody should have learnt the answer."""
    for kind, questions in (("leakage", list(evaluation)), ("few-shot", list(few_shot))):
        index: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for question in questions:
            for signature in _signatures(question):
                index[signature].append(question)
        for example in examples:
            text = example.messages[0].content
            near = (one for signature in _signatures(text) for one in index.get(signature, ()))
            if text.strip() and any(is_same(one, text) for one in near):
                yield _leak(example) if kind == "leakage" else _shown(example)


def _leak(example: Example) -> Problem:
    return Problem(
        "leakage",
        (example.line,),
        "The question stands in the evaluation set, too.",
        "Ask in other words, or delete the row: else the evaluation measures memory.",
    )


def _shown(example: Example) -> Problem:
    return Problem(
        "few-shot",
        (example.line,),
        "The question is one of those that few-shot shows.",
        "Delete the row, so that few-shot and the adapter can be compared.",
    )


# --- words -------------------------------------------------------------------------------------

_ARTICLES = {"a", "an", "the"}
_WORD = re.compile(r"(?<!\S)-(?=\d)|\w+|[^\w\s.,;:!?\"'`…()\[\]{}«»“”„‘’–—-]")
_INNER_WORD = re.compile(r"(?<=[\w,;:] )\w+")
_LEAST_MISSPELT = 4  # letters: shorter words are often one letter from another


def _asked(example: Example) -> str:
    """All that is said before the answer."""
    return "\n".join(one.content for one in example.messages[:-1])


@lru_cache(maxsize=100_000)
def _words(text: str) -> tuple[str, ...]:
    """The words in lower case, without articles; the text itself when it has none."""
    words = [word.casefold() for word in _WORD.findall(text)]
    kept = [word for word in words if word not in _ARTICLES]
    return tuple(kept or words or [text.strip()])


def _names(text: str) -> set[str]:
    """The words, in lower case, that may be names: those with a capital that begin no sentence."""
    return {word.casefold() for word in _INNER_WORD.findall(text) if word[0].isupper()}


def _signatures(text: str) -> Iterator[tuple[str, ...]]:
    """What two texts have in common when they are the same: their words, or those words with one
    of them cut to its first letter."""
    words = _words(text)
    yield words
    for place, word in enumerate(words):
        if len(word) >= _LEAST_MISSPELT and word.isalpha():
            yield (*words[:place], f"{word[0]}\0", *words[place + 1 :])


def _is_misspelt(one: str, other: str) -> bool:
    from rapidfuzz import fuzz

    letters = min(len(one), len(other)) >= _LEAST_MISSPELT and (one + other).isalpha()
    return letters and one[0] == other[0] and fuzz.ratio(one, other) >= SAME_WORD_SCORE


def _histogram(tokens: Sequence[int]) -> Iterator[Bin]:
    if not tokens:
        return
    width = max(1, -(-(max(tokens) - min(tokens) + 1) // BINS))
    start = min(tokens) // width * width
    counts = Counter((length - start) // width for length in tokens)
    for place in range(max(counts) + 1):
        low = start + place * width
        yield Bin(low, low + width, counts[place])
