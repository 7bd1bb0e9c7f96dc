"""The guard before a child server: the one port of it that is announced, opened by the key alone.

    client ──► guard (Host, Origin, key) ──► child, on a port that only the guard can reach

A web page can make a browser send requests to any port of this machine, but it cannot know the
key, and it cannot keep the browser from naming the page's own host or origin. The guard looks at
the head of a connection's first request. Whoever knows the key is no stranger: from then on the
bytes pass untouched in both directions, so nothing of the protocol behind is parsed here.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

HEAD_LIMIT_BYTES = 64 << 10
HEAD_TIMEOUT_SECONDS = 10.0
"""How long a connection may take to say who it is."""

QUIET_SECONDS = 3.0
"""A connection on which the child said something this recently may be in the middle of it."""

_PIECE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a child listens.

    Args:
        host: a loopback address.
        port: of the child alone.
        source: the loopback address that the guard connects from (see `bot.servers.seal`).
    """

    host: str
    port: int
    source: str

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the child.

        Raises:
            OSError: it does not listen.
        """
        return await asyncio.open_connection(
            self.host, self.port, local_addr=(self.source, 0), limit=_PIECE_BYTES
        )


@dataclass(slots=True)
class _Traffic:
    """Who spoke last on a connection, and when the child did."""

    awaited: bool = True
    spoke_at: float = 0.0

    def asked(self) -> None:
        self.awaited = True

    def answered(self) -> None:
        self.awaited, self.spoke_at = False, time.monotonic()

    @property
    def busy(self) -> bool:
        return self.awaited or time.monotonic() - self.spoke_at < QUIET_SECONDS


class Guard:
    """A port on 127.0.0.1 that hands whoever has the key on to a child.

    Made, opened and closed inside one event loop.
    """

    def __init__(self, backend: Backend, key: str) -> None:
        self._backend = backend
        self._key = key
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._traffic: dict[asyncio.Task[None], _Traffic] = {}
        self.port = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for the child's answer, or is in the middle of it."""
        return any(one.busy for one in self._traffic.values())

    async def open(self) -> None:
        """Listen; `port` is known from now on."""
        self._server = await asyncio.start_server(
            self._welcome, "127.0.0.1", 0, limit=max(HEAD_LIMIT_BYTES, _PIECE_BYTES), backlog=128
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, TimeoutError, asyncio.CancelledError):
                await self._admit(reader, writer, task)
        finally:
            self._connections.discard(task)
            self._traffic.pop(task, None)
            writer.close()

    async def _admit(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        """Look at the first head; pass the connection on, or say why not and end it."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        status = refusal(head, self.port, self._key)
        if status is not None:
            writer.write(_answer(status))
            await writer.drain()
            return
        traffic = self._traffic[task] = _Traffic()
        backend_reader, backend_writer = await self._backend.connect()
        backend_writer.write(head)
        await asyncio.gather(
            _pass_on(reader, backend_writer, traffic.asked),
            _pass_on(backend_reader, writer, traffic.answered),
        )


def refusal(head: bytes, port: int, key: str) -> HTTPStatus | None:
    """Why a connection that begins with this head is refused; None when it is welcome.

    Args:
        head: request line and headers of an HTTP request, with the empty line.
        port: at which it arrived on 127.0.0.1.
        key: that it must carry as ``Authorization: Bearer KEY``.
    """
    fields: dict[str, list[str]] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), []).append(value.strip())
    if fields.get("host") not in ([f"127.0.0.1:{port}"], [f"localhost:{port}"]):
        return HTTPStatus.MISDIRECTED_REQUEST
    if "origin" in fields or fields.get("sec-fetch-site", ["none"]) != ["none"]:
        return HTTPStatus.FORBIDDEN
    shown = ",".join(fields.get("authorization", ()))
    if not hmac.compare_digest(shown.encode("latin-1"), f"Bearer {key}".encode("latin-1")):
        return HTTPStatus.UNAUTHORIZED
    return None


def random_loopback() -> str:
    """An address of this machine alone that nobody can guess; 127.0.0.1 where there is one only."""
    if not sys.platform.startswith("linux"):
        return "127.0.0.1"
    return ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Callable[[], None]
) -> None:
    """Bytes as they come, each piece told of; when one side ends, so does the other."""
    try:
        while piece := await reader.read(_PIECE_BYTES):
            passed()
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def _answer(status: HTTPStatus) -> bytes:
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode()
