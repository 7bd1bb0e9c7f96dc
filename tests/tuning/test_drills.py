"""Examples in tokens: what is learnt, and who sees whom."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from bot.errors import ExamplesError
from bot.messages import Message
from bot.tuning.drills import Drill, Pack, encode, even_parts, pack
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe

THREE = Drill((5, 6, 7), (False, True, True), (True, False, False))
TWO = Drill((8, 9), (False, True), (True, False))
RECIPE = TrainingRecipe(system_prompt="S", base_sha256="0" * 64, example_tokens=40)


class Letters:
    """A tokenizer whose tokens are characters; `$` ends an answer."""

    eos_token = "$"
    eos_token_id = ord("$")

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        assert not tokenize
        text = "".join(f"{one['role'][0]}:{one['content']}$\n" for one in messages)
        return text + ("a:" if add_generation_prompt else "")


def example(*texts: str) -> Example:
    roles = ("user", "assistant") * (len(texts) // 2)
    pairs = zip(roles, texts, strict=True)
    return Example(tuple(Message(role, text) for role, text in pairs), line=3)


def spell(ids: tuple[int, ...]) -> str:
    return "".join(map(chr, ids))


def test_only_answers_and_their_end_are_learnt() -> None:
    system, (drill,) = encode(Letters(), RECIPE, [example("Q", "A", "R", "B")])
    assert spell(system) == "s:S$\n"
    assert spell(drill.ids) == "u:Q$\na:A$\nu:R$\na:B$"
    learnt = tuple(i for i, yes in zip(drill.ids, drill.learnt, strict=True) if yes)
    assert spell(learnt) == "A$B$"
    asked = tuple(i for i, yes in zip(drill.ids, drill.asked, strict=True) if yes)
    assert spell(asked) == "QR"


def test_a_question_after_passages_is_read_and_never_hidden() -> None:
    _, (drill,) = encode(Letters(), RECIPE, [replace(example("P\n\nQ", "A"), grounded=True)])
    assert spell(drill.ids) == "u:P\n\nQ$\na:A$"
    assert not any(drill.asked)
    assert sum(drill.learnt) == 2


def test_an_example_that_is_too_long_is_told_with_its_line() -> None:
    with pytest.raises(ExamplesError, match=r"Line 3: .* 46 tokens; the recipe allows 40"):
        encode(Letters(), RECIPE, [example("Q" * 30, "A" * 4)])


def sight(packed: Pack) -> list[list[int]]:
    """Which tokens of the sequence each of them looks at, put together from the rows."""
    count, width = packed.rows.shape
    seen = []
    for place in packed.places.tolist():
        row, column = divmod(place, width)
        visible = packed.seen[row][packed.visible[row, 0, column]].tolist()
        seen.append([int(token in visible) for token in range(len(packed.places))])
    assert count == packed.visible.shape[0]
    return seen


def test_each_example_sees_the_system_prompt_and_itself() -> None:
    packed = pack(2, [THREE, TWO])
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 2, 3]]
    assert sight(packed) == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1, 1],
    ]
    assert packed.targets.tolist() == [6, 7, 9]
    assert packed.predictors.tolist() == [2, 3, 5]
    assert packed.owners.tolist() == [0, 0, 1]


def test_a_hidden_question_token_is_seen_by_itself_alone() -> None:
    packed = pack(2, [THREE, TWO], hide=iter([True, False]).__next__)
    rows = sight(packed)
    assert [row[2] for row in rows] == [0, 0, 1, 0, 0, 0, 0]
    assert [row[5] for row in rows] == [0, 0, 0, 0, 0, 1, 1]
    assert packed.targets.tolist() == [6, 7, 9]


def test_parts_are_about_even_and_lose_nothing() -> None:
    chance = random.Random(3)
    for _ in range(200):
        lengths = [chance.randint(1, 60) for _ in range(chance.randint(1, 60))]
        parts = even_parts(lengths, 256)
        assert [place for part in parts for place in part] == list(range(len(lengths)))
        assert all(parts)
        sizes = [sum(lengths[place] for place in part) for part in parts]
        assert max(sizes) <= max(1.5 * 256, 60)
        assert max(sizes) - min(sizes) <= 2 * 60
    assert even_parts([38] * 12, 256) == [range(6), range(6, 12)]
    assert even_parts([900], 256) == [range(1)]
