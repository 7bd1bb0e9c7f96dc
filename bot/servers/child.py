"""One child server inside the supervisor: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bot.servers.guard import Backend, Guard, random_loopback
from bot.servers.seal import seal
from bot.servers.values import KEY_VARIABLE, ServerAddress, ServerSpec, ServerState, ServerStatus

LEASH = Path(__file__).with_name("leash.py")
OUTPUT_TAIL_LINES = 12
OUTPUT_TAIL_BYTES = 2000

HANDED_OUT_SECONDS = 2.0
"""Whoever asked for an address is given this long to connect."""

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|DATABASE_URL|BASE_URL", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently a child is started, watched and stopped.

    Args:
        start_seconds: a child that is not healthy by then is killed.
        poll_seconds: between two looks at a starting child.
        watch_seconds: between two looks at a ready child.
        watch_misses: unanswered looks in a row after which a ready child is killed.
        first_delay_seconds: before the first restart; every further delay is twice as long.
        longest_delay_seconds: no delay is longer.
        stable_seconds: a child that lived so long is restarted as if it had never failed.
        start_attempts: ends in a row after which a child that was never ready is given up.
        restart_attempts: the same for one that was ready before.
        stop_seconds: between asking a child to stop and killing it.
        log_bytes: a longer log is emptied.
    """

    start_seconds: float = 120.0
    poll_seconds: float = 0.03
    watch_seconds: float = 5.0
    watch_misses: int = 6
    first_delay_seconds: float = 0.1
    longest_delay_seconds: float = 5.0
    stable_seconds: float = 30.0
    start_attempts: int = 2
    restart_attempts: int = 8
    stop_seconds: float = 3.0
    log_bytes: int = 4 << 20

    def delay_seconds(self, failures: int) -> float:
        """How long to wait before the restart that follows the given failures in a row."""
        return float(
            min(self.longest_delay_seconds, self.first_delay_seconds * 2 ** (failures - 1))
        )


