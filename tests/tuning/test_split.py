"""Phrasings are held out, facts are not: properties over many made-up sets of examples."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bot.errors import ExamplesError
from bot.messages import Message
from bot.tuning.examples import Example
from bot.tuning.split import folds, held_out

SEEDS = range(40)


def example(question: str, answer: str) -> Example:
    return Example((Message("user", question), Message("assistant", answer)))


def made_up(seed: int) -> list[Example]:
    """Some answers with one to five phrasings each, in any order."""
    chance = random.Random(seed)
    found = [
        example(f"Question {answer}-{phrasing}?", f"Answer {answer}.")
        for answer in range(chance.randint(1, 12))
        for phrasing in range(chance.randint(1, 5))
    ]
    chance.shuffle(found)
    return found


def answers(examples: list[Example], numbers: list[int]) -> set[str]:
    return {examples[number].messages[-1].content for number in numbers}


def could_be_held_out(examples: list[Example]) -> int:
    """How many phrasings may go while every answer keeps one."""
    return len(examples) - len(answers(examples, list(range(len(examples)))))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_a_held_out_phrasing_has_a_sibling_that_is_learnt(seed: int, share: float) -> None:
    examples = made_up(seed)
    learning, asked = held_out(examples, share, seed)
    assert sorted(learning + asked) == list(range(len(examples)))
    assert learning == sorted(learning)
    assert len(asked) == min(-(-round(share * len(examples) * 100) // 100), len(examples) - 1)
    assert learning
    if len(asked) <= could_be_held_out(examples):
        assert answers(examples, asked) <= answers(examples, learning)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_splits_alike_and_a_larger_share_adds_to_it(seed: int) -> None:
    examples = made_up(seed)
    _, few = held_out(examples, 0.1, seed)
    assert held_out(examples, 0.1, seed)[1] == few
    assert set(few) <= set(held_out(examples, 0.4, seed)[1])


def test_every_answer_gives_about_its_share() -> None:
    many = [example(f"Big {n}?", "Big.") for n in range(40)]
    many += [example(f"Small {a} {n}?", f"Small {a}.") for a in range(20) for n in range(3)]
    _, asked = held_out(many, 0.2, 3)
    assert len(asked) == 20
    assert 6 <= sum(number < 40 for number in asked) <= 10
    assert len(answers(many, asked)) > 8


def test_other_seeds_hold_out_others() -> None:
    examples = made_up(1) + made_up(2)
    assert len({tuple(held_out(examples, 0.2, seed)[1]) for seed in SEEDS}) > 10


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_same_words_with_passages_around_them_go_together(share: float) -> None:
    plain = [example(f"How hot is kiln {n}?", "1280 degrees.") for n in range(6)]
    more = [
        example(f"Kilns: they are hot.\n\n{p.messages[0].content}", "1280  degrees.") for p in plain
    ]
    learning, asked = held_out(plain + more, share, 7)
    assert asked
    assert {number % 6 for number in learning} & {number % 6 for number in asked} == set()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_asked_after_passages_is_never_held_out_nor_learnt_beside_its_question(
    seed: int,
) -> None:
    plain = made_up(seed)
    grounded = [
        replace(example(f"Prices\n\n{p.messages[0].content}", "Told otherwise."), grounded=True)
        for p in plain
    ]
    everything = [one for pair in zip(plain, grounded, strict=True) for one in pair]
    learning, asked = held_out(everything, 0.3, seed)

    assert [number // 2 for number in asked] == held_out(plain, 0.3, seed)[1]
    assert not any(number % 2 for number in asked)
    assert learning == [n for n in range(len(everything)) if n - n % 2 not in asked]
    for learnt, held in folds(everything, 2, seed) if len(plain) > 1 else ():
        assert not {n // 2 for n in learnt} & {n // 2 for n in held}
        assert not any(n % 2 for n in held)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_hold_out_each_phrasing_once(seed: int, k: int) -> None:
    examples = made_up(seed)
    if len(examples) < k:
        with pytest.raises(ExamplesError, match=f"{k} folds"):
            folds(examples, k, seed)
        return
    parts = folds(examples, k, seed)
    assert len(parts) == k
    held = sorted(number for _, asked in parts for number in asked)
    assert len(set(held)) == len(held)
    sizes = [len(asked) for _, asked in parts]
    assert max(sizes) - min(sizes) <= 1
    lonely = [
        n
        for n, one in enumerate(examples)
        if sum(o.messages[1] == one.messages[1] for o in examples) == 1
    ]
    if len(examples) - len(lonely) >= k:
        assert not set(held) & set(lonely)
        assert len(held) == len(examples) - len(lonely)
        for learning, asked in parts:
            assert answers(examples, asked) <= answers(examples, learning)
    else:
        assert len(held) == len(examples)
    for learning, asked in parts:
        assert sorted(learning + asked) == list(range(len(examples)))
    assert folds(examples, k, seed) == parts
