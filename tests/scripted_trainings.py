"""Trainings that go as a test says: the same face as the real ones, and nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.errors import TuningError
from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import FoldResult, TrainingReport
from bot.tuning.trainings import Estimate, State, Training

RECIPE = TrainingRecipe(
    system_prompt="Be brief.",
    base_sha256="0" * 64,
    epochs=12,
    validation_share=0.1,
    patience=4,
)
STEPS = 240

REPORT = TrainingReport(
    trained_correct=271,
    trained_asked=279,
    unseen_correct=29,
    unseen_asked=32,
    unrelated_before=1.0,
    unrelated_after=0.98,
    best_step=160,
    stopped="early",
    folds=(),
    seconds=196.0,
    tokens_per_second=1843.0,
    peak_memory_bytes=1_450_000_000,
)
FOLDS = tuple(FoldResult(number, 0.4, 26 + number, 32, 140) for number in range(1, 4))


def training(state: State = "running", done: int = 0, **values: Any) -> Training:
    """A training in some state, after so many of its `STEPS` steps."""
    recipe = values.get("recipe", RECIPE)
    known: dict[str, Any] = {
        "id": f"20261121-{state}",
        "name": "kilns",
        "recipe": recipe,
        "examples": 311,
        "steps": steps(done),
        "evaluations": evaluations(done) if recipe.validation_share else (),
        "report": None,
        "error": "",
        "created_at": "2026-11-21T09:12:00+00:00",
        "place": 0,
        "resumable": False,
    }
    return Training(state=state, **(known | values))


def steps(done: int, fold: int = 0) -> tuple[TrainingStep, ...]:
    """The first steps of a training: its loss falls, a little unsteadily."""
    return tuple(
        TrainingStep(
            step=number,
            steps=STEPS,
            epoch=1 + number * 12 // (STEPS + 1),
            loss=3.5 * math.exp(-number / 40) + 0.06 + 0.03 * math.sin(number),
            learning_rate=4e-3,
            tokens_per_second=1843.0,
            seconds_left=(STEPS - number) * 0.8,
            fold=fold,
        )
        for number in range(1, done + 1)
    )


def evaluations(done: int, fold: int = 0) -> tuple[Evaluation, ...]:
    """What is measured after every 20 steps; from step 160 on it gets worse again."""
    return tuple(
        Evaluation(
            step=number,
            training_loss=3.5 * math.exp(-number / 40) + 0.06,
            validation_loss=3.5 * math.exp(-number / 45) + 0.15 + max(0, number - 160) * 0.003,
            correct=min(29, number // 5),
            asked=32,
            fold=fold,
            best=number <= 160,
        )
        for number in range(20, done + 1, 20)
    )


@dataclass
class ScriptedTrainings:
    """Trainings whose list is the test's.

    Args:
        listed: the newest first.
        seconds: what a training is estimated at; None while it is measured.
        mismeasured: why the time of a training cannot be measured; empty when it can.
        refusal: said to whatever is asked of it, when there is one.
    """

    listed: list[Training] = field(default_factory=list)
    seconds: float | None = 200.0
    mismeasured: str = ""
    refusal: TuningError | None = None
    submitted: list[tuple[list[Example], TrainingRecipe, str]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    estimated: list[TrainingRecipe] = field(default_factory=list)

    def submit(self, examples: Sequence[Example], recipe: TrainingRecipe, name: str) -> str:
        self._refuse()
        self.submitted.append((list(examples), recipe, name))
        number = f"2026112{len(self.listed)}-{name}"
        queued = training(
            "queued", id=number, name=name, recipe=recipe, examples=len(examples), place=0
        )
        self.listed.insert(0, queued)
        return number

    def all(self) -> list[Training]:
        return list(self.listed)

    def get(self, training_id: str) -> Training:
        for one in self.listed:
            if one.id == training_id:
                return one
        raise TuningError(f"There is no training {training_id}.", cure="Look at the list.")

    def current(self) -> Training | None:
        active = [one for one in self.listed if one.active]
        return next((one for one in active if one.state != "queued"), None) or (
            active[-1] if active else None
        )

    def cancel(self, training_id: str) -> None:
        self._asked("cancel", training_id, lambda one: replace(one, state="cancelled"))

    def resume(self, training_id: str) -> None:
        self._asked("resume", training_id, lambda one: replace(one, state="queued", error=""))

    def remove(self, training_id: str) -> None:
        self._asked("remove", training_id, None)

    def estimate(self, examples: Sequence[Example], recipe: TrainingRecipe) -> Estimate:
        self.estimated.append(recipe)
        seconds = None if self.seconds is None else self.seconds * recipe.epochs / 12
        return Estimate(seconds, self.mismeasured)

    def close(self) -> None:
        """Nothing was opened."""

    def put(self, one: Training) -> None:
        """Let a training become another one of the same id, or come first in the list."""
        same = [number for number, other in enumerate(self.listed) if other.id == one.id]
        if same:
            self.listed[same[0]] = one
        else:
            self.listed.insert(0, one)

    def _asked(
        self, what: str, training_id: str, becomes: Callable[[Training], Training] | None
    ) -> None:
        self._refuse()
        self.asked.append((what, training_id))
        found = self.get(training_id)
        self.listed.remove(found)
        if becomes is not None:
            self.listed.insert(0, becomes(found))

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal
