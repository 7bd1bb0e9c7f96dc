"""The learning curve's plan, intervals and words: pure, over many made-up sets."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from bot.errors import ExamplesError
from bot.evidence.curve import (
    FEWEST_EXAMPLES,
    HELD_OUT_SHARE,
    MOST_ASKED,
    Curve,
    Plan,
    Point,
    best_rival,
    examples_to_pay,
    expected_seconds,
    from_json,
    plan,
    surely_more,
    surely_pays,
    verdict,
    wilson,
)
from bot.messages import Message
from bot.tuning.examples import Example


def example(question: str, answer: str, *, grounded: bool = False) -> Example:
    return Example((Message("user", question), Message("assistant", answer)), grounded=grounded)


def made_up(answers: int, phrasings: int, seed: int = 0) -> list[Example]:
    found = [
        example(f"Question {a}-{p}?", f"Answer {a}.")
        for a in range(answers)
        for p in range(phrasings)
    ]
    random.Random(seed).shuffle(found)
    return found


def answers_of(examples: list[Example], numbers: tuple[int, ...]) -> list[str]:
    return [examples[number].messages[-1].content for number in numbers]


def curve(*points: tuple[int, int], asked: int = 60, **rivals: int) -> Curve:
    return Curve(
        id="1",
        title="kilns",
        examples=200,
        asked=asked,
        sizes=tuple(size for size, _ in points),
        created_at="2026-11-21T09:00:00+00:00",
        points=tuple(Point(*point) for point in points),
        rivals={name.replace("_", "-"): right for name, right in rivals.items()},
        state="done",
    )


# --- the plan ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("answers", "phrasings"), [(4, 2), (10, 3), (97, 3), (40, 1), (3, 30)])
def test_subsets_are_nested_and_never_hold_what_is_asked(
    answers: int, phrasings: int, seed: int
) -> None:
    examples = made_up(answers, phrasings, seed)
    made = plan(examples, seed)

    assert 1 <= len(made.asked) <= min(MOST_ASKED, HELD_OUT_SHARE * len(examples) + 1)
    for smaller, larger in zip(made.subsets, made.subsets[1:], strict=False):
        assert set(smaller) < set(larger)
    assert sorted((*made.asked, *made.subsets[-1])) == list(range(len(examples)))
    shares = [len(one) / len(made.subsets[-1]) for one in made.subsets]
    assert [
        abs(s - w) < 1 / len(made.subsets[-1])
        for s, w in zip(shares, (0.25, 0.5, 0.75, 1), strict=True)
    ]


def test_every_subset_teaches_as_many_answers_as_it_can() -> None:
    examples = made_up(20, 4)
    for subset in plan(examples, 3).subsets:
        times = Counter(answers_of(examples, subset))
        assert len(times) == min(20, len(subset))
        assert len(subset) < 20 or max(times.values()) - min(times.values()) <= 2


def test_every_phrasing_that_is_asked_has_an_answer_that_all_examples_teach() -> None:
    examples = made_up(20, 3)
    made = plan(examples, 5)
    assert set(answers_of(examples, made.asked)) <= set(answers_of(examples, made.subsets[-1]))


def test_the_same_seed_plans_alike_and_another_one_does_not() -> None:
    examples = made_up(20, 3)
    assert plan(examples, 1) == plan(examples, 1)
    assert plan(examples, 1) != plan(examples, 2)


def test_examples_with_passages_are_neither_asked_nor_learnt() -> None:
    plain = made_up(10, 3)
    mixed = [*plain, *(replace(one, grounded=True) for one in plain)]
    assert plan(mixed, 1) == plan(plain, 1)


def test_longer_chats_are_learnt_but_not_asked() -> None:
    long = [
        Example((*one.messages, Message("user", "And?"), Message("assistant", "That is all.")))
        for one in made_up(10, 2)
    ]
    mixed = long + made_up(10, 2, seed=1)
    assert all(number >= len(long) for number in plan(mixed, 1).asked)
    with pytest.raises(ExamplesError, match="held out"):
        plan(long, 1)


def test_too_few_examples_are_refused_with_their_number() -> None:
    few = made_up(FEWEST_EXAMPLES - 1, 1)
    with pytest.raises(ExamplesError, match=f"there are {len(few)}"):
        plan(few, 1)
    assert plan(made_up(FEWEST_EXAMPLES, 1), 1).subsets


def test_the_smallest_sets_have_points_of_different_sizes() -> None:
    sizes = [len(one) for one in plan(made_up(4, 2), 1).subsets]
    assert sizes == sorted(set(sizes))
    assert isinstance(plan(made_up(4, 2), 1), Plan)


def test_a_curve_takes_as_long_as_its_trainings_and_its_answers() -> None:
    planned = Plan(asked=tuple(range(10)), subsets=((10, 11), (10, 11, 12, 13)))
    assert expected_seconds(planned, 140.0) == pytest.approx(140.0 * 6 / 14 + 10 * 4 * 2.0)


# --- intervals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),
    [
        (50, 100, 0.4038, 0.5962),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (9, 10, 0.5958, 0.9821),
    ],
)
def test_wilson_intervals_are_those_of_the_textbooks(
    right: int, asked: int, low: float, high: float
) -> None:
    assert wilson(right, asked) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_wilson_intervals_hold_their_share_and_narrow_with_more_questions() -> None:
    for asked in range(1, 60):
        widths = []
        for right in range(asked + 1):
            low, high = wilson(right, asked)
            assert 0 <= low <= right / asked <= high <= 1
            widths.append(high - low)
        low, high = wilson(asked * 4, asked * 8)
        assert high - low < max(widths)
    assert wilson(0, 0) == (0.0, 1.0)


# --- the verdict -------------------------------------------------------------------------------


def test_between_two_points_the_curve_is_straight() -> None:
    crossing = curve((50, 10), (100, 30), (150, 50), (200, 55), few_shot=2, rag=40)

    assert best_rival(crossing) == "rag"
    assert examples_to_pay(crossing) == 125
    assert surely_pays(crossing) == 150
    assert verdict(crossing) == (
        "Fine-tuning pays from about 125 examples on: with 200 examples the adapter answers 55 of "
        "60 held-out phrasings right, RAG 40. From 150 on it is ahead by more than chance (95 %)."
    )


def test_an_adapter_that_is_ahead_at_once_is_said_to_be() -> None:
    ahead = curve((50, 30), (200, 55), few_shot=5, rag=4)

    assert best_rival(ahead) == "few-shot"
    assert examples_to_pay(ahead) == surely_pays(ahead) == 50
    assert verdict(ahead).startswith("Fine-tuning pays from 50 examples on, the fewest that were")


def test_a_small_lead_can_be_chance() -> None:
    close = curve((50, 10), (200, 44), few_shot=2, rag=40)

    assert surely_pays(close) is None
    assert verdict(close).endswith("The difference can be chance: its 95 % interval holds zero.")


def test_a_lead_beyond_chance_needs_no_intervals_that_are_apart() -> None:
    assert surely_more(54, 43, 60)
    assert wilson(54, 60)[0] < wilson(43, 60)[1]
    assert not surely_more(48, 43, 60)
    assert not surely_more(43, 54, 60)
    assert not surely_more(5, 5, 60)
    assert not surely_more(0, 0, 0)


def test_the_larger_the_lead_the_surer_it_is() -> None:
    for other in range(0, 60, 7):
        sure = [surely_more(right, other, 60) for right in range(61)]
        assert sure == sorted(sure)
        assert not any(sure[: other + 1])
    assert surely_more(60, 50, 60)


def test_an_adapter_that_stays_behind_does_not_pay() -> None:
    behind = curve((50, 2), (200, 10), few_shot=2, rag=50)
    assert examples_to_pay(behind) is None
    assert verdict(behind) == (
        "Fine-tuning does not pay yet: with 200 examples the adapter answers 10 of 60 held-out "
        "phrasings right, RAG 50. More phrasings of each answer help most."
    )
    assert verdict(curve((50, 2), (200, 45), rag=50)).endswith("holds zero.")


def test_nothing_right_anywhere_does_not_pay() -> None:
    assert examples_to_pay(curve((50, 0), (200, 0), few_shot=0, rag=0)) is None


def test_without_points_or_rivals_nothing_is_said() -> None:
    assert verdict(curve(rag=5)) == ""
    assert verdict(curve((50, 10))) == ""
    assert best_rival(curve()) == ""
    assert surely_pays(curve((50, 10))) is None
    assert examples_to_pay(curve((50, 10))) is None


# --- the file ----------------------------------------------------------------------------------


def test_a_curve_is_the_same_after_its_file() -> None:
    full = replace(
        curve((50, 10), (200, 44), few_shot=2, rag=40),
        error="Ein Fehler — ü",
        doing="x",
        seconds=3.5,
    )
    assert from_json(full.as_json()) == full


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"points": 3}', '{"points": [{}]}'])
def test_what_is_no_curve_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
