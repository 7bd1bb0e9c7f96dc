"""A training's process whose loop plays a script: the words of the first example's question.

``step`` tells of a step and saves a checkpoint; ``lost`` only tells of it, ``torn`` not even to
the end of the line. ``wait`` waits for a file `go` beside the trainings, or for a cancellation,
to which ``deaf`` does not listen.
The rest are ways to end badly, which do not happen again when the training is resumed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from bot.tuning.event_log import Event
from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import TrainingReport
from tests.tuning.stand_in import fill

STEPS = 9


def report(best_step: int, stopped: str = "") -> TrainingReport:
    return TrainingReport(6, 6, 1, 2, 1.0, 0.9, best_step, stopped, (), 1.5, 100.0, 1_000_000)


def step(number: int) -> TrainingStep:
    return TrainingStep(number, STEPS, 1, 1.0 / number, 1e-3, 100.0, float(STEPS - number))


def evaluation(number: int) -> Evaluation:
    return Evaluation(number, 1.0 / number, 2.0 / number, number, STEPS, best=True)


def train(
    recipe: TrainingRecipe,
    examples: Sequence[Example],
    *,
    base: Path,
    folder: Path,
    checkpoints: Path,
    on_event: Callable[[Event], None],
    cancelled: Callable[[], bool],
) -> TrainingReport:
    mark = checkpoints.parent / "was-here"
    first, done = not mark.exists(), len(list(checkpoints.iterdir()))
    mark.touch()
    number = 0
    for word in examples[0].messages[0].content.split():
        if word in ("step", "lost"):
            number += 1
            if number > done:
                on_event(step(number))
        if word == "step" and number > done:
            on_event(evaluation(number))
            (checkpoints / str(number)).touch()
        elif word == "torn" and first:
            with (checkpoints.parent / "events.jsonl").open("a") as file:
                file.write('{"step": {"step": 4, "st')
        elif word in SIGNALS and first:
            os.kill(os.getpid(), SIGNALS[word])
        elif word in FAILURES and first:
            raise FAILURES[word]
        elif word in ("wait", "deaf"):
            go = checkpoints.parent.parent / "go"
            while not go.exists() and (word == "deaf" or not cancelled()):
                time.sleep(0.01)
        if cancelled():
            break
    best = len(list(checkpoints.iterdir()))
    if best:
        fill(folder, f"{recipe.seed} {best}".encode())
    return report(best, "cancelled" if cancelled() else "")


SIGNALS = {"kill": signal.SIGKILL, "crash": signal.SIGSEGV}
FAILURES: dict[str, Exception] = {
    "memory": MemoryError(),
    "tensor": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "disk": OSError(28, "No space left on device"),
    "defect": RuntimeError("mat1 and mat2 cannot be multiplied"),
}


if __name__ == "__main__":
    loop = ModuleType("bot.tuning.loop")
    loop.train = train  # type: ignore[attr-defined]
    sys.modules["bot.tuning.loop"] = loop
    from bot.tuning.job import main

    sys.exit(main())
