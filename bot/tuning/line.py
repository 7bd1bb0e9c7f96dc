"""The trainings of a data directory, in the order of their turns."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock

from bot.errors import TuningError
from bot.tuning.digest import file_sha256
from bot.tuning.examples import Example, write_examples
from bot.tuning.folder import ACTIVE, Request, TrainingFolder
from bot.tuning.recipe import TrainingRecipe

_ID = re.compile(r"\d{8}-\d{6}-\d{3}")
_DRAFT = ".draft-"


class Line:
    """The folders of the trainings.

    Args:
        folder: holds one folder for each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Whoever changes the order of the trainings does so alone, among all processes.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "line.lock"):
            yield

    def trainings(self) -> list[TrainingFolder]:
        """All of them, the oldest first."""
        if not self.folder.is_dir():
            return []
        return [TrainingFolder(p) for p in sorted(self.folder.iterdir()) if _ID.fullmatch(p.name)]

    def find(self, training_id: str) -> TrainingFolder:
        """The one of that id.

        Raises:
            TuningError: there is none.
        """
        training = TrainingFolder(self.folder / training_id)
        if not _ID.fullmatch(training_id) or not training.path.is_dir():
            raise TuningError(f"There is no training {training_id}.", cure="Choose another.")
        return training

    def waiting(self) -> list[TrainingFolder]:
        """Those that are still to end: the one that runs, and then the others by their turns."""
        places = []
        for training in self.trainings():
            if (owner := training.owner()) and training.state() in ACTIVE:
                places.append((not owner.running, owner.place, training.id, training))
        return [training for *_, training in sorted(places, key=lambda entry: entry[:3])]

    def add(self, examples: Sequence[Example], recipe: TrainingRecipe, name: str) -> TrainingFolder:
        """A new training of this process, the last in line; only when `alone`.

        Raises:
            OSError: it cannot be written.
        """
        for abandoned in self.folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        now = datetime.now(UTC)
        while (path := self.folder / f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03}").exists():
            now += timedelta(milliseconds=1)
        draft = TrainingFolder(self.folder / f"{_DRAFT}{path.name}")
        draft.path.mkdir()
        try:
            write_examples(examples, draft.examples_path)
            recipe = replace(recipe, examples_sha256=file_sha256(draft.examples_path))
            count = sum(not one.grounded for one in examples)
            draft.ask(Request(name, recipe, count, now.isoformat(timespec="seconds")))
            self.put_last(draft)
            draft.path.rename(path)
        except OSError:
            shutil.rmtree(draft.path, ignore_errors=True)
            raise
        return TrainingFolder(path)

    def put_last(self, training: TrainingFolder) -> None:
        """Make a training this process's, behind all others; only when `alone`.

        Raises:
            OSError: it cannot be written.
        """
        places = [owner.place for one in self.trainings() if (owner := one.owner())]
        training.take(max([time.time_ns(), *(place + 1 for place in places)]))
