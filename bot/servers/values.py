"""What a child server is, where it is, and how it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

KEY_VARIABLE = "TRIPTYCH_SERVER_KEY"
"""Environment variable that carries a child its key; an argument could be read by other users."""

ServerState = Literal["starting", "ready", "restarting", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How to start a child server and tell that it is ready.

    Args:
        name: unique in a data directory.
        command: program and arguments; ``{port}`` is replaced by the port to listen at,
            ``{host}`` by the loopback address, 127.0.0.1 where it is not asked for. Only the guard
            before the server connects there (`bot.servers.guard`).
        health_path: path that answers GET with status 200 once the server is ready.
        group: servers of one group share the limit below; empty for none.
        group_limit: servers of the group that stay warm; the least recently used is stopped.
    """

    name: str
    command: tuple[str, ...]
    health_path: str
    group: str = ""
    group_limit: int = 0


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a ready server is reached, and the key that each connection must show first.

    The key goes into the header ``Authorization: Bearer KEY``; nobody without it gets through.
    """

    base_url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How a server is at this moment.

    Args:
        name: as in its specification.
        state: "restarting" while it waits to be started again after its process ended.
        base_url: empty when it has none.
        pid: its process, when it has one.
        restarts: how often it was started again since it was first asked for.
        detail: why it failed, with the end of its output; empty when all is well.
    """

    name: str
    state: ServerState
    base_url: str
    pid: int | None
    restarts: int
    detail: str
