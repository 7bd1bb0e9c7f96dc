"""Recipes for people who do not want to know: three of them, in plain words.

A preset says how many steps are learnt; how many passes over the examples these are follows from
how many examples there are. So a few are learnt as well as many, and many do not take hours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bot.errors import RecipeError
from bot.tuning.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe by name.

    Args:
        name: stands for it in requests and on the command line.
        title: what a person reads.
        summary: what it is for, in a sentence.
        steps: about how many are learnt.
        changes: what it sets in a `TrainingRecipe`.
    """

    name: str
    title: str
    summary: str
    steps: int
    changes: Mapping[str, Any]


PRESETS = (
    Preset(
        "quick",
        "Quick",
        "Half the time: enough to see whether the examples are any good.",
        200,
        {
            "layers": 10,
            "schedule": "cosine",
            "validation_share": 0.1,
            "patience": 3,
        },
    ),
    Preset(
        "balanced",
        "Balanced",
        "The default: learns every fact well, and stops when it gains nothing more.",
        400,
        {
            "schedule": "cosine",
            "validation_share": 0.1,
            "patience": 4,
        },
    ),
    Preset(
        "thorough",
        "Thorough",
        "Twice the time or more: all layers and longer, for rewordings far from the examples.",
        600,
        {
            "layers": 0,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "validation_share": 0.1,
            "patience": 6,
        },
    ),
)
DEFAULT = "balanced"

FEWEST_PASSES = 3
MOST_PASSES_A_STEP = 0.05
"""Of a preset's steps: over very few examples, more passes only learn them by heart."""

PATIENT_SHARE = 0.25
"""Of the passes, so many in a row may gain nothing: one over few examples gains little."""

GROUNDING = 0.8
"""The `grounding` of a recipe that shall learn to read passages, too."""


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        RecipeError: there is none.
    """
    for one in PRESETS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in PRESETS)
    raise RecipeError(f"There is no preset named {name}.", cure=f"Choose one of: {known}.")


def recipe_for(
    name: str = DEFAULT, *, examples: int, system_prompt: str, base_sha256: str, **changes: Any
) -> TrainingRecipe:
    """A preset as a recipe for so many examples, with further changes.

    Raises:
        RecipeError: there is no such preset, or a change is wrong.
    """
    chosen = preset(name)
    recipe = TrainingRecipe(
        system_prompt=system_prompt, base_sha256=base_sha256, **{**chosen.changes, **changes}
    )
    passes = changes.get("epochs", _passes(chosen.steps, examples, recipe))
    patience = changes.get("patience", max(recipe.patience, round(passes * PATIENT_SHARE)))
    return replace(recipe, epochs=passes, patience=patience)


def _passes(steps: int, examples: int, recipe: TrainingRecipe) -> int:
    """So many passes over the learnt ones of the examples are about so many steps."""
    learnt = examples - math.ceil(recipe.validation_share * examples)
    steps_each = max(1, math.ceil(learnt / recipe.batch_size))
    most = round(steps * MOST_PASSES_A_STEP)
    return min(most, max(FEWEST_PASSES, round(steps / steps_each)))
