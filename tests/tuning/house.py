"""A data directory with trainings whose processes play scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bot.messages import Message
from bot.tuning.estimates import Estimate
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.trainings import Training, Trainings
from tests.tuning.stand_in import BASE

JOB = (sys.executable, "-m", "tests.tuning.scripted_job")
TRIAL = (sys.executable, "-m", "tests.tuning.scripted_trial")
PATIENCE_SECONDS = 60.0


def scripted(script: str) -> list[Example]:
    return [Example((Message("user", script), Message("assistant", "Yes.")))]


def recipe(**changes: int) -> TrainingRecipe:
    return TrainingRecipe(system_prompt="Be brief.", base_sha256=BASE, **changes)


class House:
    """A data directory, and the trainings of this process in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trainings"
        self.adapters_dir = folder / "adapters"
        self.checked: list[str] = []
        self.check: Callable[[str], object] = self.checked.append
        self.trainings = self.open()

    def open(self) -> Trainings:
        """The trainings as another process would see them."""
        return Trainings(
            self.folder,
            self.adapters_dir,
            base=lambda _: Path("/base.gguf"),
            check=lambda name: self.check(name),
            job=JOB,
            trial=TRIAL,
        )

    def submit(self, script: str, name: str = "tern", **changes: int) -> str:
        return self.trainings.submit(scripted(script), recipe(**changes), name)

    def go(self) -> None:
        (self.folder / "go").touch()

    def end(self, training_id: str) -> Training:
        return self.trainings.wait(training_id, PATIENCE_SECONDS)

    def until(self, training_id: str, wanted: Callable[[Training], bool]) -> Training:
        for _ in range(int(PATIENCE_SECONDS * 20)):
            if wanted(seen := self.trainings.get(training_id)):
                return seen
            self.trainings._worker.wait(0.05)
        raise AssertionError(f"it is {seen.state} for too long: {seen.error}")

    def estimated(self, script: str, **changes: int) -> Estimate:
        for _ in range(int(PATIENCE_SECONDS * 20)):
            found = self.trainings.estimate(scripted(script), recipe(**changes))
            if found != Estimate():
                return found
            self.trainings._worker.wait(0.05)
        raise AssertionError("it is being estimated for too long")

    def until_it_runs(self, training_id: str) -> Training:
        """The training, when it has told of a step."""
        return self.until(training_id, lambda seen: bool(seen.steps))

    def running(self, training_id: str) -> psutil.Process:
        """The process of a training that has told of a step."""
        self.until_it_runs(training_id)
        return next(
            one
            for one in psutil.Process().children(recursive=True)
            if one.status() != psutil.STATUS_ZOMBIE and training_id in " ".join(one.cmdline())
        )


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    house = House(folder)
    try:
        yield house
    finally:
        house.trainings.close()
