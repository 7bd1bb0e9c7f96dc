"""Reads files in a child process, so that a bad one costs a sentence and never the page.

The child (`bot.library.read_child`) has limits of memory and time, no network and none of our
keys. It answers in JSON lines of bounded size, and is replaced when it fails, is killed, or has
read its share of files.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Timer
from typing import IO, Any, Literal, cast

from bot.errors import DocumentError, LibraryError
from bot.library.read_child import OUT_OF_MEMORY
from bot.library.split import Passage

_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
_ATTEMPTS = 2
_START_SECONDS = 60.0

_Reason = Literal["", "time", "text", "closing"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may cost.

    Args:
        memory_bytes: address space of the child, its own code included.
        seconds: time for one file; then the child is killed.
        text_bytes: size of all passages together, as JSON.
        files: after so many the child is replaced.
        idle_seconds: a child that was not asked for so long ends.
    """

    memory_bytes: int = 512 << 20
    seconds: float = 30.0
    text_bytes: int = 64_000_000
    files: int = 200
    idle_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says, cut into passages.

    Args:
        name: the file's name in the knowledge folder.
        sha256: of the file's bytes.
        title: what the document calls itself, else its name in words.
        kind: "txt", "md", "pdf", "docx", "html", "csv" or "json".
        size_bytes: size of the file.
        passages: in reading order.
    """

    name: str
    sha256: str
    title: str
    kind: str
    size_bytes: int
    passages: tuple[Passage, ...]


class Reader:
    """Reads one file at a time, whichever thread asks; the child starts when it is needed.

    Args:
        limits: what one file may cost.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lock = Lock()
        self._child: _Child | None = None
        self._closed = False

    def read(self, path: Path, *, name: str | None = None) -> Reading:
        """Read a document and cut it into passages.

        Args:
            path: the file.
            name: what the document is called; the file's name when not given.

        Raises:
            DocumentError: it cannot be read, or not within the limits; the message says which
                file and why.
            LibraryError: no child can be started, or the reader was closed.
        """
        name = name or path.name
        with self._lock:
            for _ in range(_ATTEMPTS):
                child = self._ready_child()
                try:
                    return child.read(path, name)
                except _Ended as end:
                    self._discard()
                    if self._closed:
                        raise _interrupted() from end
                    if not end.by_itself:  # not the file's doing, so it is tried again
                        continue
                    raise self._refusal(name, end) from end
            raise DocumentError(
                name,
                "could not be read: the process that reads it was killed twice.",
                cure="The machine may be short of memory; close other programs and try again.",
            )

    def close(self) -> None:
        """End the child; a reading under way is interrupted."""
        self._closed = True
        if (child := self._child) is not None:
            child.kill("closing")
        with self._lock:
            self._discard()

    def _ready_child(self) -> _Child:
        if self._child is not None and self._child.files >= self.limits.files:
            self._discard()
        if self._child is None and not self._closed:
            self._child = _Child(self.limits)
        if self._child is None or self._closed:  # perhaps while it started
            raise _interrupted()
        return self._child

    def _discard(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _refusal(self, name: str, end: _Ended) -> DocumentError:
        """The sentence for a file that the child did not survive."""
        cure = "Split it into smaller files."
        if end.killed_for == "time" or end.returncode == -signal.SIGXCPU:
            reason = f"takes longer than {self.limits.seconds:g} seconds to read."
        elif end.returncode == OUT_OF_MEMORY:
            reason = f"needs more than {self.limits.memory_bytes >> 20} MB of memory to be read."
        elif end.killed_for == "text":
            megabytes = self.limits.text_bytes / 1_000_000
            reason = f"holds more than {megabytes:g} MB of text, tables written out as rows."
        else:
            reason = "cannot be read: the program that reads it crashes on it."
            cure = "Open it in the program it came from and save it again."
        return DocumentError(name, reason, cure=cure)


class _Ended(Exception):
    """The child ended before its answer was complete.

    Args:
        returncode: how; negative for a signal.
        killed_for: why we killed it; empty when we did not.
    """

    def __init__(self, returncode: int, killed_for: _Reason) -> None:
        super().__init__(f"the reading child ended with {returncode} {killed_for}".rstrip())
        self.returncode = returncode
        self.killed_for = killed_for

    @property
    def by_itself(self) -> bool:
        """Whether the file is to blame: not when the child was idle, or killed by a stranger."""
        strangers = (0, -signal.SIGKILL, -signal.SIGTERM)
        return bool(self.killed_for) or self.returncode not in strangers


class _Child:
    """The parent's side of one child process.

    Raises:
        LibraryError: it cannot be started.
    """

    def __init__(self, limits: Limits) -> None:
        self.files = 0
        self._limits = limits
        self._killed_for: _Reason = ""
        numbers = (limits.memory_bytes, limits.seconds, limits.idle_seconds)
        inherited = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bot.library.read_child", *map(str, numbers)],
                cwd=_ROOT,
                env=_ONE_THREAD | inherited,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise _not_started() from error
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)
        try:
            with self._killed_after(_START_SECONDS):
                self._lines()()
        except _Ended as end:
            self.close()
            raise _not_started() from end

    def read(self, path: Path, name: str) -> Reading:
        """One file, read to the end.

        Raises:
            DocumentError: the child refuses it; it can read the next one.
            _Ended: the child has ended.
        """
        self.files += 1
        with self._killed_after(self._limits.seconds):
            self._requests.write(json.dumps([str(path.absolute()), name]).encode() + b"\n")
            self._requests.flush()
            line = self._lines()
            head = line()
            if "refused" in head:
                raise DocumentError(name, str(head["refused"]), cure=str(head["cure"]))
            passages = []
            for number in range(head.pop("passages")):
                id_, heading, page, text = line()
                passages.append(Passage(id_, name, head["title"], heading, page, number, text))
            return Reading(name=name, passages=tuple(passages), **head)

    def kill(self, reason: _Reason) -> None:
        """End it now; whoever reads from it sees the end."""
        self._killed_for = self._killed_for or reason
        self._process.kill()

    def close(self) -> None:
        """End it and let go of it."""
        self.kill("closing")
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):
                pipe.close()

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[None]:
        """Kill the child when this takes longer.

        Raises:
            _Ended: it was killed, has ended, or does not speak as agreed.
        """
        timer = Timer(seconds, self.kill, args=("time",))
        timer.daemon = True
        timer.start()
        try:
            yield
        except (EOFError, OSError, ValueError, TypeError, KeyError) as error:
            if not isinstance(error, EOFError | OSError):
                self._process.kill()
            raise _Ended(self._process.wait(), self._killed_for) from error
        finally:
            timer.cancel()

    def _lines(self) -> Callable[[], Any]:
        """Gives one line of an answer after the other, as long as all together are not too long."""
        room = self._limits.text_bytes

        def line() -> Any:
            nonlocal room
            received = self._answers.readline(room + 1)
            room -= len(received)
            if room < 0:
                self.kill("text")
            if room < 0 or not received.endswith(b"\n"):
                raise EOFError
            return json.loads(received)

        return line


def _interrupted() -> LibraryError:
    return LibraryError("Reading documents was interrupted.", cure="Start it again.")


def _not_started() -> LibraryError:
    return LibraryError(
        "The process that reads documents cannot be started.",
        cure="Close other programs, then try again; `python -m bot doctor` checks every part.",
    )
