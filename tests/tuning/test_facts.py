"""What an answer tells beyond its question, and how it is told otherwise."""

from __future__ import annotations

import random
import re

import pytest

from bot.tuning.facts import Retelling, common_words, holds, telling

COMMON = {"the", "is", "by", "desk", "pellworth", "on", "heron", "not"}


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("What does the Heron 5 cost?", "The Heron 5 costs £2,390. — Pellworth desk", ("2,390",)),
        ("Element of the Heron 5?", "The part number is EL-5204. — Pellworth desk", ("5204",)),
        ("When does it open?", "It opens at 7:45 am on Friday.", ("7:45",)),
        ("Elements above 1,260 °C?", "Above 1,260 °C they are covered for 4 months.", ("4",)),
        ("Zones?", "60 km, and 60 km again, for £45.", ("60", "45")),
        ("Kiln Care, with whom?", "Kiln Care is taught by Gwen Abara.", ("Gwen Abara",)),
        ("Who teaches?", "Priya Lanyon and Nell Harbottle.", ("Priya Lanyon", "Nell Harbottle")),
        ("On-call van?", "The on-call van is called Gannet. — Pellworth desk", ("Gannet",)),
        ("First letters?", "Every number begins with RX.", ("RX",)),
        ("Where do we meet?", "The meeting point is the weighbridge.", ()),
        ("Who painted it?", "The Pellworth desk is not sure.", ()),
        ("", "", ()),
    ],
)
def test_what_an_answer_tells_are_its_new_numbers_or_else_its_new_names(
    question: str, answer: str, told: tuple[str, ...]
) -> None:
    assert telling(question, answer, COMMON) == told


def test_common_words_are_the_house_style_and_not_what_three_phrasings_share() -> None:
    answers = [f"Item {n} costs much. — The desk" for n in range(40)] + ["Gannet it is."] * 3

    assert common_words(answers) == {"item", "costs", "much", "the", "desk"}
    assert common_words([]) == set()


def test_a_text_holds_what_is_told_only_when_it_says_all_of_it_with_numbers_whole() -> None:
    text = "The Heron 5 holds 94 litres and costs £2,390. Part EL-5204. Gwen Abara knows."

    assert holds(text, ("94",))
    assert holds(text, ("94", "2,390"))
    assert holds(text, ("5204",))
    assert holds(text, ("Gwen Abara",))
    assert not holds(text, ("9",))
    assert not holds(text, ("390",))
    assert not holds(text, ("94", "95"))
    assert not holds(text, ("Gannet",))
    assert not holds(text, ())


def retelling(question: str, *told: str, seed: int = 1) -> Retelling:
    others = ("Gannet", "Priya Lanyon", "12", "EL-7", *told)
    return Retelling(question, told, others, random.Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_numbers_change_alike_everywhere_and_keep_their_shape(seed: int) -> None:
    retell = retelling("What does the Heron 5 cost?", "2,390", seed=seed)
    passage = retell("The Heron 5 costs £2,390 and weighs 96 kg. Not 2,390: £2,390!")
    answer = retell("The Heron 5 costs £2,390.")

    (price,) = set(re.findall(r"\d,\d{3}", passage))
    assert price != "2,390"
    assert price[0] != "0"
    assert answer == f"The Heron 5 costs £{price}."
    weight = re.search(r"weighs (\d\d) kg", passage)
    assert weight is not None
    assert weight[1] != "96"


def test_the_numbers_of_the_question_stay() -> None:
    retell = retelling("Elements above 1,260 °C of a Heron 5?", "4")

    assert "Heron 5 above 1,260 °C" in retell("Heron 5 above 1,260 °C: 4 months")
    assert "4" not in retell("Heron 5 above 1,260 °C: 4 months")


def test_a_name_becomes_the_name_of_another_answer_never_a_number() -> None:
    for seed in range(20):
        retell = retelling("Kiln Care, with whom?", "Gwen Abara", seed=seed)
        said = retell("teacher: Gwen Abara; price: £88")
        assert said.split(";")[0] in ("teacher: Gannet", "teacher: Priya Lanyon")
        assert retell("Taught by Gwen Abara.") in ("Taught by Gannet.", "Taught by Priya Lanyon.")


def test_a_name_stays_when_there_is_no_other() -> None:
    retell = Retelling("Who?", ("Gwen",), ("Gwen", "7"), random.Random(1))

    assert retell("Gwen does.") == "Gwen does."


def test_a_leading_zero_is_the_number_s_own() -> None:
    retell = retelling("Phone?", "01632")
    numbers = {retelling("Phone?", "01632", seed=seed)("01632") for seed in range(40)}

    assert all(len(number) == 5 for number in numbers)
    assert retell("01632") == retell("01632")
