"""No port that Triptych opens answers a stranger: neither a foreign host nor a foreign origin."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from bot.library.vectors import chroma_spec
from bot.servers import ServerAddress
from bot.servers.guard import HEAD_LIMIT_BYTES, random_loopback, refusal
from bot.servers.seal import seal
from bot.services import Services
from tests.strangers import Port, breaches, ports_of, processes_of


def test_no_port_of_the_servers_answers_a_stranger(services: Services) -> None:
    services.model.endpoint()
    services.servers.address(chroma_spec(services.settings.data_dir))
    ports = ports_of(processes_of(services.settings.data_dir))
    assert len(ports) >= 5  # supervisor, two guards, the two children behind them
    assert [breach for port in ports for breach in breaches(port)] == []


@pytest.fixture
def chroma(services: Services) -> ServerAddress:
    return services.servers.address(chroma_spec(services.settings.data_dir))


def test_the_key_opens_a_server_and_nothing_else_does(chroma: ServerAddress) -> None:
    url = f"{chroma.base_url}/api/v2/heartbeat"
    key = {"Authorization": f"Bearer {chroma.key}"}
    assert httpx.get(url, headers=key).status_code == 200
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer x"}).status_code == 401
    assert httpx.get(url, headers={**key, "Host": "evil.example"}).status_code == 421
    assert httpx.get(url, headers={**key, "Origin": "http://evil.example"}).status_code == 403
    assert httpx.get(url, headers={**key, "Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:8\r\nAuthorization: Bearer k\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nhost:localhost:8\r\nAUTHORIZATION:Bearer k\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer k\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nAuthorization: Bearer k\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:8\r\nHost: e\r\nAuthorization: Bearer k\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:8\r\nAuthorization: Bearer kk\r\n\r\n", 401),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:8\r\nAuthorization: Bearer é\r\n\r\n", 401),
        (
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:8\r\nAuthorization: Bearer k\r\n"
            "Authorization: Bearer k\r\n\r\n",
            401,
        ),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:8\r\nOrigin:\r\nAuthorization: Bearer k\r\n\r\n", 403),
    ],
)
def test_who_is_let_in(head: str, status: int | None) -> None:
    assert refusal(head.encode("latin-1"), 8, "k") == status


def test_what_follows_a_refused_request_is_not_read(chroma: ServerAddress) -> None:
    port = int(chroma.base_url.rpartition(":")[2])
    good = f"GET /api/v2/heartbeat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    good += f"Authorization: Bearer {chroma.key}\r\n\r\n"
    smuggled = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(good)}\r\n\r\n{good}"
    assert _said(port, smuggled.encode()).startswith(b"HTTP/1.1 421 ")
    assert _said(port, smuggled.encode()).count(b"HTTP/1.1") <= 1


def test_a_head_without_end_is_not_collected_for_ever(chroma: ServerAddress) -> None:
    port = int(chroma.base_url.rpartition(":")[2])
    assert _said(port, b"GET / HTTP/1.1\r\nX: " + b"x" * (8 * HEAD_LIMIT_BYTES)) == b""


def test_the_stranger_finds_a_server_without_a_guard() -> None:
    class Friendly(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Friendly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = breaches(Port(os.getpid(), "127.0.0.1", server.server_address[1]))
        server.shutdown()
    assert len(found) > 10


LISTENS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"secret")
    connection.close()
"""


@pytest.fixture
def listener() -> Iterator[tuple[int, int]]:
    """A process that tells its secret to whoever connects, and its port."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", LISTENS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the seal is Linux's")
def test_a_sealed_port_answers_its_one_source_only(listener: tuple[int, int]) -> None:
    pid, port = listener
    assert _heard(port, "127.0.0.1") == b"secret"
    source = random_loopback()
    if not seal(pid, source):
        pytest.skip("this machine does not let a process seal the ports of its children")
    assert _heard(port, source) == b"secret"
    assert _heard(port, "127.0.0.1") == b""
    assert _heard(port, random_loopback()) == b""


def test_a_process_that_is_gone_is_not_said_to_be_sealed() -> None:
    assert not seal(2**22 + 1, "127.1.2.3")


def _heard(port: int, source: str) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5, (source, 0)) as connection:
            return connection.recv(100)
    except OSError:
        return b""


def _said(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            connection.sendall(request)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            return b""
        return received
