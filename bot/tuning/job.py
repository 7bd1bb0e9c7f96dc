"""The process of a training, from inside: one folder is trained, and its adapter is published.

``python -m bot.tuning.job FOLDER BASE ADAPTERS_DIR``. Only one runs at a time in a data directory.
It ends when its standard input does. What came of it is one JSON line on standard output.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from bot.errors import TuningError
from bot.tuning import adapters as shelf
from bot.tuning.event_log import EventWriter
from bot.tuning.examples import read_examples
from bot.tuning.folder import TrainingFolder

LOCK_NAME = "job.lock"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MEMORY_WORDS = ("out of memory", "not enough memory", "allocate memory", "bad_alloc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bot.tuning.job")
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("adapters_dir", type=Path)
    given = parser.parse_args(arguments)
    be_owned()
    said: dict[str, Any]
    try:
        with FileLock(given.folder.parent / LOCK_NAME):
            said = _train(TrainingFolder(given.folder), given.base, given.adapters_dir)
    except Exception as error:
        said = {"error": explained(error)}
    print(json.dumps(said), flush=True)  # noqa: T201
    return int("error" in said)


def be_owned() -> None:
    """End with the owner, give way to answers, and be the first to go when memory runs out."""
    threading.Thread(target=_end_with_owner, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="utf-8")


def _end_with_owner() -> None:
    """Wait until standard input ends. Read unbuffered: an exit must not wait for its lock."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def _train(training: TrainingFolder, base: Path, adapters_dir: Path) -> dict[str, Any]:
    from bot.tuning.loop import train

    request = training.request()
    examples = read_examples(training.examples_path)
    partial = shelf.begin(adapters_dir, request.name)
    try:
        shutil.copyfile(training.examples_path, partial / shelf.EXAMPLES_NAME)
        training.checkpoints.mkdir(exist_ok=True)
        with EventWriter(training.path) as events:
            report = train(
                request.recipe,
                examples,
                base=base,
                folder=partial,
                checkpoints=training.checkpoints,
                on_event=events.write,
                cancelled=training.is_to_stop,
            )
        if report.stopped == "cancelled" and not report.best_step:
            return {"published": False}
        shelf.publish(partial, adapters_dir, request.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"published": True, "report": asdict(report)}


def explained(error: Exception) -> dict[str, Any]:
    """What went wrong, for a person, and whether going on later could go right.

    Raises:
        Exception: the error itself, when it is a defect.
    """
    if any(_is_for_memory(one) for one in (error, error.__cause__)):
        from bot.tuning.process import OUT_OF_MEMORY

        return {"message": OUT_OF_MEMORY, "resumable": True}
    if isinstance(error, OSError):
        return {"message": str(unwritten(error)), "resumable": True}
    if isinstance(error, TuningError):
        return {"message": str(error), "resumable": isinstance(error.__cause__, OSError)}
    raise error


def unwritten(error: OSError) -> TuningError:
    """What a full disk, or a folder that cannot be written, means for a training."""
    cause = "the disk is full" if error.errno in _NO_ROOM else error.strerror or "the disk failed"
    return TuningError(
        f"The training cannot be written: {cause}.",
        cure="Make room on the disk, then try again; an adapter before it is untouched.",
    )


def _is_for_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, whichever way it was said; torch has no kind of error for it."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = str(error).lower()
    ran_out = isinstance(error, RuntimeError) and any(one in words for one in _MEMORY_WORDS)
    return ran_out or isinstance(error, MemoryError)


if __name__ == "__main__":
    sys.exit(main())