class Child:
    """A child server that is kept running until it is stopped or keeps failing.

    Made inside the supervisor's event loop, which must run in the main thread: Linux ends a
    leashed process with the *thread* that started it.
    """

    def __init__(self, spec: ServerSpec, logs: Path, owner_lock: int, pace: Pace) -> None:
        self.spec = spec
        self.last_used = time.monotonic()
        self._log = logs / f"{re.sub(r'[^A-Za-z0-9.+_-]', '_', spec.name)}.log"
        self._owner_lock = owner_lock
        self._pace = pace
        self._state: ServerState = "starting"
        self._address: ServerAddress | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._guard: Guard | None = None
        self._restarts = 0
        self._detail = ""
        self._ready = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep(), name=f"keep {spec.name}")

    @property
    def over(self) -> bool:
        """Whether it was stopped or given up."""
        return self._keeping.done()

    @property
    def busy(self) -> bool:
        """Whether it is answering somebody, starting, or was asked for a moment ago."""
        if time.monotonic() - self.last_used < HANDED_OUT_SECONDS or not self._ready.is_set():
            return not self.over
        return self._guard is not None and self._guard.busy

    @property
    def status(self) -> ServerStatus:
        """How it is now."""
        return ServerStatus(
            name=self.spec.name,
            state=self._state,
            base_url=self._address.base_url if self._address else "",
            pid=self._process.pid if self._process else None,
            restarts=self._restarts,
            detail=self._detail,
        )

    async def address(self, timeout_seconds: float) -> ServerAddress | None:
        """Its address once it is healthy; None when it was given up or time ran out."""
        self.last_used = time.monotonic()
        if self._address is None or not self._ready.is_set():
            ready = asyncio.ensure_future(self._ready.wait())
            await asyncio.wait(
                {ready, self._keeping},
                timeout=timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            ready.cancel()
            self.last_used = time.monotonic()
        return self._address if self._ready.is_set() else None

    async def stop(self) -> None:
        """Stop it for good and wait until its process is gone."""
        if not self._keeping.done():
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
            self._state = "stopped"

    async def _keep(self) -> None:
        failures, was_ready = 0, False
        while True:
            ready_seconds = await self._run_once()
            was_ready = was_ready or ready_seconds is not None
            if ready_seconds is not None and ready_seconds >= self._pace.stable_seconds:
                failures = 0
            failures += 1
            attempts = self._pace.restart_attempts if was_ready else self._pace.start_attempts
            if failures >= attempts:
                self._state = "failed"
                return
            self._state = "restarting"
            await asyncio.sleep(self._pace.delay_seconds(failures))
            self._restarts += 1

    async def _run_once(self) -> float | None:
        """Run one process until it ends; the seconds it was ready, None when it never was."""
        backend, key = _free_backend(self.spec.command), secrets.token_urlsafe(32)
        self._guard = guard = Guard(backend, key)
        try:
            self._process = process = await self._spawn(backend, key)
        except OSError as error:
            self._detail = f"it cannot be started: {error}"
            return None
        ended = asyncio.ensure_future(process.wait())
        try:
            if not await self._becomes_healthy(backend, ended):
                return None
            if not seal(process.pid, backend.source):
                sys.stderr.write(f"{self.spec.name}: the port behind its guard is not sealed\n")
            await guard.open()
            ready_at = time.monotonic()
            self._address = ServerAddress(f"http://127.0.0.1:{guard.port}", key)
            self._state, self._detail = "ready", ""
            self._ready.set()
            await self._watch(backend, ended)
            return time.monotonic() - ready_at
        finally:
            self._ready.clear()
            self._address = None
            await guard.close()
            await self._end(process, ended)
            if not self._detail:
                self._detail = f"it ended with {_outcome(process.returncode)}"
            self._detail = self._with_output(self._detail, key)
            self._process = None

    async def _spawn(self, backend: Backend, key: str) -> asyncio.subprocess.Process:
        command = [
            part.replace("{host}", backend.host).replace("{port}", str(backend.port))
            for part in self.spec.command
        ]
        self._detail = ""
        with self._log.open("wb") as truncated:
            truncated.truncate()
        with self._log.open("ab") as output:  # appending, so that it can be emptied later
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=_without_secrets(os.environ) | {KEY_VARIABLE: key},
                pass_fds=(self._owner_lock,),
            )

    async def _becomes_healthy(self, backend: Backend, ended: asyncio.Future[int]) -> bool:
        deadline = time.monotonic() + self._pace.start_seconds
        while not ended.done():
            if await _is_healthy(backend, self.spec.health_path, self._pace.watch_seconds):
                return True
            if time.monotonic() > deadline:
                self._detail = f"it was not ready after {self._pace.start_seconds:.0f} seconds"
                return False
            await asyncio.wait({ended}, timeout=self._pace.poll_seconds)
        return False

    async def _watch(self, backend: Backend, ended: asyncio.Future[int]) -> None:
        """Return when the process has ended or does not answer any more."""
        misses = 0
        while misses < self._pace.watch_misses:
            await asyncio.wait({ended}, timeout=self._pace.watch_seconds)
            if ended.done():
                return
            healthy = await _is_healthy(backend, self.spec.health_path, self._pace.watch_seconds)
            misses = 0 if healthy else misses + 1
            with suppress(OSError):
                if self._log.stat().st_size > self._pace.log_bytes:
                    os.truncate(self._log, 0)
        self._detail = "it did not answer any more and was killed"

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
        """Make sure that the process is gone: ask it, then kill it."""
        if not ended.done():
            with suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait({ended}, timeout=self._pace.stop_seconds)
        if not ended.done():
            with suppress(ProcessLookupError):
                process.kill()
        await ended

    def _with_output(self, detail: str, key: str) -> str:
        with suppress(OSError):
            raw = self._log.read_bytes()[-OUTPUT_TAIL_BYTES:]
            lines = raw.decode(errors="replace").replace(key, "…").strip().splitlines()
            return "\n".join([detail, *lines[-OUTPUT_TAIL_LINES:]])
        return detail


def _free_backend(command: tuple[str, ...]) -> Backend:
    """Where the next process shall listen, and the address from which its guard will come."""
    host = random_loopback() if any("{host}" in part for part in command) else "127.0.0.1"
    with socket.socket() as probe:
        probe.bind((host, 0))
        return Backend(host, int(probe.getsockname()[1]), random_loopback())


async def _is_healthy(backend: Backend, path: str, timeout_seconds: float) -> bool:
    """Whether GET is answered with status 200."""
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await backend.connect()
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


def _outcome(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"exit status {returncode}"


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a child, which needs no key of any other server."""
    return {name: value for name, value in environment.items() if not _SECRET.search(name)}
