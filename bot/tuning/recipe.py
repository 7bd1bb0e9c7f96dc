"""Everything that decides what an adapter becomes, saved beside what it made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bot.errors import RecipeError

FILE_NAME = "recipe.json"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """A LoRA fine-tuning, checked at birth.

    Args:
        system_prompt: the system message of every example, token for token the served one.
        base_sha256: SHA-256 of the base weights (GGUF) that are trained on and served.
        examples_sha256: SHA-256 of the examples file; the job fills it in.
        rank: width of the low-rank matrices.
        alpha: the update is scaled by alpha / rank.
        layers: how many of the last layers are adapted; 0 means all of them.
        epochs: how often every example is seen.
        batch_size: examples a step.
        learning_rate: the highest one, reached after the warm-up.
        schedule: how it falls after that: "linear" or "cosine" to zero, or not at all: "constant".
        warmup_share: share of all steps spent warming up.
        hidden_share: share of each question's tokens that is hidden, anew at every step, so that
            a fact is not tied to one phrasing.
        grounding: how many examples with passages of the library before the question every epoch
            sees besides all others, as a share of these; 0 means none.
        dropout: share of the low-rank matrices' inputs that is zeroed, anew at every step.
        weight_decay: pull of the low-rank matrices towards zero.
        targets: the projections of a layer that are adapted.
        validation_share: share of the examples that is held out to measure, not to learn.
        folds: how many trainings cross-validate the recipe before the one that is kept; each part
            of the examples is held out once. 0 means none, and one alone is not possible.
        patience: how many evaluations without a gain end the training; 0 means none do.
        example_tokens: the longest example, system prompt included, in tokens.
        seed: decides initial weights and the order of the examples.

    Raises:
        RecipeError: a value is of the wrong type or out of range.
    """

    system_prompt: str
    base_sha256: str
    examples_sha256: str = ""
    rank: int = 16
    alpha: int = 32
    layers: int = 15
    epochs: int = 14
    batch_size: int = 12
    learning_rate: float = 4e-3
    schedule: str = "linear"
    warmup_share: float = 0.1
    hidden_share: float = 0.5
    grounding: float = 0.0
    dropout: float = 0.0
    weight_decay: float = 0.0
    targets: tuple[str, ...] = PROJECTIONS
    validation_share: float = 0.0
    folds: int = 0
    patience: int = 0
    example_tokens: int = 1024
    seed: int = 7

    def __post_init__(self) -> None:
        for name in ("system_prompt", "base_sha256", "examples_sha256"):
            if not isinstance(getattr(self, name), str):
                raise RecipeError(f"{name} must be text.", cure="Correct the recipe.")
        if len(self.base_sha256) != 64:
            raise RecipeError(
                "base_sha256 must be the SHA-256 of the base weights, 64 hexadecimal digits.",
                cure="Correct the recipe.",
            )
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)

        if self.folds == 1:
            raise RecipeError("folds is 1; it must be 0 or at least 2.", cure="Correct the recipe.")
        if self.schedule not in SCHEDULES:
            raise RecipeError(
                f"schedule is {self.schedule!r}; it must be one of: {', '.join(SCHEDULES)}.",
                cure="Correct the recipe.",
            )
        _check_targets(self.targets)

    def save(self, folder: Path) -> None:
        """Write `recipe.json` into the folder."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


_RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 256),
    "alpha": (1, 1024),
    "layers": (0, 1024),
    "epochs": (1, 1000),
    "batch_size": (1, 1024),
    "learning_rate": (1e-7, 1.0),
    "warmup_share": (0.0, 0.9),
    "hidden_share": (0.0, 0.9),
    "grounding": (0.0, 4.0),
    "dropout": (0.0, 0.9),
    "weight_decay": (0.0, 1.0),
    "validation_share": (0.0, 0.5),
    "folds": (0, 20),
    "patience": (0, 1000),
    "example_tokens": (16, 8192),
    "seed": (0, 2**31 - 1),
}
_WHOLE = frozenset(field.name for field in fields(TrainingRecipe) if field.type == "int")


def _check_range(name: str, value: object, low: float, high: float) -> None:
    allowed = int if name in _WHOLE else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        kind = "a whole number" if name in _WHOLE else "a number"
        raise RecipeError(f"{name} is {value!r}; it must be {kind}.", cure="Correct the recipe.")
    if not low <= value <= high:  # type: ignore[operator]
        raise RecipeError(
            f"{name} is {value}; it must lie between {low:g} and {high:g}.",
            cure="Correct the recipe.",
        )


def _check_targets(targets: object) -> None:
    if not isinstance(targets, tuple) or not targets or len(set(targets)) < len(targets):
        raise RecipeError("targets must name projections, each once.", cure="Correct the recipe.")
    if unknown := [str(one) for one in targets if one not in PROJECTIONS]:
        raise RecipeError(
            f"targets names {', '.join(unknown)}; known are: {', '.join(PROJECTIONS)}.",
            cure="Correct the recipe.",
        )


def from_dict(values: dict[str, Any]) -> TrainingRecipe:
    """A recipe from its saved form.

    Raises:
        RecipeError: a name is unknown or missing, or a value is wrong.
    """
    known = {field.name for field in fields(TrainingRecipe)}
    if unknown := sorted(values.keys() - known):
        raise RecipeError(
            f"The recipe has unknown entries: {', '.join(unknown)}.", cure="Remove them."
        )
    if isinstance(values.get("targets"), list):
        values = values | {"targets": tuple(values["targets"])}
    try:
        return TrainingRecipe(**values)
    except TypeError as error:
        raise RecipeError(
            "The recipe needs at least system_prompt and base_sha256.", cure="Add them."
        ) from error


def load(folder: Path) -> TrainingRecipe:
    """Read the `recipe.json` of a folder.

    Raises:
        RecipeError: the file is missing, is not JSON, or holds a wrong value.
    """
    path = folder / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path} cannot be read as a recipe.", cure="Train the adapter again."
        ) from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} is not a recipe.", cure="Train the adapter again.")
    return from_dict(values)
