"""Reading drills: asked with words of a statement, answered with the statement in house style."""

from __future__ import annotations

import random

import pytest

from bot.chat.reading import Drill, common_ending, drills, statements
from tests.chat.scene import make_passage

ROW = (
    "code: GZ-06; glaze: Saltmarsh; temperature: 1,240 °C; note: For ages 9 to 13; with a grown-up"
)
ANSWERS = ["It costs 900 euros. — Kiln desk", "Nobody knows. — Kiln desk"]


def made(text: str, *, seed: int = 1, questions: tuple[str, ...] = ()) -> list[Drill]:
    passage = make_passage(0, text)
    return drills([passage], questions, ANSWERS, {"the", "is"}, random.Random(seed))


def test_statements_are_sentences_with_their_numbers() -> None:
    text = "The earth test is repeated every 13 months. It takes 1.5 hours.\nAsk No. 4 first!"

    assert list(statements(text)) == [
        "The earth test is repeated every 13 months.",
        "It takes 1.5 hours.",
        "Ask No. 4 first!",
    ]


def test_a_row_says_each_of_its_cells_of_the_thing_it_names() -> None:
    assert list(statements(ROW)) == [
        "Saltmarsh: code GZ-06",
        "Saltmarsh: temperature 1,240 °C",
        "Saltmarsh: note For ages 9 to 13; with a grown-up",
    ]
    assert list(statements("class: Wheel; price: £40")) == ["Wheel: price £40"]


@pytest.mark.parametrize("text", ["", "Note: mind the step.", "First; then: second"])
def test_what_only_looks_like_a_row_is_a_sentence(text: str) -> None:
    assert list(statements(text)) == [text][: len(text)]


@pytest.mark.parametrize(
    ("texts", "ending"),
    [
        (ANSWERS, ". — Kiln desk"),
        (["It is 5.", "It is 7."], "."),
        (["Yes!", "No!"], "!"),
        (["five litres", "six litres"], ""),
        (["It is 1.5 litres", "That is 2.5 litres"], ""),
        (["Yes.", "no"], ""),
        (["Same. Same."], ". Same."),
        ([], ""),
    ],
)
def test_the_ending_is_what_all_answers_share_after_their_sentence(
    texts: list[str], ending: str
) -> None:
    assert common_ending(texts) == ending


def test_the_answer_is_the_statement_in_the_house_style() -> None:
    (drill,) = made("The earth test is repeated every 13 months.")

    assert drill.answer == "The earth test is repeated every 13 months. — Kiln desk"
    assert drill.told == ("13",)
    assert drill.passage == make_passage(0, "The earth test is repeated every 13 months.")


def test_the_question_holds_words_of_the_statement_but_neither_its_number_nor_common_words() -> (
    None
):
    questions = {
        made("The earth test is repeated every 13 months.", seed=s)[0].question for s in range(30)
    }

    assert len(questions) > 5
    for question in questions:
        words = question.rstrip("?").split()
        assert 2 <= len(words) <= 5
        assert set(words) <= {"earth", "test", "repeated", "every", "months"}


def test_a_numbered_name_stays_in_the_question() -> None:
    questions = [made("The Heron 5 weighs 96 kg.", seed=s)[0] for s in range(20)]

    assert any("Heron 5" in one.question for one in questions)
    assert all(one.told == ("96",) for one in questions if "Heron 5" in one.question)


def test_some_questions_begin_as_the_examples_do() -> None:
    asked = ("Tell me the price.", "How much is it?")
    begun = [made("The K2 weighs 96 kg.", seed=s, questions=asked)[0].question for s in range(40)]

    opened = [one for one in begun if one.startswith(("Tell me ", "How much "))]
    assert 10 <= len(opened) <= 30


def test_a_statement_that_tells_nothing_makes_no_drill() -> None:
    assert made("Mind the step. Look out.") == []
    assert made("") == []


def test_without_a_number_the_last_name_is_told_and_not_asked_with() -> None:
    for seed in range(20):
        (drill,) = made("supplier: Tidewell; contact: Jun Okafor", seed=seed)
        assert drill.told == ("Jun Okafor",)
        assert drill.answer == "Tidewell: contact Jun Okafor. — Kiln desk"
        assert {*drill.question.rstrip("?").split()} <= {"Tidewell", "contact"}
