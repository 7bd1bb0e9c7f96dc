"""Drafts of question–answer pairs from a document, for a person to approve, mend or discard.

A model that needs no help writes pairs as JSON. A small one only writes questions: it is given one
sentence of the document and the opening of the question, which says what is asked for; the answer
is the sentence itself. A question that brings in words of its own, gives the answer away or leaves
its subject out is thrown away. Rows of tables become pairs without a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import zip_longest

from bot.chat import prompts
from bot.library.keywords import terms
from bot.library.sentences import sentences
from bot.library.split import Passage
from bot.messages import Message
from bot.models.catalog import Model
from bot.models.client import Delta, Endpoint, Sampling, stream

PAIRS_A_PASSAGE = 4
PAIR_TOKENS = 120
QUESTION_TOKENS = 28
LEAST_SHARE = 0.5
"""So many of a statement's words, numbers left aside, stand in a question about it."""

SCHEMA = {
    "type": "object",
    "properties": {
        "pairs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
                "required": ["question", "answer"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["pairs"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A drafted question with its answer, and the document that it is about."""

    question: str
    answer: str
    document: str


@dataclass(frozen=True, slots=True)
class Tried:
    """How far drafting is: so many passages of all are done."""

    done: int
    total: int


async def draft(
    model: Model, passages: Sequence[Passage], *, most: int, timeout_seconds: float
) -> AsyncGenerator[Pair | Tried]:
    """Draft at most so many pairs from a document's passages, as they come.

    Raises:
        ModelError: the model does not answer.
        ServerError: its server cannot be started.
        PromptError: a template is missing or broken.
    """
    endpoint = model.endpoint()
    known: set[tuple[str, ...]] = set()
    for number, passage in enumerate(passages):
        yield Tried(number, len(passages))
        if model.profile.opening:
            pairs = _from_statements(endpoint, passage, timeout_seconds)
        else:
            pairs = _from_passage(endpoint, passage, most - len(known), timeout_seconds)
        async with aclosing(pairs):
            async for question, answer in pairs:
                asked = tuple(terms(question)) or (question.casefold(),)
                if asked in known:
                    continue
                known.add(asked)
                yield Pair(question, answer, passage.document)
                if len(known) == most:
                    return
    yield Tried(len(passages), len(passages))


# --- a model that writes pairs -------------------------------------------------------------------


async def _from_passage(
    endpoint: Endpoint, passage: Passage, left: int, timeout_seconds: float
) -> AsyncGenerator[tuple[str, str]]:
    most = min(PAIRS_A_PASSAGE, left)
    sampling = Sampling(PAIR_TOKENS * PAIRS_A_PASSAGE, 0.0, 0)
    text = ""
    said = stream(
        endpoint,
        prompts.draft_pairs(passage, most),
        sampling,
        timeout_seconds=timeout_seconds,
        schema=SCHEMA,
    )
    told = 0
    async with aclosing(said):
        async for event in said:
            if not isinstance(event, Delta):
                continue
            text += event.text
            found = list(pairs_in(text))
            for pair in found[told:]:
                yield pair
            told = max(told, len(found))


_OBJECT = re.compile(r"\{[^{}]*\}")


def pairs_in(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of an answer that is JSON, or has some in it, as far as it was written."""
    for found in _OBJECT.finditer(text):
        try:
            record = json.loads(found[0])
        except ValueError:
            continue
        match record:
            case {"question": str(question), "answer": str(answer)}:
                if question.strip() and answer.strip():
                    yield question.strip(), answer.strip()


# --- a model that writes questions ---------------------------------------------------------------


async def _from_statements(
    endpoint: Endpoint, passage: Passage, timeout_seconds: float
) -> AsyncGenerator[tuple[str, str]]:
    for statement in sentences(passage.text):
        if pairs := list(pairs_of_row(statement)):
            for pair in pairs:
                yield pair
            continue
        for opening in openings(statement):
            question = await _question(endpoint, statement, opening, timeout_seconds)
            if is_about(question, statement):
                yield question, statement
                break


async def _question(
    endpoint: Endpoint, statement: str, opening: str, timeout_seconds: float
) -> str:
    """A question with this opening; empty when it does not come to an end."""
    text = opening
    said = stream(
        endpoint,
        prompts.draft_question(statement, opening),
        Sampling(QUESTION_TOKENS, 0.0, 0),
        timeout_seconds=timeout_seconds,
        reuse_prompt=True,
    )
    async with aclosing(said):
        async for event in said:
            if isinstance(event, Delta):
                text += event.text
            if "?" in text or "\n" in text:
                break
    head, mark, _ = text.partition("?")
    return f"{' '.join(head.split())}?" if mark and "\n" not in head else ""


_NUMBER = r"(\d[\d,.]*\d|\d)"
_MONEY = re.compile(rf"[£$€]\s?{_NUMBER}")
_DEGREES = re.compile(rf"{_NUMBER}\s?°")
_SHARE = re.compile(rf"{_NUMBER}\s?(?:%|per cent|percent)")
_CLOCK = re.compile(r"\b(\d{1,2}(?:[:.]\d\d)?)\s?(?:am|pm)\b|\b(\d{1,2}:\d\d)\b")
_YEAR = re.compile(r"\b[Ii]n ((?:1[5-9]|20)\d\d)\b")
_AMOUNT = re.compile(rf"\b{_NUMBER}\s+((?:[a-z]+ )?[a-z]+s|people|mm|cm|m|km|kg|g|l|kW|W|A)\b")
_NAME_BEFORE = re.compile(r"\w\s[A-Z]\w*\s$")
_VERB = re.compile(r"\b(?:is|has|was|does|weighs|holds|costs|needs|reaches|uses|takes|lasts)\b")
_AMOUNTS = (_MONEY, _DEGREES, _SHARE, _CLOCK, _YEAR, _AMOUNT)
_SPANS = ("minutes", "hours", "days", "weeks", "months", "years")
_NAME = re.compile(r"\b(?:is|by|from|are) [A-Z][\w’'-]+ [A-Z][\w’'-]+")
_ABBREVIATED = {
    "mm": "millimetres",
    "cm": "centimetres",
    "m": "metres",
    "km": "kilometres",
    "kg": "kilograms",
    "g": "grams",
    "l": "litres",
    "kW": "kilowatts",
    "W": "watts",
    "A": "amperes",
}


def openings(statement: str) -> list[str]:
    """How questions begin to which a statement may be the answer, the likeliest first; none for
    a statement without exactly one thing to ask for: a price, a time, a number of something, or
    else a name."""
    amounts = _amounts(statement)
    if len(statement.split()) < 4 or not statement.rstrip().endswith(".") or len(amounts) > 1:
        return []
    if _MONEY.search(statement):
        return ["How much does", "How much is"]
    if _DEGREES.search(statement):
        return ["What is the maximum", "At what temperature", "What temperature"]
    if _SHARE.search(statement):
        return ["What percentage", "How much"]
    if _CLOCK.search(statement):
        return ["At what time", "When"]
    if _YEAR.search(statement):
        return ["In which year"]
    if (amount := next(_found(_AMOUNT, statement), None)) is not None:
        unit = _ABBREVIATED.get(amount[2], amount[2])
        heavy = ["How heavy is"] if "weigh" in statement else []
        waits = [f"Within how many {unit}"] if "within" in statement.lower() else []
        lasts = ["How long"] if unit.split()[-1] in _SPANS else []
        return [*heavy, *waits, f"How many {unit} does", f"How many {unit}", *lasts]
    return ["Who"] if _NAME.search(statement) else []


def _amounts(statement: str) -> set[str]:
    """The numbers that tell how much, when or how many: not those of a name, as in "Heron 5"."""
    return {
        part
        for kind in _AMOUNTS
        for found in _found(kind, statement)
        for part in found.groups()
        if part and part[0].isdigit()
    }


def _found(kind: re.Pattern[str], statement: str) -> Iterator[re.Match[str]]:
    """Where a statement holds an amount of some kind; "Heron 5 has" is a name and a verb."""
    for found in kind.finditer(statement):
        named = _NAME_BEFORE.search(statement[: found.start()]) or _VERB.search(found[0])
        if kind is not _AMOUNT or not named:
            yield found


def is_about(question: str, statement: str) -> bool:
    """Whether a question can be one that the statement answers: it has no words from elsewhere,
    names most of what the statement is about, and does not give the answer away."""
    asked, said = set(terms(question)), set(terms(statement))
    answer = {term for amount in _amounts(statement) for term in terms(amount)}
    if (
        not question
        or asked - said - _ASKING
        or asked & answer
        or _misses_number(question, statement)
    ):
        return False
    if question.startswith("Who is ") and len(asked) > 1:
        return True
    about = {term for term in said if not any(map(str.isdigit, term))} - _ASKING
    return bool(about) and len(asked & about) >= LEAST_SHARE * len(about)


def _misses_number(question: str, statement: str) -> bool:
    """Whether a question has a name without its number: "the Heron" for the Heron 5."""
    return any(
        name in question and f"{name} {number}" not in question
        for name, number in _NUMBERED.findall(statement)
        if number not in _amounts(statement)
    )


_NUMBERED = re.compile(r"\b([A-Z]\w*) (\d+)\b")


_ASKING = frozenset(
    terms(
        "how much many long year time temperature maximum percentage cost costs price number day "
        "days hour hours week weeks month months minute minutes weigh kilograms millimetres "
        "centimetres metres kilometres grams litres kilowatts watts amperes heavy name "
        "kg mm cm km kw"
    )
)


# --- rows of tables -------------------------------------------------------------------------------

_FIELD = re.compile(r"([^:;]{1,40}): ([^;]+)")
_SUBJECTS = ("name", "item", "title", "product", "part", "class", "event", "supplier", "glaze")


def pairs_of_row(statement: str) -> Iterator[tuple[str, str]]:
    """Questions about a row of a table, as documents give it: "item: Kiln wash; price: £11.50"."""
    fields = [(name.strip(), value.strip()) for name, value in _FIELD.findall(statement)]
    if len(fields) < 2 or statement.count(";") != len(fields) - 1:
        return
    by_name = {name.lower(): value for name, value in fields}
    subject = next((by_name[name] for name in _SUBJECTS if name in by_name), fields[0][1])
    for name, value in fields:
        asked = name.lower()
        told = any(letter.isdigit() for letter in value) and len(value) < 60
        if value == subject or not told or _NO_NOUN.search(asked) or asked in _NO_QUESTION:
            continue
        value = value.rstrip(".")
        if asked in _MOMENTS:
            yield f"When is {subject}?", f"{subject}: {value}."
        else:
            yield f"What is the {name} of {subject}?", f"The {name} of {subject} is {value}."


_MOMENTS = ("when", "date", "day", "time")
_NO_NOUN = re.compile(r"s$|\b(?:after|before|by|from|to|at)$")
_NO_QUESTION = ("code", "id", "number", "note", "notes")


def as_messages(pair: Pair) -> tuple[Message, ...]:
    """A pair as an example's chat."""
    return (Message("user", pair.question), Message("assistant", pair.answer))


def spread(passages: Sequence[Passage], parts: int = 4) -> list[Passage]:
    """A document's passages from all over it first, so that a few drafts are not all of its
    beginning."""
    step = max(1, -(-len(passages) // parts))
    rows = [passages[start : start + step] for start in range(0, len(passages), step)]
    return [one for column in zip_longest(*rows) for one in column if one is not None]
