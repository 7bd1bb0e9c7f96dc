"""The presets are recipes, and changes go over them."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bot.errors import AdapterError, RecipeError
from bot.tuning import presets, report
from bot.tuning.presets import PRESETS, recipe_for
from bot.tuning.report import FoldResult, TrainingReport

REQUIRED: dict[str, Any] = {"system_prompt": "Be brief.", "base_sha256": "0" * 64, "examples": 525}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_a_recipe_that_measures_itself(preset: presets.Preset) -> None:
    recipe = recipe_for(preset.name, **REQUIRED)
    assert {name: asdict(recipe)[name] for name in preset.changes} == preset.changes
    assert recipe.validation_share > 0
    assert recipe.epochs * math.ceil(472 / recipe.batch_size) == preset.steps
    assert preset.summary.endswith(".")


def test_the_default_is_balanced_and_changes_go_over_it() -> None:
    assert recipe_for(**REQUIRED) == recipe_for("balanced", **REQUIRED)
    assert recipe_for("quick", **REQUIRED, epochs=3).epochs == 3
    with pytest.raises(RecipeError, match="quick, balanced, thorough"):
        recipe_for("slow", **REQUIRED)


@pytest.mark.parametrize(
    ("examples", "passes", "patience"),
    [(2, 20, 5), (30, 20, 5), (311, 17, 4), (525, 10, 4), (5000, 3, 4)],
)
def test_a_preset_goes_over_few_examples_more_often(
    examples: int, passes: int, patience: int
) -> None:
    recipe = recipe_for(**{**REQUIRED, "examples": examples})
    assert (recipe.epochs, recipe.patience) == (passes, patience)


def test_passes_and_patience_that_are_given_stay_as_they_are() -> None:
    recipe = recipe_for("thorough", **{**REQUIRED, "examples": 30}, epochs=12, patience=1)
    assert (recipe.epochs, recipe.patience) == (12, 1)
    assert recipe_for(**REQUIRED, batch_size=24).epochs == 2 * recipe_for(**REQUIRED).epochs


def test_a_report_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    folds = (FoldResult(1, 0.5, 3, 4, 20), FoldResult(2, 0.7, 2, 4, 30))
    saved = TrainingReport(9, 9, 3, 4, 1.0, 0.8, 20, "early", folds, 61.5, 812.0, 2**31)
    assert report.load(tmp_path) is None
    saved.save(tmp_path)
    assert report.load(tmp_path) == saved
    for wrong in ("{", "[]", "{}", '{"folds": [{"fold": 1}]}'):
        (tmp_path / report.FILE_NAME).write_text(wrong)
        with pytest.raises(AdapterError, match=r"report"):
            report.load(tmp_path)
