"""How long trainings would take on this machine: a few trial steps in a process of their own.

One estimate is measured at a time, never beside a training, and kept in a file. What nobody has
asked for in a while, such as a recipe that was changed since, is not measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread

from bot import __version__
from bot.errors import TriptychError
from bot.tuning.examples import Example, write_examples
from bot.tuning.job import unwritten
from bot.tuning.line import Line
from bot.tuning.process import OwnedProcess
from bot.tuning.recipe import TrainingRecipe

logger = logging.getLogger(__name__)

TRIAL = (sys.executable, "-m", "bot.tuning.trial")
FILE_NAME = "estimates.json"

_WANTED_SECONDS = 10.0
"""Who wants to know asks again sooner."""
_LOOK_SECONDS = 0.5
_MOST_KEPT = 200


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a whole training would take on this machine.

    Args:
        seconds: None while it is being measured, and when it could not be.
        error: why it could not be measured, in a sentence; empty otherwise.
    """

    seconds: float | None = None
    error: str = ""


@dataclass(slots=True)
class _Wish:
    examples: tuple[Example, ...]
    recipe: TrainingRecipe
    asked_at: float


class Estimates:
    """Measures in the background what is asked for.

    Args:
        line: the trainings, beside which nothing is measured.
        base: the base weights of a SHA-256.
        learnt: examples and a recipe → all that is learnt then; may take a moment.
        trial: the command of the process that measures.
    """

    def __init__(
        self,
        line: Line,
        base: Callable[[str], Path],
        learnt: Callable[[Sequence[Example], TrainingRecipe], Sequence[Example]],
        trial: Sequence[str] = TRIAL,
    ) -> None:
        self._line = line
        self._base = base
        self._learnt = learnt
        self._trial = trial
        self._wishes: dict[str, _Wish] = {}
        self._found: dict[str, Estimate] = {}
        self._process: OwnedProcess | None = None
        self._thread: Thread | None = None
        self._closing = False
        self._changed = Condition()

    def estimate(self, examples: Sequence[Example], recipe: TrainingRecipe) -> Estimate:
        """What is known by now; measuring begins if nothing is."""
        key = _key(examples, recipe)
        with self._changed:
            if not self._found:
                self._found = self._kept()
            if key in self._found or self._closing:
                return self._found.get(key, Estimate())
            wish = self._wishes.setdefault(key, _Wish(tuple(examples), recipe, 0.0))
            wish.asked_at = time.monotonic()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="triptych-estimates", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return Estimate()

    def give_way(self) -> None:
        """Stop measuring, since a training begins; it is done again when that one is over."""
        with self._changed:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Stop for good."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.give_way()

    def _work(self) -> None:
        while not self._closing:
            with self._changed:
                key, wish = self._next()
            if wish is None:
                with self._changed:
                    self._changed.wait(_LOOK_SECONDS if key else None)
                continue
            try:
                found = self._measure(wish)
            except (TriptychError, OSError) as error:
                found = Estimate(
                    error=str(unwritten(error) if isinstance(error, OSError) else error)
                )
            except Exception:
                logger.exception("An estimate stopped by a defect")
                found = Estimate(error="It cannot be estimated; the log of Triptych says why.")
            if found is not None:
                self._keep(key, found)

    def _next(self) -> tuple[str, _Wish | None]:
        """What to measure now; a key alone when it has to wait, and nothing when nobody asks."""
        now = time.monotonic()
        for key, wish in tuple(self._wishes.items()):
            if now - wish.asked_at > _WANTED_SECONDS:
                del self._wishes[key]
        key = next(iter(self._wishes), "")
        busy = bool(key) and bool(self._line.waiting())
        return key, None if busy or not key else self._wishes[key]

    def _measure(self, wish: _Wish) -> Estimate | None:
        """The estimate; None when it had to give way."""
        base = self._base(wish.recipe.base_sha256)
        self._line.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="triptych-trial-") as folder:
            path = Path(folder) / "examples.jsonl"
            write_examples(self._learnt(wish.examples, wish.recipe), path)
            places = map(str, (path, base.resolve(), self._line.folder.resolve()))
            with self._changed:
                if self._closing:
                    return None
                recipe = json.dumps(asdict(wish.recipe))
                self._process = process = OwnedProcess([*self._trial, *places], recipe)
            said, death = process.wait()
            with self._changed:
                self._process = None
        match said:
            case {"seconds": float(seconds)}:
                return Estimate(seconds)
            case {"error": {"message": str(message)}}:
                return Estimate(error=message)
        return None if death.state == "interrupted" else Estimate(error=death.error)

    def _keep(self, key: str, found: Estimate) -> None:
        with self._changed:
            self._found[key] = found
            self._wishes.pop(key, None)
            known = [(one, it.seconds) for one, it in self._found.items() if it.seconds]
            self._changed.notify_all()
        path = self._line.folder / FILE_NAME
        draft = path.with_name(f".{FILE_NAME}.{os.getpid()}")
        with suppress(OSError):  # then it is measured again another day
            draft.write_text(json.dumps(dict(known[-_MOST_KEPT:])), encoding="utf-8")
            draft.replace(path)

    def _kept(self) -> dict[str, Estimate]:
        try:
            kept = json.loads((self._line.folder / FILE_NAME).read_text(encoding="utf-8"))
            return {str(key): Estimate(float(seconds)) for key, seconds in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _key(examples: Sequence[Example], recipe: TrainingRecipe) -> str:
    chats = [[message.as_dict() for message in one.messages] for one in examples]
    text = json.dumps([__version__, _machine(), asdict(recipe), chats])
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _machine() -> str:
    """What the speed of this machine depends on."""
    model = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line for line in lines if line.startswith("model name")), model)
    return f"{platform.machine()} {model} {os.cpu_count()}"
