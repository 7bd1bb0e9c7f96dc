"""Looking at processes and waiting for what they become."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bot.servers import Servers, ServerSpec, ServerStatus

CHILD = Path(__file__).with_name("scripted_child.py")
PATIENCE_SECONDS = 30


def child(
    name: str = "child", behaviour: str = "well", *, group: str = "", limit: int = 0
) -> ServerSpec:
    """A scripted server."""
    command = (sys.executable, "-S", str(CHILD), "{host}", "{port}", behaviour)
    return ServerSpec(name, command, "/health", group=group, group_limit=limit)


def await_end(pid: int) -> None:
    """Wait until a process has ended, whoever its parent is."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([watched], [], [], PATIENCE_SECONDS)
    finally:
        os.close(watched)
    assert ended, f"process {pid} is still alive"


def is_alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    ended, _, _ = select.select([watched], [], [], 0)
    os.close(watched)
    return not ended


def await_condition(holds: Callable[[], bool]) -> None:
    """Look again and again until a condition holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def status_of(servers: Servers, name: str) -> ServerStatus:
    """How one server is."""
    return next(status for status in servers.status() if status.name == name)


def pid_of(servers: Servers, name: str) -> int:
    """The process of a running server."""
    pid = status_of(servers, name).pid
    assert pid is not None
    return pid
