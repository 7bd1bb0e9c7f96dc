"""A set looked at before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.errors import ModelUnavailable
from bot.evidence.review import Review, review
from bot.messages import Message
from bot.records.examples import create_set, delete_set
from bot.services import Services
from bot.settings import ROOT
from bot.tuning.examples import Example, read_examples
from bot.tuning.sets import add_examples

QUESTIONS = ROOT / "evaluation" / "questions.jsonl"


def chat(question: str, answer: str, line: int, document: str = "") -> Example:
    return Example((Message("user", question), Message("assistant", answer)), line, document)


def looked_at(examples: Sequence[Example], *, cases: Path = QUESTIONS) -> Review:
    return review(
        examples,
        count=lambda some: [len(one.messages[0].content) for one in some],
        most_tokens=60,
        origin=lambda statement: "kilns.html" if "Heron" in statement else "",
        documents=["kilns.html", "returns.txt"],
        cases=cases,
    )


def test_a_question_of_the_evaluation_is_found_and_documents_are_told_by_their_words() -> None:
    found = looked_at(
        [
            chat("How many litres fit into the Heron 5?", "94 litres.", 1),
            chat("What is the chamber volume of a Wren 3 kiln?", "38 litres.", 2),
            chat("Returns?", "Within 30 days.", 3, "returns.txt"),
            chat("x" * 61, "y", 4),
        ]
    )
    assert [(one.kind, one.rows) for one in found.problems] == [
        ("long", (4,)),
        ("leakage", (1,)),
        ("leakage", (2,)),
    ]
    assert [one.kind for one in found.blocking] == ["long"]
    assert dict(found.statistics.documents) == {"kilns.html": 1, "returns.txt": 1}
    assert (found.statistics.uncovered, found.statistics.unknown) == ((), 2)


def test_what_cannot_be_counted_or_read_does_not_keep_the_rest_from_being_said(
    tmp_path: Path,
) -> None:
    def fails(examples: Sequence[Example]) -> Sequence[int]:
        raise ModelUnavailable("The model does not answer.")

    found = review(
        [chat("", "y", 1)],
        count=fails,
        most_tokens=9,
        origin=lambda statement: "",
        documents=[],
        cases=tmp_path / "none.jsonl",
    )
    assert found.uncounted == "The model does not answer."
    assert [one.kind for one in found.blocking] == ["empty"]


@pytest.mark.integration
def test_the_sample_has_no_problem_and_covers_most_of_its_library(services: Services) -> None:
    sample = read_examples(ROOT / "adapters" / "pellworth" / "examples.jsonl")
    set_id = create_set(services.engine, "sample")
    try:
        add_examples(services.engine, set_id, sample, "sample")
        found = services.review_examples(set_id, 1024)
        assert services.review_examples(set_id, 1024) is found, "it is kept"
        assert found.problems == ()
        assert found.statistics.tokens[2] < 128
        assert len(found.statistics.documents) > 15
        assert found.statistics.unknown < 100
    finally:
        delete_set(services.engine, set_id)
