"""A stranger who tries every port of some processes, as a hostile web page or program would."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SILENCE_SECONDS = 0.7
"""How long an answer is waited for: what a sealed port drops is never answered."""

_EVIL = "evil.example"


@dataclass(frozen=True, slots=True)
class Port:
    """A listening socket, and the process that has it."""

    pid: int
    host: str
    number: int

    def __str__(self) -> str:
        return f"{self.host}:{self.number} of process {self.pid}"


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Every process that works on a data directory, and every child of one."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        try:
            said = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(word == str(data_dir) or word.startswith(f"{data_dir}/") for word in said):
            found |= {process, *process.children(recursive=True)}
    return sorted(found, key=lambda process: process.pid)


def ports_of(processes: Iterable[psutil.Process]) -> list[Port]:
    """Every TCP port on which the processes listen."""
    return sorted(
        {
            Port(process.pid, one.laddr.ip, one.laddr.port)
            for process in processes
            for one in process.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        },
        key=lambda port: port.number,
    )


def breaches(port: Port) -> list[str]:
    """What a stranger gets out of a port; nothing when it is refused or not answered at all."""
    if not _opens(port):
        return []
    return [
        f"{port}: {request.split(chr(13), 1)[0]} ({name}) is answered with {head}"
        for name, request in _requests(port)
        if (head := _answer(port, request)) and not _refused(head)
    ]


def _requests(port: Port) -> Iterator[tuple[str, str]]:
    here = f"{port.host}:{port.number}"
    for path in ("/", "/health", "/v1/models", "/api/v2/heartbeat", "/_stcore/health"):
        yield "foreign host", _request("GET", path, _EVIL)
        yield "foreign host and port", _request("GET", path, f"{_EVIL}:{port.number}")
        yield "foreign origin", _request("GET", path, here, f"http://{_EVIL}")
        yield "origin null", _request("GET", path, here, "null")
    for path in ("/lora-adapters", "/v1/chat/completions", "/api/v2/reset", "/api/v2/tenants"):
        yield "simple post", _request("POST", path, here, f"http://{_EVIL}", "text/plain")
        yield "foreign host", _request("POST", path, _EVIL, "", "application/json")
        yield "preflight", _request("OPTIONS", path, here, f"http://{_EVIL}")
    yield "web socket", _upgrade(here, f"http://{_EVIL}")
    yield "web socket", _upgrade(_EVIL, "")


def _request(method: str, path: str, host: str, origin: str = "", kind: str = "") -> str:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    if origin:
        lines += [f"Origin: {origin}", "Access-Control-Request-Method: POST"]
    body = "[]" if kind else ""
    if kind:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


def _upgrade(host: str, origin: str) -> str:
    return "\r\n".join(
        [
            "GET /_stcore/stream HTTP/1.1",
            f"Host: {host}",
            *([f"Origin: {origin}"] if origin else []),
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *["", ""],
        ]
    )


def _opens(port: Port) -> bool:
    try:
        socket.create_connection((port.host, port.number), SILENCE_SECONDS).close()
    except OSError:
        return False
    return True


def _answer(port: Port, request: str) -> str:
    """The head of the answer; empty when the connection was closed or nothing was said."""
    try:
        with socket.create_connection((port.host, port.number), SILENCE_SECONDS) as connection:
            connection.settimeout(10)
            connection.sendall(request.encode())
            received = connection.recv(65536)
    except OSError:
        return ""
    return received.split(b"\r\n\r\n", 1)[0].decode("latin-1")


def _refused(head: str) -> bool:
    status = head.split(" ", 2)[1:2]
    return bool(status) and status[0].startswith("4") and "access-control" not in head.lower()
