"""A training's process whose loop only writes: steps, checkpoints and stand-in weights.

Folders, lock, publication and what is said of a full disk are those of the product.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from bot.tuning import adapters as shelf
from bot.tuning.event_log import Event
from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import TrainingReport

STEPS = 40
CHECKPOINT_BYTES = 60_000
ADAPTER_BYTES = 300_000


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
    """Write what a training writes, from the last checkpoint on."""
    checkpoint, beside = checkpoints / "checkpoint", checkpoints / ".checkpoint.partial"
    done = int(checkpoint.read_bytes()[:2]) if checkpoint.exists() else 0
    for step in range(done + 1, STEPS + 1):
        on_event(TrainingStep(step, STEPS, 1, 1 / step, 1e-3, 100.0, 0.0))
        on_event(Evaluation(step, 1 / step, 1 / step, 1, 1, best=True))
        beside.write_bytes(b"%02d" % step + bytes(CHECKPOINT_BYTES))
        beside.replace(checkpoint)
    recipe.save(folder)
    (folder / shelf.GGUF_NAME).write_bytes(os.urandom(ADAPTER_BYTES))
    shelf.write_manifest(folder, {"created_at": "2026-01-02T03:04:05+00:00"})
    return TrainingReport(1, 1, 1, 1, 1.0, 1.0, STEPS, "", (), 1.0, 100.0, 0)


if __name__ == "__main__":
    loop = ModuleType("bot.tuning.loop")
    loop.train = train  # type: ignore[attr-defined]
    sys.modules["bot.tuning.loop"] = loop
    from bot.tuning.job import main

    sys.exit(main())
