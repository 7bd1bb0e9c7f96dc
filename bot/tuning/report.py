"""What came out of a training: how well the adapter does, and what it cost to make."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.errors import AdapterError

FILE_NAME = "report.json"


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One training of a cross-validation.

    Args:
        fold: counted from 1.
        validation_loss: of its best checkpoint, in nats.
        correct: held-out phrasings answered word for word.
        asked: how many were held out.
        best_step: the step after which it was best.
    """

    fold: int
    validation_loss: float
    correct: int
    asked: int
    best_step: int


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """A finished training.

    Args:
        trained_correct: learnt phrasings answered word for word.
        trained_asked: how many were asked: all that were learnt.
        unseen_correct: held-out phrasings answered word for word.
        unseen_asked: how many are held out.
        unrelated_before: share, 0 to 1, of the tokens of the base's own answers to unrelated
            questions that are the likeliest ones to the base: 1 but for rounding.
        unrelated_after: the same with the adapter; what is missing was forgotten.
        best_step: the step whose weights were kept.
        stopped: "early" when validation gained no more, "cancelled" when a person stopped it, ""
            when it went all the way.
        folds: of the cross-validation, if there was one.
        seconds: of everything, from the first read to the last write; a resumed training counts
            what it spent before.
        tokens_per_second: of all steps together, as in `TrainingStep`.
        peak_memory_bytes: the most memory that the process held.
    """

    trained_correct: int
    trained_asked: int
    unseen_correct: int
    unseen_asked: int
    unrelated_before: float
    unrelated_after: float
    best_step: int
    stopped: str
    folds: tuple[FoldResult, ...]
    seconds: float
    tokens_per_second: float
    peak_memory_bytes: int

    def save(self, folder: Path) -> None:
        """Write `report.json` into the folder."""
        text = json.dumps(asdict(self), indent=2)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def from_dict(values: dict[str, Any]) -> TrainingReport:
    """A report from its saved form.

    Raises:
        AdapterError: it is not one.
    """
    try:
        folds = tuple(FoldResult(**fold) for fold in values["folds"])
        return TrainingReport(**(values | {"folds": folds}))
    except (KeyError, TypeError) as error:
        raise AdapterError(
            "The report of the training cannot be read.", cure="Train the adapter again."
        ) from error


def load(folder: Path) -> TrainingReport | None:
    """The report in an adapter's folder; None when it has none, as imported ones.

    Raises:
        AdapterError: there is one that cannot be read.
    """
    path = folder / FILE_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read.", cure="Train the adapter again.") from error
    if not isinstance(values, dict):
        raise AdapterError(f"{path} is no report.", cure="Train the adapter again.")
    return from_dict(values)
