"""The trainings of this process: each is carried out when its turn comes, one after the other."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Condition, Thread

from bot.errors import TriptychError
from bot.tuning.adapters import partial_folder
from bot.tuning.folder import Outcome, TrainingFolder
from bot.tuning.job import unwritten
from bot.tuning.line import Line
from bot.tuning.process import OwnedProcess, outcome_of

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How soon the end of another process's training is noticed."""
_CLOSE_SECONDS = 5.0


class Worker:
    """A thread that starts the processes of this process's trainings, and waits for them.

    Args:
        line: all trainings, those of other processes among them.
        adapters_dir: where adapters are published.
        base: the base weights of a SHA-256.
        check: what to do with a published adapter, by its name.
        job: the command of a training's process.
    """

    def __init__(
        self,
        line: Line,
        adapters_dir: Path,
        base: Callable[[str], Path],
        check: Callable[[str], object],
        job: Sequence[str],
    ) -> None:
        self._line = line
        self._adapters_dir = adapters_dir
        self._base = base
        self._check = check
        self._job = job
        self._mine: list[TrainingFolder] = []
        self._process: OwnedProcess | None = None
        self._thread: Thread | None = None
        self._closing = False
        self._changed = Condition()

    def enlist(self, training: TrainingFolder) -> None:
        """Carry out a training of this process when its turn comes."""
        with self._changed:
            self._mine.append(training)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="triptych-trainings", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def look(self) -> None:
        """Look at once whether something was cancelled."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout_seconds: float) -> None:
        """Wait until something may have changed, at most so long."""
        with self._changed:
            self._changed.wait(min(timeout_seconds, LOOK_SECONDS))

    def close(self) -> None:
        """End the trainings of this process; they can be resumed."""
        with self._changed:
            self._closing = True
            if self._process is not None:
                self._process.kill()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)
        for training in self._mine:
            with suppress(OSError):
                training.let_go()

    def _work(self) -> None:
        while (training := self._next()) is not None:
            try:
                self._carry_out(training)
            except Exception:
                logger.exception("A training stopped by a defect")
                training.end(Outcome("failed", "It stopped by a defect of Triptych; see its log."))
            if not self._closing:
                self._drop(training)

    def _next(self) -> TrainingFolder | None:
        """The next training whose turn has come; None when this process ends."""
        while not self._closing:
            for training in tuple(self._mine):
                if self._begins(training):
                    return training
            with self._changed:
                if not self._closing:
                    self._changed.wait(LOOK_SECONDS if self._mine else None)
        return None

    def _begins(self, training: TrainingFolder) -> bool:
        """Whether its turn has come; then nobody else's does."""
        try:
            with self._line.alone():
                if training.state() == "queued":
                    if self._line.waiting()[0].id != training.id:
                        return False
                    training.begin()
                    return True
            self._drop(training, Outcome("cancelled"))
        except OSError as error:
            self._drop(training, Outcome("failed", str(unwritten(error)), resumable=True))
        return False

    def _carry_out(self, training: TrainingFolder) -> None:
        try:
            outcome = training.outcome() or self._run(training)
        except (TriptychError, OSError) as error:
            failure = unwritten(error) if isinstance(error, OSError) else error
            outcome = Outcome("failed", str(failure), resumable=True)
        if self._closing:
            return
        if not outcome.resumable:
            training.clear()
        training.end(outcome)
        if not outcome.checked:
            self.look()
            refused = self._checked(training)
            if not self._closing:  # or what it asked may be gone already
                training.end(replace(outcome, checked=True, error=refused))

    def _run(self, training: TrainingFolder) -> Outcome:
        """Run its process to the end."""
        request = training.request()
        base = self._base(request.recipe.base_sha256)
        places = (str(path.resolve()) for path in (training.path, base, self._adapters_dir))
        with self._changed:
            if self._closing:
                return Outcome("interrupted")
            self._process = process = OwnedProcess([*self._job, *places])
        said, death = process.wait()
        with self._changed:
            self._process = None
        left = partial_folder(self._adapters_dir, request.name, process.pid)
        shutil.rmtree(left, ignore_errors=True)
        return outcome_of(said, death)

    def _checked(self, training: TrainingFolder) -> str:
        """Let the published adapter be checked; what could not be is told."""
        try:
            self._check(training.request().name)
        except TriptychError as error:
            return str(error)
        return ""

    def _drop(self, training: TrainingFolder, outcome: Outcome | None = None) -> None:
        """Have nothing to do with it any more."""
        if outcome and training.path.exists():
            training.end(outcome)
        with suppress(OSError):
            training.let_go()
        with self._changed:
            self._mine.remove(training)
            self._changed.notify_all()
