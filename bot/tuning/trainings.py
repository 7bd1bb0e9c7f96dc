"""Trainings as everybody sees them: submitted, followed, cancelled, resumed, removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bot.errors import ExamplesError, TuningError
from bot.tuning.adapters import check_name
from bot.tuning.estimates import TRIAL, Estimate, Estimates
from bot.tuning.event_log import EventLog
from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.folder import ACTIVE, Request, State, TrainingFolder
from bot.tuning.job import unwritten
from bot.tuning.line import Line
from bot.tuning.process import JOB
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import TrainingReport
from bot.tuning.worker import Worker

_ENDED = "The program that it belonged to ended. Resume it to go on from its last checkpoint."


@dataclass(frozen=True, slots=True)
class Training:
    """A training as it is now.

    Args:
        id: names its folder; later trainings have greater ones.
        name: of the adapter that it makes.
        state: "queued" behind others, "running", "checking" what it made; then "done",
            "cancelled" (what it had learnt by then may be an adapter: see `report`),
            "interrupted" by the end of its process or of the one that owned it, or "failed".
        examples: how many there are, those with passages aside.
        steps: the steps so far, oldest first; what a resumed training repeats is there once.
        evaluations: the evaluations so far, oldest first.
        report: what came out; None until there is an adapter.
        error: why it failed or was interrupted, and what to do, in a sentence or two; else empty.
        created_at: ISO 8601, UTC.
        place: how many trainings come before it; 0 unless it is queued.
        resumable: whether `Trainings.resume` would go on from its last checkpoint.
    """

    id: str
    name: str
    state: State
    recipe: TrainingRecipe
    examples: int
    steps: tuple[TrainingStep, ...]
    evaluations: tuple[Evaluation, ...]
    report: TrainingReport | None
    error: str
    created_at: str
    place: int
    resumable: bool

    @property
    def active(self) -> bool:
        """Whether it is still to end by itself."""
        return self.state in ACTIVE


Ground = Callable[[Sequence[Example], int], Sequence[Example]]
"""Examples and a seed → examples that ask the same, or the like, after passages."""


class Trainings:
    """The trainings of a data directory, seen alike from every process that uses it.

    A training belongs to the process that submitted or resumed it: when that one ends, so does
    the training, which is then "interrupted".

    Args:
        folder: holds one folder for each training.
        adapters_dir: where adapters are published.
        base: the base weights, a GGUF file, of a SHA-256.
        check: what to do with a published adapter, by its name, before a training is done.
        ground: examples and a seed → the same asked after passages; for recipes that want it.
        job: the command of a training's process; three paths are added.
        trial: the command of the process that estimates; three paths are added.
    """

    def __init__(
        self,
        folder: Path,
        adapters_dir: Path,
        base: Callable[[str], Path],
        check: Callable[[str], object],
        *,
        ground: Ground | None = None,
        job: Sequence[str] = JOB,
        trial: Sequence[str] = TRIAL,
    ) -> None:
        self._line = Line(folder)
        self._base = base
        self._worker = Worker(self._line, adapters_dir, base, check, job)
        self._learnt = partial(_learnt, ground)
        self._estimates = Estimates(self._line, base, self._learnt, trial)
        self._known: dict[str, tuple[Request, EventLog]] = {}

    def submit(self, examples: Sequence[Example], recipe: TrainingRecipe, name: str) -> str:
        """Queue a training, and return its id. It begins when those before it are over.

        Examples with passages are made anew, when the recipe wants some: that takes a moment, as
        every question is looked up.

        Raises:
            AdapterError: the name is not safe.
            LibraryError: the library cannot be searched.
            ExamplesError: there is no example.
            TuningError: the base is not here, or the training cannot be written down.
        """
        check_name(name)
        if not examples:
            raise ExamplesError("There are no examples.", cure="Add some, then train.")
        self._base(recipe.base_sha256)
        examples = self._learnt(examples, recipe)
        with _writing(), self._line.alone():
            training = self._line.add(examples, recipe, name)
        self._enlist(training)
        return training.id

    def all(self) -> list[Training]:
        """Every training, the newest first."""
        return [one for folder in reversed(self._line.trainings()) if (one := self._look(folder))]

    def get(self, training_id: str) -> Training:
        """One training; cheap to call again and again.

        Raises:
            TuningError: there is none of that id.
        """
        return self._seen(self._line.find(training_id))

    def current(self) -> Training | None:
        """The training that runs or is being checked, else the one that is next; cheap."""
        waiting = self._line.waiting()
        return self._look(waiting[0]) if waiting else None

    def cancel(self, training_id: str) -> None:
        """Ask a training to stop; what it has learnt so far, if it was measured, is published.

        Raises:
            TuningError: there is none of that id, or it cannot be written down.
        """
        training = self._line.find(training_id)
        with _writing():
            if training.state() in ACTIVE:
                training.stop()
        self._worker.look()

    def resume(self, training_id: str) -> None:
        """Queue a training again that was interrupted; it goes on from its last checkpoint.

        Raises:
            TuningError: there is none of that id, it is not resumable, or it cannot be written
                down.
        """
        training = self._line.find(training_id)
        self._base(training.request().recipe.base_sha256)
        with _writing(), self._line.alone():
            if not training.is_resumable():
                raise TuningError(
                    f"The training {training_id} cannot be resumed: it is {training.state()}.",
                    cure="Start a new one.",
                )
            self._line.put_last(training)
        self._enlist(training)

    def remove(self, training_id: str) -> None:
        """Forget a training that is over; the adapter that it made stays.

        Raises:
            TuningError: there is none of that id, it is still active, or its folder cannot be
                removed.
        """
        training = self._line.find(training_id)
        with _writing(), self._line.alone():
            if training.state() in ACTIVE:
                raise TuningError("It is still under way.", cure="Cancel it, then remove it.")
            training.remove()
        self._known.pop(training_id, None)

    def estimate(self, examples: Sequence[Example], recipe: TrainingRecipe) -> Estimate:
        """How long this training would take, as far as is known: returns at once.

        The first call begins to measure, in a process of its own and when no training runs; ask
        again every few seconds until it is known. What nobody asks for any more is not measured.
        """
        return self._estimates.estimate(examples, recipe)

    def wait(self, training_id: str, timeout_seconds: float) -> Training:
        """Wait until a training is over, at most so long, and return it as it is then.

        Raises:
            TuningError: there is none of that id.
        """
        training, until = self._line.find(training_id), time.monotonic() + timeout_seconds
        while training.state() in ACTIVE and (left := until - time.monotonic()) > 0:
            self._worker.wait(left)
        return self._seen(training)

    def close(self) -> None:
        """End the trainings of this process; they are interrupted and can be resumed."""
        self._estimates.close()
        self._worker.close()

    def _enlist(self, training: TrainingFolder) -> None:
        self._estimates.give_way()
        self._worker.enlist(training)

    def _look(self, training: TrainingFolder) -> Training | None:
        """The training in a folder; None when it is damaged, or just being removed."""
        try:
            return self._seen(training)
        except TuningError:
            return None

    def _seen(self, training: TrainingFolder) -> Training:
        if training.id not in self._known:
            self._known[training.id] = (training.request(), EventLog(training.path))
        request, log = self._known[training.id]
        state, outcome = training.state(), training.outcome()
        steps, evaluations = log.read()
        error = outcome.error if outcome and state not in ACTIVE else ""
        return Training(
            id=training.id,
            name=request.name,
            state=state,
            recipe=request.recipe,
            examples=request.examples,
            steps=steps,
            evaluations=evaluations,
            report=outcome.report if outcome else None,
            error=error or (_ENDED if state == "interrupted" else ""),
            created_at=request.created_at,
            place=self._place(training) if state == "queued" else 0,
            resumable=training.is_resumable(),
        )

    def _place(self, training: TrainingFolder) -> int:
        ids = [one.id for one in self._line.waiting()]
        return ids.index(training.id) if training.id in ids else 0


def _learnt(
    ground: Ground | None, examples: Sequence[Example], recipe: TrainingRecipe
) -> list[Example]:
    """What a training learns: the examples, and those with passages where the recipe wants some."""
    plain = [one for one in examples if not one.grounded]
    return [*plain, *ground(plain, recipe.seed)] if ground and recipe.grounding else plain


@contextmanager
def _writing() -> Iterator[None]:
    """A folder that cannot be written is told in a sentence."""
    try:
        yield
    except OSError as error:
        raise unwritten(error) from error
