"""Drafts of examples: what is asked of a model, and which of its questions are kept."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from bot.chat.drafts import Pair, Tried, draft, is_about, openings, pairs_in, pairs_of_row, spread
from bot.library.split import Passage
from bot.models.catalog import EMBEDDED_PROFILE
from bot.testing import PROFILE, Reply, ScriptedModel


def passage(text: str, number: int = 0) -> Passage:
    return Passage(f"p-{number}", "rules.md", "Rules", "", None, number, text)


def drafted(model: ScriptedModel, *texts: str, most: int = 9) -> list[Pair | Tried]:
    async def all_of_them() -> list[Pair | Tried]:
        passages = [passage(text, number) for number, text in enumerate(texts)]
        return [one async for one in draft(model, passages, most=most, timeout_seconds=10)]

    with model:
        return asyncio.run(all_of_them())


def pairs(drafts: list[Pair | Tried]) -> list[tuple[str, str]]:
    return [(one.question, one.answer) for one in drafts if isinstance(one, Pair)]


SMALL = replace(PROFILE, opening=EMBEDDED_PROFILE.opening)
CAPABLE = replace(PROFILE, opening="")


def test_a_small_model_continues_an_opening_and_the_answer_is_the_sentence() -> None:
    model = ScriptedModel([Reply(" the ring cost? And more")], Reply("no question"), SMALL)
    found = drafted(model, "The ring costs £15. See the list for all of them.", "Nothing here.")
    assert pairs(found) == [("How much does the ring cost?", "The ring costs £15.")]
    assert [one for one in found if isinstance(one, Tried)] == [
        Tried(0, 2),
        Tried(1, 2),
        Tried(2, 2),
    ]
    (request,) = model.requests
    assert [one.content for one in request.messages[-2:]] == [
        "The ring costs £15.",
        "How much does",
    ]


def test_an_unusable_question_is_tried_with_the_next_opening() -> None:
    model = ScriptedModel([Reply(" a bird eat?"), Reply(" the ring?")], None, SMALL)
    assert pairs(drafted(model, "The ring costs £15.")) == [
        ("How much is the ring?", "The ring costs £15.")
    ]


def test_a_capable_model_writes_pairs_as_json() -> None:
    said = json.dumps(
        {
            "pairs": [
                {"question": "Where is it?", "answer": "Here."},
                {"question": "Where is it?", "answer": "There."},
                {"question": " ", "answer": "Nowhere."},
                {"question": "How old is it?", "answer": "Nine years."},
                {"question": "Who made it?", "answer": "Ana."},
            ]
        }
    )
    model = ScriptedModel([Reply(f"```json\n{said}\n```")], None, CAPABLE)
    assert pairs(drafted(model, "A text.", most=2)) == [
        ("Where is it?", "Here."),
        ("How old is it?", "Nine years."),
    ]
    (request,) = model.requests
    assert "A text." in request.messages[-1].content


def test_what_is_no_json_gives_nothing() -> None:
    assert pairs(drafted(ScriptedModel([], Reply("I will not."), CAPABLE), "A text.")) == []
    assert list(pairs_in('[{"question": 1, "answer": "x"}, {"question": "a", "ans')) == []


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("The ring costs £15.", "How much does"),
        ("The Heron 5 has a maximum temperature of 1,280 °C.", "What is the maximum"),
        ("The desk opens at 8:15 am.", "At what time"),
        ("Claims are decided within 8 working days.", "Within how many working days"),
        ("The Wren 4 weighs 58 kg.", "How heavy is"),
        ("The firm was founded in 1987.", "In which year"),
        ("The chair of the trust is Idris Calloway.", "Who"),
        ("The studio has room for 14 people and costs £19 per hour.", ""),
        ("Wipe the casing with a damp cloth only.", ""),
        ("Opening hours £5", ""),
    ],
)
def test_a_question_begins_as_the_statement_wants(statement: str, first: str) -> None:
    assert next(iter(openings(statement)), "") == first


@pytest.mark.parametrize(
    ("question", "statement", "kept"),
    [
        ("How much does the ring cost?", "The ring costs £15.", True),
        ("How heavy is the Wren 4?", "The Wren 4 weighs 58 kg.", True),
        ("In which year did it move to the yard?", "In 1998 it moved to the yard.", True),
        ("Who is Idris Lee?", "The chair of the board of the trust is Idris Lee.", True),
        ("How heavy is the Wren?", "The Wren 4 weighs 58 kg.", False),
        ("How much does the £15 ring cost?", "The ring costs £15.", False),
        ("How much does the bird cost?", "The ring costs £15.", False),
        ("How much is it?", "The ring costs £15.", False),
        ("", "The ring costs £15.", False),
    ],
)
def test_which_questions_are_kept(question: str, statement: str, kept: bool) -> None:
    assert is_about(question, statement) is kept


def test_rows_of_tables_need_no_model() -> None:
    row = "code: AC-4; item: Kiln wash, 1 kg; price: £11.50; when: 4 May; coats: 2; colour: grey"
    assert list(pairs_of_row(row)) == [
        ("What is the price of Kiln wash, 1 kg?", "The price of Kiln wash, 1 kg is £11.50."),
        ("When is Kiln wash, 1 kg?", "Kiln wash, 1 kg: 4 May."),
    ]
    assert list(pairs_of_row("Note: a colon; and a semicolon")) == []


def test_a_few_drafts_come_from_all_over_a_document() -> None:
    found = spread([passage("x", number) for number in range(10)])
    assert [one.number for one in found[:4]] == [0, 3, 6, 9]
    assert sorted(one.number for one in found) == list(range(10))
