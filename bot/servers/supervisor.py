"""The process that owns the child servers of one data directory.

``python -m bot.servers.supervisor DATA_DIR`` — started by the first client (`bot.servers.client`).
Each client holds one connection open for as long as it lives; when the last one is gone, whether
it said goodbye or was killed, the supervisor stops the servers and ends.

It holds a lock on `servers.owner`, which its children inherit: no second supervisor of the same
data directory starts a server while any process of the first is still alive.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bot.servers.child import Child, Pace
from bot.servers.values import ServerSpec
from bot.servers.wire import (
    LINE_LIMIT_BYTES,
    Contact,
    Line,
    contact_path,
    decode,
    encode,
    proof,
    proves,
    write_contact,
)

LEAVE_GRACE_SECONDS = 1.5
"""How long the servers outlive the last client, for the next command or a restarted app."""

FIRST_CLIENT_SECONDS = 15.0
"""How long the first client may take to connect."""

ROOM_SECONDS = 0.5
"""Between two looks at a group that is over its limit because all of it is answering."""

OWNER_TIMEOUT_SECONDS = 15.0
"""How long the servers of a supervisor that just ended may take to end too."""


def main(data_dir: Path) -> None:
    """Detach from whoever started this process, then supervise until the last client is gone."""
    if os.fork():  # the client reaps this process and waits for the report on the pipe
        os._exit(0)
    owner_lock = os.open(data_dir / "servers.owner", os.O_RDWR | os.O_CREAT, 0o600)
    if not _acquire(owner_lock):
        _report("servers of an earlier run are still alive")
        return
    asyncio.run(Supervisor(data_dir, owner_lock).run())


class Supervisor:
    """Answers clients, keeps the children, and ends with the last client."""

    def __init__(self, data_dir: Path, owner_lock: int, pace: Pace | None = None) -> None:
        self._data_dir = data_dir
        self._owner_lock = owner_lock
        self._pace = pace or Pace()
        self._key = secrets.token_urlsafe(32)
        self._children: dict[str, Child] = {}
        self._choosing = asyncio.Lock()
        self._clients = 0
        self._deserted = asyncio.Event()
        self._leaving: asyncio.TimerHandle | None = None
        self._trimming: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve until the last client is gone or the process is asked to stop."""
        loop = asyncio.get_running_loop()
        for stop_signal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(stop_signal, self._deserted.set)
        server = await asyncio.start_server(
            self._welcome, "127.0.0.1", 0, limit=LINE_LIMIT_BYTES, backlog=128
        )
        self._leave_in(FIRST_CLIENT_SECONDS)
        write_contact(self._data_dir, Contact(server.sockets[0].getsockname()[1], self._key))
        _report("")
        await self._deserted.wait()
        contact_path(self._data_dir).unlink(missing_ok=True)
        server.close()
        for trimming in self._trimming.values():
            trimming.cancel()
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one connection until it closes."""
        self._clients += 1
        self._leave_in(None)
        try:
            with suppress(OSError, asyncio.LimitOverrunError, ValueError):
                request = await self._authenticate(reader, writer)
                if request is not None:
                    writer.write(encode(await self._answer(request)))
                    await writer.drain()
                    await reader.read()
        finally:
            writer.close()
            self._clients -= 1
            if not self._clients:
                self._leave_in(LEAVE_GRACE_SECONDS)

    async def _authenticate(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Line | None:
        hello = decode(await reader.readline())
        nonce = secrets.token_hex(16)
        own_proof = proof(self._key, "supervisor", str(hello.get("nonce")))
        writer.write(encode({"proof": own_proof, "nonce": nonce}))
        request = decode(await reader.readline())
        return request if proves(request, self._key, "client", nonce) else None

    async def _answer(self, request: Line) -> Line:
        match request.get("do"):
            case "address":
                spec = ServerSpec(
                    **{**request["spec"], "command": tuple(request["spec"]["command"])}
                )
                return await self._address(spec, float(request["timeout_seconds"]))
            case "status":
                children = sorted(self._children.values(), key=lambda child: child.spec.name)
                return {"servers": [asdict(child.status) for child in children]}
            case "stop":
                async with self._choosing:
                    await self._stop(str(request["name"]))
                return {}
            case "set aside":
                folder, aside = Path(request["folder"]), Path(request["aside"])
                return await self._set_aside(str(request["name"]), folder, aside)
            case _:
                return {}

    async def _stop(self, name: str) -> None:
        """Stop a server; whoever asks for its address starts it again."""
        child = self._children.pop(name, None)
        if child is not None:
            await child.stop()

    async def _set_aside(self, name: str, folder: Path, aside: Path) -> Line:
        """Stop a server and move its folder away, before anybody can start it again."""
        async with self._choosing:
            await self._stop(name)
            try:
                folder.rename(aside)
            except FileNotFoundError:
                return {}
            except OSError as error:
                return {
                    "error": f"{folder} cannot be set aside: {error.strerror}.",
                    "cure": "Check the permissions of the folder that it is in.",
                }
        return {}

    async def _address(self, spec: ServerSpec, timeout_seconds: float) -> Line:
        child = await self._child(spec)
        address = await child.address(timeout_seconds)
        if address is not None:
            return asdict(address)
        status = child.status
        reason = status.detail or f"it was not ready after {timeout_seconds:.0f} seconds"
        return {
            "error": f"The server “{spec.name}” is not available: {reason}",
            "cure": f"Its whole output is in {self._data_dir / 'logs'}.",
        }

    async def _child(self, spec: ServerSpec) -> Child:
        """The child of a specification; started when there is none, its group kept small."""
        child = self._children.get(spec.name)
        if child is not None and child.spec == spec and not child.over:
            return child
        async with self._choosing:
            child = self._children.get(spec.name)
            if child is not None and (child.spec != spec or child.over):
                await child.stop()
                child = None
            if child is None:
                await self._make_room(spec, coming=1)
                child = Child(spec, self._data_dir / "logs", self._owner_lock, self._pace)
                self._children[spec.name] = child
            return child

    async def _make_room(self, spec: ServerSpec, *, coming: int) -> int:
        """Stop what was used least recently of a group that grows beyond its limit. What is
        answering is left alone, and stopped when it has done so; what is newer stays meanwhile.

        Returns:
            How many there are still too many.
        """
        if not spec.group or not spec.group_limit:
            return 0
        warm = [c for c in self._children.values() if c.spec.group == spec.group and not c.over]
        warm.sort(key=lambda child: child.last_used)
        excess = max(0, len(warm) + coming - spec.group_limit)
        idle = [child for child in warm[:excess] if not child.busy]
        for child in idle:
            await child.stop()
        trimming = self._trimming.get(spec.group)
        if len(idle) < excess and coming and (trimming is None or trimming.done()):
            self._trimming[spec.group] = asyncio.create_task(self._trim(spec))
        return excess - len(idle)

    async def _trim(self, spec: ServerSpec) -> None:
        """Bring a group back to its limit as its servers come to the end of their answers."""
        too_many = 1
        while too_many:
            await asyncio.sleep(ROOM_SECONDS)
            async with self._choosing:
                too_many = await self._make_room(spec, coming=0)

    def _leave_in(self, seconds: float | None) -> None:
        """End after the given seconds, unless somebody comes; None calls it off."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._leaving = loop.call_later(seconds, self._deserted.set)


def _acquire(owner_lock: int) -> bool:
    """Wait for the processes of an earlier supervisor to end."""
    deadline = time.monotonic() + OWNER_TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(owner_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)


def _report(error: str) -> None:
    """Tell the waiting client, and let go of its pipe."""
    sys.stdout.write(json.dumps({"error": error}))
    sys.stdout.flush()
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
