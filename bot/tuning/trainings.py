"""The trainings of a data directory: queued, run one at a time, followed, cancelled, resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import TrainingReport

State = Literal["queued", "running", "checking", "done", "cancelled", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Training:
    """A training as it is now.

    Args:
        id: names its folder; later trainings have greater ones.
        name: of the adapter that it makes.
        state: "queued" behind others, "running", "checking" what it made; then "done",
            "cancelled" (what it had learnt by then may be an adapter: see `report`),
            "interrupted" by the end of its process or of the one that owned it, or "failed".
        examples: how many there are.
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
        return self.state in ("queued", "running", "checking")


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a whole training would take on this machine.

    Args:
        seconds: None while it is being measured, and when it could not be.
        error: why it could not be measured, in a sentence; empty otherwise.
    """

    seconds: float | None = None
    error: str = ""


class Trainings:
    """The trainings of a data directory, seen alike from every process that uses it.

    A training belongs to the process that submitted or resumed it: when that one ends, so does
    the training, which is then "interrupted".

    Args:
        folder: holds one folder for each training.
        adapters_dir: where adapters are published.
        base: the base weights, a GGUF file, of a SHA-256.
        check: what to do with a published adapter, by its name, before a training is done.
    """

    def __init__(
        self,
        folder: Path,
        adapters_dir: Path,
        base: Callable[[str], Path],
        check: Callable[[str], object],
    ) -> None:
        raise NotImplementedError

    def submit(self, examples: Sequence[Example], recipe: TrainingRecipe, name: str) -> str:
        """Queue a training, and return its id. It begins when those before it are over.

        Raises:
            AdapterError: the name is not safe.
            ExamplesError: there is no example.
            TuningError: the base is not here, or the training cannot be written down.
        """
        raise NotImplementedError

    def all(self) -> list[Training]:
        """Every training, the newest first."""
        raise NotImplementedError

    def get(self, training_id: str) -> Training:
        """One training; cheap to call again and again.

        Raises:
            TuningError: there is none of that id.
        """
        raise NotImplementedError

    def current(self) -> Training | None:
        """The training that runs or is being checked, else the one that is next; cheap."""
        raise NotImplementedError

    def cancel(self, training_id: str) -> None:
        """Ask a training to stop; what it has learnt so far, if it was measured, is published.

        Raises:
            TuningError: there is none of that id, or it cannot be written down.
        """
        raise NotImplementedError

    def resume(self, training_id: str) -> None:
        """Queue a training again that was interrupted; it goes on from its last checkpoint.

        Raises:
            TuningError: there is none of that id, it is not resumable, or it cannot be written
                down.
        """
        raise NotImplementedError

    def remove(self, training_id: str) -> None:
        """Forget a training that is over; the adapter that it made stays.

        Raises:
            TuningError: there is none of that id, it is still active, or its folder cannot be
                removed.
        """
        raise NotImplementedError

    def estimate(self, examples: Sequence[Example], recipe: TrainingRecipe) -> Estimate:
        """How long this training would take. Returns at once: the first call begins to measure
        in a process of its own, and later ones tell what it found."""
        raise NotImplementedError

    def wait(self, training_id: str, timeout_seconds: float) -> Training:
        """Wait until a training is over, at most so long, and return it as it is then.

        Raises:
            TuningError: there is none of that id.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the trainings of this process; they are interrupted and can be resumed."""
        raise NotImplementedError
