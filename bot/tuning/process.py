"""The process of a training, seen from its owner: started, waited for, its death explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bot.tuning import report as reports
from bot.tuning.folder import End, Outcome

JOB = (sys.executable, "-m", "bot.tuning.job")
_LESS_MEMORY = "Close other programs and resume it, or train with a smaller batch_size or rank."
OUT_OF_MEMORY = f"The machine ran out of memory. {_LESS_MEMORY}"
_ROOT = Path(__file__).resolve().parents[2]
_KILLED = -9
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
"""What native code ends with, for one when it is refused memory."""


ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore",
    "OMP_WAIT_POLICY": "PASSIVE",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}
"""Of a process that trains, or asks what was trained. Standard error is for failures. Threads that
wait asleep, not spinning, leave the cores to the answers under way. What oneDNN made is kept for
the last few sizes of a batch only: for a thousand of them it is hundreds of megabytes."""


class OwnedProcess:
    """A process that ends when this one does: its standard input is its lifeline.

    Args:
        command: what it runs.
        first_line: what it reads first.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], first_line: str = "") -> None:
        self._killed_before = _killed_for_memory()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `wait`)
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=ENVIRONMENT | os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl+C in a terminal is for its owner
        )
        self.pid = self._process.pid
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{first_line}\n")
            self._process.stdin.flush()

    def wait(self) -> tuple[dict[str, Any], Outcome]:
        """Wait until it ends: what it said last, and what its end means if it said nothing."""
        assert self._process.stdin and self._process.stdout
        try:
            said = [value for line in self._process.stdout if (value := _object(line))]
            self._process.wait()
            return (said[-1] if said else {}), self._death()
        finally:
            self.kill()
            self._process.wait()
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._errors.close()

    def kill(self) -> None:
        """End it, at once."""
        self._process.kill()

    def _death(self) -> Outcome:
        status = self._process.returncode
        if status == _KILLED and _killed_for_memory() > self._killed_before:
            return Outcome("failed", OUT_OF_MEMORY, resumable=True)
        if -status in _CRASHES:
            cause = f"The training's process crashed ({_signal(-status)}); memory may be short."
            return Outcome("failed", f"{cause} {_LESS_MEMORY}", resumable=True)
        if status < 0:
            cause = f"The training's process was ended from outside ({_signal(-status)})."
            resume = "Resume it to go on from its last checkpoint."
            return Outcome("interrupted", f"{cause} {resume}", resumable=True)
        cause = f"The training stopped early (exit status {status}): {_last_line(self._errors)}"
        return Outcome("failed", f"{cause} Train again, or with another recipe.")


def outcome_of(said: dict[str, Any], death: Outcome) -> Outcome:
    """What a training's process said of itself, or else what its death means."""
    match said:
        case {"published": True, "report": dict(report)}:
            made = reports.from_dict(report)
            state: End = "cancelled" if made.stopped == "cancelled" else "done"
            return Outcome(state, checked=False, report=made)
        case {"published": False}:
            return Outcome("cancelled")
        case {"error": {"message": str(message), "resumable": bool(resumable)}}:
            return Outcome("failed", message, resumable=resumable)
    return death


def _object(line: str) -> dict[str, Any] | None:
    """The JSON object in a line; what libraries print is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else "it said nothing."


def _killed_for_memory() -> int:
    """How many processes the kernel has ended for want of memory, here and in this container."""
    return sum(_counters())


def _counters() -> Iterator[int]:
    groups = Path("/sys/fs/cgroup")
    tables = [Path("/proc/vmstat")]
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, own = line.split(":", 2)
            if not controllers:
                tables.append(groups / own.lstrip("/") / "memory.events")
            elif controllers == "memory":
                tables.append(groups / "memory" / own.lstrip("/") / "memory.oom_control")
    for table in tables:
        with suppress(OSError, ValueError):
            for line in table.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    yield int(value)
