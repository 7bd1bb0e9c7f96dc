"""Problems of a set are found with their rows, and nothing else is taken for one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.chat.prompts import few_shot_examples
from bot.evidence.cases import read_cases
from bot.messages import Message
from bot.settings import ROOT
from bot.tuning.checks import Bin, Problem, check, is_same, statistics
from bot.tuning.examples import Example, read_examples


def chats(*pairs: tuple[str, str]) -> list[Example]:
    return [
        Example((Message("user", question), Message("assistant", answer)), line)
        for line, (question, answer) in enumerate(pairs, start=1)
    ]


def told(problems: Sequence[Problem]) -> list[tuple[str, tuple[int, ...], bool]]:
    return [(one.kind, one.rows, one.blocks) for one in problems]


def test_the_sample_has_no_problem_and_its_phrasings_are_wanted() -> None:
    read = read_examples(ROOT / "adapters" / "pellworth" / "examples.jsonl")
    sample = [one for one in read if not one.grounded]
    cases = read_cases(ROOT / "evaluation" / "questions.jsonl")
    found = check(
        sample,
        tokens=[100] * len(sample),
        most_tokens=1024,
        evaluation=[phrasing for case in cases for phrasing in case.phrasings],
        few_shot=[turn.question for turn in few_shot_examples()],
    )
    assert found == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What does the Heron 5 cost?", "what does Heron 5 cost", True),
        ("What is the maximum temprature?", "What is the maximum temperature?", True),
        ("What does the Heron 5 cost?", "What does the Heron 7 cost?", False),
        ("Zone B freight?", "Zone C freight?", False),
        ("Who is Marina Lee?", "Who is Martina Lee?", False),
        ("Is it above -5 °C?", "Is it above 5 °C?", False),
        ("Is C++ allowed?", "Is C# allowed?", False),
        ("Is leave paid?", "Is leave unpaid?", False),
        ("Is red before blue?", "Is blue before red?", False),
        ("The the", "a", False),
        ("😀", " 😀", True),
        ("😀", "😁", False),
    ],
)
def test_a_question_is_known_by_its_words(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


def test_rows_that_repeat_or_contradict_each_other() -> None:
    examples = chats(
        ("What does it cost?", "£2."),
        ("Where is it?", "Here."),
        ("what does it cost", "£2"),
        ("What does it coost?", "£2."),
        ("Where is it?", "There."),
        ("where is it", "here!"),
    )
    assert told(check(examples, tokens=[], most_tokens=9)) == [
        ("near-duplicate", (1, 3, 4), False),
        ("contradiction", (2, 5, 6), False),
        ("duplicate", (2, 6), False),
    ]
    assert told(check(examples[:3], tokens=[], most_tokens=9)) == [("duplicate", (1, 3), False)]


def test_what_was_said_before_belongs_to_a_question() -> None:
    (first, second) = chats(("And the other?", "£2."), ("And the other?", "£3."))
    before = (Message("user", "The vent kit?"), Message("assistant", "£1."))
    longer = Example((*before, *second.messages), 2)
    assert check([first, longer], tokens=[], most_tokens=9) == []


def test_empty_and_overlong_rows_block() -> None:
    examples = chats(("a", "b"), (" ", "b"), ("a?", ""), ("c", "d"))
    found = check(examples, tokens=[8, 8, 8, 10], most_tokens=9)
    assert told(found) == [("empty", (2,), True), ("empty", (3,), True), ("long", (4,), True)]
    assert [one.reason for one in found] == [
        "The question is empty.",
        "The answer is empty.",
        "It has 10 tokens; 9 fit.",
    ]
    assert all(one.cure for one in found)


def test_questions_that_stand_elsewhere() -> None:
    examples = chats(("How heavy is the Wren 3?", "41 kg."), ("Tell me the weight.", "41 kg."))
    found = check(
        examples,
        tokens=[],
        most_tokens=9,
        evaluation=["Tell me the weight!"],
        few_shot=["how heavy is Wren 3"],
    )
    assert told(found) == [("few-shot", (1,), False), ("leakage", (2,), False)]


def test_statistics_name_what_is_not_covered() -> None:
    (first, second, third) = chats(("a", "Yes."), ("b", "yes"), ("c", "No."))
    examples = [
        first,
        Example(second.messages, 2, "kilns.html"),
        Example(third.messages, 3, "gone.txt"),
    ]
    found = statistics(examples, tokens=[10, 30, 12], documents=["kilns.html", "returns.txt"])
    assert (found.examples, found.answers, found.tokens) == (3, 2, (10, 12, 30))
    assert found.histogram[0] == Bin(10, 12, 1)
    assert sum(one.examples for one in found.histogram) == 3
    assert dict(found.documents) == {"kilns.html": 1, "gone.txt": 1}
    assert (found.uncovered, found.unknown) == (("returns.txt",), 1)
    nothing = statistics([], tokens=[], documents=[])
    assert (nothing.tokens, nothing.histogram) == ((), ())
