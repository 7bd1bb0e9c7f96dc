"""One training on disk: what was asked, whose it is, and what came of it.

A folder holds ``request.json`` and ``examples.jsonl`` (written once), ``owner.json`` (the process
that it belongs to; there only while it waits or runs), ``events.jsonl`` and ``checkpoints``
(written by the training), ``cancel`` (asks it to stop) and ``outcome.json``. Its state follows
from these files and from whether that process lives, so that everybody sees the same.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil

from bot.errors import TuningError
from bot.tuning import recipe as recipes
from bot.tuning import report as reports
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import TrainingReport

EXAMPLES_NAME = "examples.jsonl"
CHECKPOINTS_NAME = "checkpoints"

State = Literal["queued", "running", "checking", "done", "cancelled", "interrupted", "failed"]
End = Literal["done", "cancelled", "interrupted", "failed"]
ACTIVE: tuple[State, ...] = ("queued", "running", "checking")

_OUTCOME_BYTES = 8192
_CLOCK_SECONDS = 2.0
"""By how much the start of a process may be told differently, when its clock was set."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Args:
        name: of the adapter.
        examples: how many there are, those with passages aside.
        created_at: ISO 8601, UTC.
    """

    name: str
    recipe: TrainingRecipe
    examples: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a training belongs to.

    Args:
        started: when that process started, in seconds since the epoch; tells it from a later
            one of the same number.
        place: the lower, the earlier it is its turn.
        running: whether its turn has come.
    """

    pid: int
    started: float
    place: int
    running: bool = False

    @property
    def alive(self) -> bool:
        """Whether that process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _CLOCK_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Args:
        error: why it came to nothing, and the cure, in a sentence or two; else empty.
        resumable: whether it could go on from where it was.
        checked: whether nothing is left to be done; False between the adapter's publication and
            the end of its check.
        report: of the adapter that was published.
    """

    state: End
    error: str = ""
    resumable: bool = False
    checked: bool = True
    report: TrainingReport | None = None


@cache
def _started(pid: int) -> float:
    return float(psutil.Process(pid).create_time())


class TrainingFolder:
    """One training's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name
        self.examples_path = path / EXAMPLES_NAME
        self.checkpoints = path / CHECKPOINTS_NAME
        self._cancel = path / "cancel"

    def ask(self, request: Request) -> None:
        """Write down what is asked for.

        Raises:
            OSError: it cannot be written.
        """
        _write(self.path / "request.json", asdict(request))

    def request(self) -> Request:
        """What was asked for.

        Raises:
            TuningError: it is not there, or cannot be read.
        """
        values = _read(self.path / "request.json")
        try:
            recipe = recipes.from_dict(values.pop("recipe"))
            return Request(recipe=recipe, **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise TuningError(
                f"The training {self.id} is damaged.", cure="Remove it, and train again."
            ) from error

    def take(self, place: int) -> None:
        """Make this process its owner, and forget how it ended before.

        Raises:
            OSError: it cannot be written.
        """
        pid = os.getpid()
        _write(self.path / "owner.json", asdict(Owner(pid, _started(pid), place)))
        self._cancel.unlink(missing_ok=True)
        if (outcome := self.outcome()) is None or outcome.checked:
            self._write_outcome("")

    def begin(self) -> None:
        """Say that its turn has come; only its owner does.

        Raises:
            OSError: it cannot be written.
        """
        if owner := self.owner():
            _write(self.path / "owner.json", asdict(owner) | {"running": True})

    def let_go(self) -> None:
        """Belong to nobody any more."""
        (self.path / "owner.json").unlink(missing_ok=True)

    def owner(self) -> Owner | None:
        """Whose it is; that process may be gone."""
        try:
            return Owner(**_read(self.path / "owner.json"))
        except TypeError:
            return None

    def end(self, outcome: Outcome) -> None:
        """Write down how it ended, or belong to nobody if even that is not possible."""
        try:
            self._write_outcome(json.dumps(asdict(outcome)))
        except OSError:
            self.let_go()

    def outcome(self) -> Outcome | None:
        """How it ended; None while it has not."""
        values = _read(self.path / "outcome.json")
        try:
            report = values.pop("report")
            return Outcome(**values, report=reports.from_dict(report) if report else None)
        except (KeyError, TypeError, TuningError):
            return None

    def state(self) -> State:
        """What it is doing. The owner, who goes last, is looked at first."""
        owner, outcome = self.owner(), self.outcome()
        if outcome and outcome.checked:
            return outcome.state
        if owner and not owner.running and not outcome and self.is_to_stop():
            return "cancelled"
        if owner is None or not owner.alive:
            return "interrupted"
        if not owner.running:
            return "queued"
        return "checking" if outcome else "running"

    def is_resumable(self) -> bool:
        """Whether it could go on from where it was."""
        state, outcome = self.state(), self.outcome()
        return state == "interrupted" or (state == "failed" and bool(outcome and outcome.resumable))

    def stop(self) -> None:
        """Ask it to stop.

        Raises:
            OSError: it cannot be written.
        """
        self._cancel.touch()

    def is_to_stop(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel.exists()

    def clear(self) -> None:
        """Remove what only a training that goes on needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def remove(self) -> None:
        """Remove all of it.

        Raises:
            OSError: it cannot be removed.
        """
        (self.path / "request.json").unlink(missing_ok=True)  # from now on it is not listed
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():  # its process was just tidying up, or it may not be removed
            shutil.rmtree(self.path)

    def _write_outcome(self, text: str) -> None:
        """Over the same bytes each time, so that it can be told on a disk that is full, too."""
        path = self.path / "outcome.json"
        path.touch()
        with path.open("r+b", buffering=0) as file:
            file.write(text.encode().ljust(_OUTCOME_BYTES))


def _write(path: Path, values: dict[str, Any]) -> None:
    """Replace a file by a whole one, or leave it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def _read(path: Path) -> dict[str, Any]:
    """The object in a file; empty when there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
