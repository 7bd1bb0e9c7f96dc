"""One process's access to the child servers of a data directory."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

import bot
from bot.errors import ServerError
from bot.servers.values import ServerAddress, ServerSpec, ServerStatus
from bot.servers.wire import Contact, Line, decode, encode, proof, proves, read_contact

HANDSHAKE_TIMEOUT_SECONDS = 5.0
SUPERVISOR_START_TIMEOUT_SECONDS = 30.0
SET_ASIDE_TIMEOUT_SECONDS = 30.0
ATTEMPTS = 3
"""How often a request is made when the supervisor dies under it."""

_ROOT = Path(bot.__file__).resolve().parent.parent


class Servers:
    """The child servers of one data directory, started when needed and shared by every process.

    Thread-safe. As long as it is open, the supervisor lives; a supervisor that died is started
    again by the next call.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._lock = threading.Lock()
        self._lease: socket.socket | None = None
        self._contact: Contact | None = None
        self._closed = False

    @classmethod
    def open(cls, data_dir: Path) -> Servers:
        """Join the supervisor of a data directory, starting it when there is none.

        Raises:
            ServerError: it cannot be started.
        """
        servers = cls(data_dir)
        servers._join()
        return servers

    def address(self, spec: ServerSpec, *, timeout_seconds: float = 60.0) -> ServerAddress:
        """Where a server listens; it is started when needed, and is healthy on return.

        Raises:
            ServerError: it ended at its start, keeps ending, or was not ready in time; the
                message carries the end of its output.
        """
        request = {"do": "address", "spec": asdict(spec), "timeout_seconds": timeout_seconds}
        answer = self._ask(request, timeout_seconds + HANDSHAKE_TIMEOUT_SECONDS)
        return ServerAddress(answer["base_url"], answer["key"])

    def status(self) -> list[ServerStatus]:
        """Every server that was asked for since the supervisor started, sorted by name."""
        answer = self._ask({"do": "status"}, HANDSHAKE_TIMEOUT_SECONDS)
        return [ServerStatus(**status) for status in answer["servers"]]

    def ports(self) -> frozenset[int]:
        """The loopback ports of the supervisor and of every server that listens now; none when
        there is no supervisor."""
        with self._lock:
            contact = self._contact
        if contact is None:
            return frozenset()
        try:
            addresses = [one.base_url for one in self.status()]
        except ServerError:
            addresses = []
        listening = {urlsplit(address).port or 0 for address in addresses if address}
        return frozenset({contact.port, *listening})

    def stop(self, name: str) -> None:
        """Stop a server that hangs, one way or another; the next request for its address starts
        it again.

        Raises:
            ServerError: the supervisor cannot be reached.
        """
        self._ask({"do": "stop", "name": name}, SET_ASIDE_TIMEOUT_SECONDS)

    def set_aside(self, name: str, folder: Path, aside: Path) -> None:
        """Stop a server and rename its folder, before anybody can start it again.

        The next request for its address starts it on an empty folder. A folder that is not
        there is passed over.

        Raises:
            ServerError: the folder cannot be renamed.
        """
        request = {"do": "set aside", "name": name, "folder": str(folder), "aside": str(aside)}
        self._ask(request, SET_ASIDE_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Leave the supervisor; with the last client it stops the servers and goes away."""
        with self._lock:
            self._closed = True
            self._drop()

    def _ask(self, request: Line, timeout_seconds: float) -> Line:
        for _ in range(ATTEMPTS):
            contact = self._join()
            try:
                with _connection(contact, request) as answers:
                    answers.settimeout(timeout_seconds)
                    answer = _read_line(answers)
            except OSError:
                self._forget(contact)
                continue
            if "error" in answer:
                raise ServerError(answer["error"], cure=answer.get("cure", ""))
            return answer
        raise ServerError(
            "The supervisor of the servers keeps dying.",
            cure=f"Look into {self._data_dir / 'logs' / 'supervisor.log'}.",
        )

    def _join(self) -> Contact:
        with self._lock:
            if self._closed:
                raise ServerError("The servers were closed.")
            if self._contact is None:
                self._contact, self._lease = _join_supervisor(self._data_dir)
            return self._contact

    def _forget(self, contact: Contact) -> None:
        with self._lock:
            if self._contact == contact:
                self._drop()

    def _drop(self) -> None:
        if self._lease is not None:
            self._lease.close()
        self._lease = self._contact = None


def _join_supervisor(data_dir: Path) -> tuple[Contact, socket.socket]:
    """Lease the running supervisor, or start one; two first clients start a single one."""
    try:
        (data_dir / "logs").mkdir(parents=True, exist_ok=True)
        joined = _lease(data_dir)
        if joined is not None:
            return joined
        with FileLock(data_dir / "servers.lock", timeout=SUPERVISOR_START_TIMEOUT_SECONDS):
            for _ in range(ATTEMPTS):
                joined = _lease(data_dir)
                if joined is not None:
                    return joined
                _start_supervisor(data_dir)
    except (OSError, Timeout, subprocess.TimeoutExpired) as error:
        raise ServerError(
            f"The servers of {data_dir} cannot be started: {error}.",
            cure="Check that the folder can be written to.",
        ) from error
    raise ServerError("The supervisor of the servers was started but cannot be reached.")


def _lease(data_dir: Path) -> tuple[Contact, socket.socket] | None:
    contact = read_contact(data_dir)
    if contact is None:
        return None
    try:
        connection = _connect(contact, {"do": "lease"})
    except OSError:
        return None
    try:
        _read_line(connection)
    except OSError:
        connection.close()
        return None
    return contact, connection


def _start_supervisor(data_dir: Path) -> None:
    """Start the supervisor as a process of its own and wait until it can be reached."""
    log = data_dir / "logs" / "supervisor.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "bot.servers.supervisor", str(data_dir)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=_ROOT,
            start_new_session=True,
        ) as process,
    ):
        report, _ = process.communicate(timeout=SUPERVISOR_START_TIMEOUT_SECONDS)
    try:
        error = json.loads(report)["error"]
    except (ValueError, KeyError):
        error = f"it ended at once; look into {log}"
    if error:
        raise ServerError(f"The supervisor of the servers cannot be started: {error}.")


@contextmanager
def _connection(contact: Contact, request: Line) -> Iterator[socket.socket]:
    connection = _connect(contact, request)
    with connection:
        yield connection


def _connect(contact: Contact, request: Line) -> socket.socket:
    """Send a request over a new connection on which both sides have proved the key.

    Raises:
        OSError: nobody listens there, or somebody else does.
    """
    connection = socket.create_connection(("127.0.0.1", contact.port), HANDSHAKE_TIMEOUT_SECONDS)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = secrets.token_hex(16)
        connection.sendall(encode({"nonce": nonce}))
        answer = _read_line(connection)
        if not proves(answer, contact.key, "supervisor", nonce):
            raise ConnectionError("somebody else listens on the supervisor's port")
        answer_proof = proof(contact.key, "client", str(answer.get("nonce")))
        connection.sendall(encode({**request, "proof": answer_proof}))
    except BaseException:
        with suppress(OSError):
            connection.close()
        raise
    return connection


def _read_line(connection: socket.socket) -> Line:
    received = b""
    while not received.endswith(b"\n"):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the supervisor went away")
        received += piece
    return decode(received)
