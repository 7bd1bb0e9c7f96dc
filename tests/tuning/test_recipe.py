"""A recipe checks itself at birth and comes back as it was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.errors import RecipeError
from bot.tuning import recipe as recipes
from bot.tuning.recipe import TrainingRecipe

REQUIRED = {"system_prompt": "Be brief. — ✓", "base_sha256": "0" * 64}


def test_a_saved_recipe_comes_back(tmp_path: Path) -> None:
    recipe = TrainingRecipe(**REQUIRED, rank=8, learning_rate=1e-3, targets=("q_proj",))
    recipe.save(tmp_path)
    assert recipes.load(tmp_path) == recipe


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"rank": 2.5},
        {"epochs": "12"},
        {"epochs": True},
        {"layers": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"warmup_share": 1.0},
        {"validation_share": 0.9},
        {"seed": -1},
        {"dropout": 1.0},
        {"folds": 1},
        {"patience": -1},
        {"schedule": "steps"},
        {"targets": ()},
        {"targets": ("q_proj", "q_proj")},
        {"targets": ("lm_head",)},
        {"targets": "q_proj"},
        {"base_sha256": "abc"},
        {"base_sha256": None},
        {"system_prompt": None},
    ],
)
def test_a_wrong_value_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        TrainingRecipe(**(REQUIRED | wrong))


def test_unknown_and_missing_entries_are_refused() -> None:
    with pytest.raises(RecipeError, match="dropuot"):
        recipes.from_dict(REQUIRED | {"dropuot": 0.1})
    with pytest.raises(RecipeError, match="at least system_prompt"):
        recipes.from_dict({"rank": 8})


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.json"):
        recipes.load(tmp_path)
