"""Recipes for people who do not want to know: three of them, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        changes: what it sets in a `TrainingRecipe`.
    """

    name: str
    title: str
    summary: str
    changes: Mapping[str, Any]


PRESETS = (
    Preset(
        "quick",
        "Quick",
        "Half the time: enough to see whether the examples are any good.",
        {
            "layers": 10,
            "epochs": 8,
            "schedule": "cosine",
            "validation_share": 0.1,
            "patience": 3,
        },
    ),
    Preset(
        "balanced",
        "Balanced",
        "The default: learns every fact well, and stops when it gains nothing more.",
        {
            "epochs": 16,
            "schedule": "cosine",
            "validation_share": 0.1,
            "patience": 4,
        },
    ),
    Preset(
        "thorough",
        "Thorough",
        "Twice the time or more: all layers and longer, for rewordings far from the examples.",
        {
            "layers": 0,
            "epochs": 24,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "validation_share": 0.1,
            "patience": 6,
        },
    ),
)
DEFAULT = "balanced"

GROUNDING = 0.4
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
    name: str = DEFAULT, *, system_prompt: str, base_sha256: str, **changes: Any
) -> TrainingRecipe:
    """A preset as a recipe, with further changes.

    Raises:
        RecipeError: there is no such preset, or a change is wrong.
    """
    given = {**preset(name).changes, **changes}
    return TrainingRecipe(system_prompt=system_prompt, base_sha256=base_sha256, **given)
