"""The child process that reads documents: limited, cut off from the network, and replaceable.

``python -m bot.library.read_child MEMORY_BYTES SECONDS IDLE_SECONDS`` — one request a line on
standard input, ``[path, name]``; the answer is a line for the document, then one for each of its
passages, ``[id, heading, page, text]``; or one line that says why it is refused. It ends when
nothing is asked for a while, when its parent is gone, and when it runs out of memory.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from bot.errors import DocumentError

OUT_OF_MEMORY = 77
"""Exit status of a child for which the memory did not suffice."""

_SPARE_SECONDS = 5
_FORBIDDEN = (
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"),
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"),
)


def main(memory_bytes: int, seconds: float, idle_seconds: float) -> None:
    """Answer requests until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent to act upon
    Thread(target=_end_with_parent, daemon=True).start()
    for limit, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # where the system does not know or allow it
            resource.setrlimit(limit, (most, most))
    from bot.library import load, split  # noqa: F401  (before the first request, inside the limit)

    sys.addaudithook(_forbid)
    _write({"ready": True})
    sys.stdout.buffer.flush()
    while select.select([sys.stdin], [], [], idle_seconds)[0] and (line := sys.stdin.readline()):
        path, name = json.loads(line)
        _limit_processor_time(seconds + _SPARE_SECONDS)
        try:
            for part in _answer(Path(path), name):
                _write(part)
            sys.stdout.buffer.flush()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _answer(path: Path, name: str) -> Iterator[object]:
    from bot.library.load import load
    from bot.library.split import split

    try:
        document = load(path, name=name)
    except DocumentError as error:
        yield {"refused": error.reason, "cure": error.cure}
        return
    passages = split(document)
    yield {
        "sha256": document.sha256,
        "title": document.title,
        "kind": document.kind,
        "size_bytes": document.size_bytes,
        "passages": len(passages),
    }
    for passage in passages:
        yield passage.id, passage.heading, passage.page, passage.text


def _write(part: object) -> None:
    sys.stdout.buffer.write(json.dumps(part, ensure_ascii=False).encode() + b"\n")


def _limit_processor_time(seconds: float) -> None:
    """Let the kernel end this process should it outlive its parent in an endless loop."""
    spent = sum(os.times()[:2])
    most = math.ceil(spent + seconds)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _forbid(event: str, _: tuple[Any, ...]) -> None:
    """No file has a reason to make its reader call out or start something."""
    if event in _FORBIDDEN:
        raise PermissionError(f"{event} is not allowed while reading documents")


def _end_with_parent() -> NoReturn:
    hang_up = select.poll()
    hang_up.register(sys.stdin, 0)  # nothing but the end of the pipe
    hang_up.poll()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
