"""The learning curves of a data directory: one is measured at a time, all are kept as files.

A curve belongs to the process that began it, whose thread measures it; every process sees how far
it is. Its trainings stand in the queue with all others, and their adapters are removed once they
have answered.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bot.errors import TriptychError, TuningError
from bot.evidence import curve as values
from bot.evidence.curve import Curve, Plan, Point
from bot.evidence.taught import says
from bot.tuning import adapters as shelf
from bot.tuning.examples import Example
from bot.tuning.facts import common_words
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.trainings import Trainings

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5

Ask = Callable[[str, Path | None, str], str]
"""A strategy, the folder of its adapter or None, and a question → the answer."""


class _Cancelled(Exception):
    """The curve under way was asked to stop."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a curve is measured with."""

    examples: Sequence[Example]
    recipe: TrainingRecipe
    plan: Plan


class Curves:
    """The learning curves of a data directory.

    Args:
        folder: holds a file for each curve, and the adapters while they are asked.
        trainings: publish to `adapters_folder(folder)`.
        ask: may block, and raise a TriptychError.
    """

    def __init__(self, folder: Path, trainings: Trainings, ask: Ask) -> None:
        self._folder = folder
        self._trainings = trainings
        self._ask = ask
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self, examples: Sequence[Example], recipe: TrainingRecipe, title: str) -> str:
        """Begin to measure a curve in the background, and return its id.

        Every point is trained with the same recipe, less what would hold out examples of its own
        or look into the library.

        Raises:
            ExamplesError: there are too few examples.
            TuningError: a curve is under way, or this one cannot be written down.
        """
        plan = values.plan(examples, recipe.seed)
        with self._lock:
            if any(one.state == "running" for one in self.all()):
                raise TuningError(
                    "A learning curve is under way.", cure="Wait for it, or cancel it."
                )
            now = datetime.now(UTC)
            curve = Curve(
                id=now.strftime("%Y%m%d-%H%M%S-%f"),
                title=title,
                examples=len(examples),
                asked=len(plan.asked),
                sizes=tuple(map(len, plan.subsets)),
                created_at=now.isoformat(timespec="seconds"),
                doing="starting",
            )
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._own(curve.id)
                self._write(curve)
            except OSError as error:
                raise TuningError(
                    f"The learning curve cannot be written: {error.strerror or 'no reason given'}.",
                    cure="Make room on the disk, then try again.",
                ) from error
            recipe = replace(recipe, validation_share=0.0, folds=0, patience=0, grounding=0.0)
            work = _Work(examples, recipe, plan)
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._measure, args=(curve, work), name="triptych-curve", daemon=True
            )
            self._thread.start()
        return curve.id

    def all(self) -> list[Curve]:
        """Every curve, the newest first; files that are damaged are passed over."""
        if not self._folder.is_dir():
            return []
        found = []
        for path in sorted(self._folder.glob("*.json"), reverse=True):
            with suppress(OSError, ValueError):
                found.append(self._seen(values.from_json(path.read_text(encoding="utf-8"))))
        return found

    def get(self, curve_id: str) -> Curve:
        """One curve.

        Raises:
            TuningError: there is none of that id.
        """
        for one in self.all():
            if one.id == curve_id:
                return one
        raise TuningError("There is no such learning curve.", cure="Look at the list again.")

    def cancel(self, curve_id: str) -> None:
        """Ask a curve to stop, from whichever process; its points so far stay.

        Raises:
            TuningError: there is none of that id, or it cannot be written down.
        """
        if self.get(curve_id).state == "running":
            try:
                self._cancel_path(curve_id).touch()
            except OSError as error:
                raise TuningError(
                    "The learning curve cannot be cancelled: the disk cannot be written.",
                    cure="Make room on the disk, then try again.",
                ) from error

    def remove(self, curve_id: str) -> None:
        """Forget a curve.

        Raises:
            TuningError: there is none of that id, or it is under way.
        """
        if self.get(curve_id).state == "running":
            raise TuningError("It is still under way.", cure="Cancel it, then remove it.")
        for path in (self._path(curve_id), self._owner_path(curve_id), self._cancel_path(curve_id)):
            path.unlink(missing_ok=True)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until this process measures no curve; False when it still does after the time."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)
            return not self._thread.is_alive()
        return True

    def close(self) -> None:
        """End the curve that this process measures; it is then interrupted."""
        self._stop.set()
        self.wait(10.0)

    # --- measuring, in a thread of its own ------------------------------------------------------

    def _measure(self, curve: Curve, work: _Work) -> None:
        started = time.monotonic()
        progress = _Progress(curve, started, self._write)
        try:
            self._ask_rivals(progress, work)
            for subset in work.plan.subsets:
                self._add_point(progress, work, subset)
            progress.end("done")
        except _Cancelled:
            progress.end("interrupted" if self._stop.is_set() else "cancelled")
        except TriptychError as error:
            progress.end("failed", str(error))
        except OSError as error:
            progress.end("failed", f"The disk failed: {error.strerror or 'no reason given'}.")
        except Exception:
            logger.exception("A learning curve failed")
            progress.end("failed", "It failed inside Triptych; the log has the details.")
        finally:
            for path in (self._owner_path(curve.id), self._cancel_path(curve.id)):
                path.unlink(missing_ok=True)

    def _ask_rivals(self, progress: _Progress, work: _Work) -> None:
        for strategy, title in values.RIVALS.items():
            right = self._right(progress, work, title, strategy, None)
            progress.change(rivals={**progress.curve.rivals, strategy: right})

    def _add_point(self, progress: _Progress, work: _Work, subset: Sequence[int]) -> None:
        curve = progress.curve
        name = f"curve-{curve.id[-6:]}-{len(subset)}"
        adapters_dir = adapters_folder(self._folder)
        progress.change(doing=f"training on {len(subset)} examples")
        examples = [work.examples[number] for number in subset]
        training = self._trainings.submit(examples, work.recipe, name)
        try:
            while (seen := self._trainings.wait(training, TICK_SECONDS)).active:
                self._look_whether_to_stop(curve.id)
            if seen.state != "done":
                self._look_whether_to_stop(curve.id)
                raise TuningError(seen.error or "A training of the curve was cancelled.")
            title = f"the adapter of {len(subset)} examples"
            right = self._right(progress, work, title, "adapter", adapters_dir / name)
            progress.change(points=(*progress.curve.points, Point(len(subset), right)))
        finally:
            self._forget(training, name)

    def _forget(self, training: str, name: str) -> None:
        """Leave no training and no adapter behind."""
        with suppress(TriptychError):
            self._trainings.cancel(training)
            self._trainings.wait(training, 30.0)
            self._trainings.remove(training)
        with suppress(TriptychError):
            shelf.delete(adapters_folder(self._folder), name)

    def _right(
        self, progress: _Progress, work: _Work, title: str, strategy: str, adapter: Path | None
    ) -> int:
        """How many of the held-out phrasings are answered right."""
        common = common_words([one.messages[-1].content for one in work.examples])
        right = 0
        for place, number in enumerate(work.plan.asked, start=1):
            self._look_whether_to_stop(progress.curve.id)
            progress.change(doing=f"asking {title}: {place} of {len(work.plan.asked)}")
            question, answer = (one.content for one in work.examples[number].messages)
            right += says(self._ask(strategy, adapter, question), question, answer, common)
        return right

    def _look_whether_to_stop(self, curve_id: str) -> None:
        if self._stop.is_set() or self._cancel_path(curve_id).exists():
            raise _Cancelled

    # --- files ----------------------------------------------------------------------------------

    def _seen(self, curve: Curve) -> Curve:
        """A curve whose process is gone was interrupted."""
        if curve.state != "running" or self._owner_lives(curve.id):
            return curve
        return replace(curve, state="interrupted", doing="")

    def _owner_lives(self, curve_id: str) -> bool:
        try:
            pid, started = self._owner_path(curve_id).read_text(encoding="utf-8").split()
            return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < 2.0)
        except (OSError, ValueError, psutil.Error):
            return False

    def _own(self, curve_id: str) -> None:
        text = f"{os.getpid()} {psutil.Process().create_time()}"
        self._owner_path(curve_id).write_text(text, encoding="utf-8")

    def _write(self, curve: Curve) -> None:
        path = self._path(curve.id)
        draft = path.with_suffix(".draft")
        draft.write_text(curve.as_json(), encoding="utf-8")
        draft.replace(path)

    def _path(self, curve_id: str) -> Path:
        return self._folder / f"{curve_id}.json"

    def _owner_path(self, curve_id: str) -> Path:
        return self._folder / f"{curve_id}.owner"

    def _cancel_path(self, curve_id: str) -> Path:
        return self._folder / f"{curve_id}.cancel"


class _Progress:
    """A curve as it grows; every change is written down."""

    def __init__(self, curve: Curve, started: float, write: Callable[[Curve], None]) -> None:
        self.curve = curve
        self._started = started
        self._write = write

    def change(self, **changes: object) -> None:
        """Write down what is new.

        Raises:
            OSError: it cannot be written.
        """
        seconds = round(time.monotonic() - self._started, 1)
        self.curve = replace(self.curve, **changes, seconds=seconds)  # type: ignore[arg-type]
        self._write(self.curve)

    def end(self, state: values.State, error: str = "") -> None:
        """Write down how it ended, if that is possible."""
        with suppress(OSError):
            self.change(state=state, error=error, doing="")


def adapters_folder(folder: Path) -> Path:
    """Where the adapters of curves lie while they are asked: not among those that are offered."""
    return folder / "adapters"
