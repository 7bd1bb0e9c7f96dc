"""The training job seen from outside: a process of its own, told of by its events."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from bot.errors import AdapterError, ExamplesError, RecipeError, TuningError
from bot.tuning import adapters as shelf
from bot.tuning.adapters import Adapter
from bot.tuning.events import TrainingStep
from bot.tuning.examples import read_examples
from bot.tuning.recipe import TrainingRecipe

_ROOT = Path(__file__).resolve().parents[2]


def run_training(
    examples_path: Path,
    recipe: TrainingRecipe,
    base: Path,
    adapters_dir: Path,
    name: str,
) -> Generator[TrainingStep | Adapter, None, None]:
    """Train in a process of its own: yields every step, then the published adapter.

    Closing the iterator, or the death of this process, ends the job; a previous adapter of that
    name stays as it was until the new one is complete.

    Args:
        base: the base weights, a GGUF file.

    Raises:
        ExamplesError: the examples are wrong; raised before the job starts, except for examples
            that are too long, which only the tokenizer can tell.
        AdapterError: the name is not safe, or the folder cannot be written to.
        TuningError: the job died; the message carries its last line of output.
    """
    read_examples(examples_path)
    shelf.check_name(name)
    recipe = replace(recipe, examples_sha256=file_sha256(examples_path))
    places = [str(path.resolve()) for path in (examples_path, base, adapters_dir)]
    command = [sys.executable, "-m", "bot.tuning.train", *places, name]
    return _follow(command, recipe, adapters_dir, name)


def _follow(
    command: list[str], recipe: TrainingRecipe, adapters_dir: Path, name: str
) -> Generator[TrainingStep | Adapter, None, None]:
    # Standard error is for failures. Threads that wait asleep, not spinning, leave the cores to
    # the answers under way.
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        "PYTHONWARNINGS": "ignore",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    with tempfile.TemporaryFile() as errors:
        job = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=quiet | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        )
        assert job.stdin and job.stdout
        try:
            # The open pipe is the job's lifeline: it ends when the pipe does.
            with suppress(BrokenPipeError):
                job.stdin.write(json.dumps(asdict(recipe)) + "\n")
                job.stdin.flush()
            for line in job.stdout:
                if step := _read_event(line):
                    yield step
            if job.wait() != 0:
                raise TuningError(
                    f"The training stopped early (exit status {job.returncode}): "
                    f"{_last_line(errors)}",
                    cure="Train again; when memory ran out, choose a smaller batch_size.",
                )
            yield shelf.adapter(adapters_dir, name)
        finally:
            job.kill()
            job.wait()
            job.stdin.close()
            job.stdout.close()
            shutil.rmtree(shelf.partial_folder(adapters_dir, name, job.pid), ignore_errors=True)


def _read_event(line: str) -> TrainingStep | None:
    """The step a line of the job tells of; what it says besides events is skipped.

    Raises:
        TuningError: or the subclass of it that the job reports.
    """
    try:
        event = json.loads(line)
    except ValueError:
        return None
    match event:
        case {"step": dict(values)}:
            return TrainingStep(**values)
        case {"error": {"kind": kind, "message": message, "cure": cure, "line": number}}:
            kinds = (ExamplesError, RecipeError, AdapterError)
            known = {error.__name__: error for error in kinds}
            error = known.get(kind, TuningError)(message, cure=cure)
            if isinstance(error, ExamplesError):
                error.line = number
            raise error
    return None


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else "it said nothing."


def file_sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        TuningError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TuningError(f"{path} cannot be read.", cure="Check the path.") from error
