"""Files that are read while those before them are indexed, so that nobody waits for the reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bot.library.reader import Reading

AHEAD_BYTES = 1 << 20
"""Size of the files that are read ahead, besides the next one: as much as is indexed together."""

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds: a changed file has another."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """A file that is being read, or was.

    Args:
        name: the file's name in the knowledge folder.
        stamp: what it was like before; None when it could not be looked at.
        reading: what it says; raises what reading it raised.
    """

    name: str
    stamp: Stamp | None
    reading: Future[Reading]


def stamp(path: Path) -> Stamp | None:
    """What a file is like now; None when it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def read_ahead(
    names: Iterable[str], path: Callable[[str], Path], read: Callable[[str], Reading]
) -> Generator[Ahead, None, None]:
    """Files in their order, each given out when enough of those behind it are being read.

    Args:
        names: of the files in the knowledge folder.
        path: where a file lies.
        read: reads a file, in a thread of its own, one after the other.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="triptych-read-ahead")
    waiting: deque[Ahead] = deque()
    behind_bytes = 0  # of all but the first
    try:
        for name in names:
            last = Ahead(name, stamp(path(name)), thread.submit(read, name))
            behind_bytes += _size_bytes(last) if waiting else 0
            waiting.append(last)
            while behind_bytes >= AHEAD_BYTES:
                yield waiting.popleft()
                behind_bytes -= _size_bytes(waiting[0])
        while waiting:
            yield waiting.popleft()
    finally:
        for file in waiting:  # nobody wants them any more
            file.reading.cancel()
        thread.shutdown(wait=False)


def _size_bytes(file: Ahead) -> int:
    return file.stamp[0] if file.stamp else 0
