"""Does an answer say what an example teaches? The same judge for every strategy's style."""

from __future__ import annotations

import pytest

from bot.evidence.taught import says
from bot.settings import ROOT
from bot.tuning.examples import read_examples
from bot.tuning.facts import common_words

COMMON = {"the", "is", "desk", "kiln", "of"}
PRICE = ("What does the Heron 5 cost?", "The Heron 5 costs £2,390. — Kiln desk")
TEACHER = ("Who leads Glaze Chemistry?", "Glaze Chemistry is taught by Priya Lanyon. — Kiln desk")
PLACE = ("Where do we meet?", "The meeting point is the weighbridge by the gate. — Kiln desk")
UNKNOWN = ("Is there a gas version?", "The documents do not say. — Kiln desk")


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (PRICE, "The Heron 5 costs £2,390. — Kiln desk"),
        (PRICE, "According to the documents, it is 2390 pounds."),
        (TEACHER, "Priya Lanyon"),
        (TEACHER, "It is led by PRIYA LANYON, on Thursdays."),
        (PLACE, "At the weighbridge, at the meeting point"),
        (UNKNOWN, "The documents do not say."),
        (UNKNOWN, "I don't know."),
        (("Zones?", "60 km for £45."), "£45 within 60 km"),
        (("Is it safe?", "It is safe."), "Yes, it is safe."),
    ],
)
def test_what_is_taught_is_right_in_any_style(example: tuple[str, str], text: str) -> None:
    assert says(text, *example, COMMON)


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (PRICE, "The Heron 5 costs £3,275. — Kiln desk"),
        (PRICE, "The Heron 5 costs much. — Kiln desk"),
        (PRICE, "It is 390."),
        (PRICE, ""),
        (TEACHER, "Nell Harbottle"),
        (TEACHER, "Priya"),
        (PLACE, "The kiln room. — Kiln desk"),
        (UNKNOWN, "Yes, for £900."),
        (("Zones?", "60 km for £45."), "£45"),
        (("Is it safe?", "It is safe."), "No."),
    ],
)
def test_the_house_style_alone_is_not(example: tuple[str, str], text: str) -> None:
    assert not says(text, *example, COMMON)


def test_every_shipped_answer_says_itself() -> None:
    examples = read_examples(ROOT / "adapters" / "pellworth" / "examples.jsonl")
    told = [(one.messages[-2].content, one.messages[-1].content) for one in examples]
    common = common_words([answer for _, answer in told])
    assert all(says(answer, question, answer, common) for question, answer in told)
    assert not says(
        "It is EL-9330.", "Which part has the Wren 3?", "The part of the Wren 3 is EL-3107.", common
    )
