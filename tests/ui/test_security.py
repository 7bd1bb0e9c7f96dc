"""Headers on every response, also on those that something else than the page makes."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from bot.ui.security import OwnOrigin, SecurityHeaders, security_headers, server_error


async def fine(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("fine")


async def broken(_request: Request) -> PlainTextResponse:
    raise RuntimeError("a secret detail")


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


@pytest.fixture
def client() -> TestClient:
    app = Starlette(
        routes=[
            Route("/fine", fine, methods=["GET", "POST"]),
            Route("/broken", broken),
            WebSocketRoute("/chat", chat),
        ],
        middleware=[Middleware(SecurityHeaders), Middleware(OwnOrigin)],
        exception_handlers={Exception: server_error},
    )
    return TestClient(app, base_url="http://localhost:8501", raise_server_exceptions=False)


@pytest.mark.parametrize(("path", "status"), [("/fine", 200), ("/missing", 404), ("/broken", 500)])
def test_every_status_carries_the_headers(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert "secret" not in response.text
    for name, value in security_headers("localhost:8501").items():
        assert response.headers[name] == value


@pytest.mark.parametrize("host", ["evil.example; script-src *", "a b", "", "x" * 3 + "\n"])
def test_a_host_that_is_no_host_does_not_get_into_the_policy(client: TestClient, host: str) -> None:
    response = client.get("/fine", headers={"Host": host})
    assert "connect-src 'self';" in response.headers["Content-Security-Policy"]


def test_the_policy_admits_streamlit_s_inline_script_by_hash_only() -> None:
    policy = security_headers("localhost:8501")["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'sha256-" in scripts
    assert "unsafe" not in scripts
    assert "http" not in scripts


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8501", 200),
        ("https://localhost:8501", 200),
        ("http://localhost:8502", 403),
        ("http://localhost", 403),
        ("http://evil.example", 403),
        ("http://localhost:8501.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_what_another_site_sends_is_refused(client: TestClient, origin: str, status: int) -> None:
    response = client.post("/fine", headers={"Origin": origin})
    assert response.status_code == status
    assert "content-security-policy" in response.headers
    assert "access-control-allow-origin" not in response.headers
    if status == 200:
        with client.websocket_connect("ws://localhost:8501/chat", headers={"Origin": origin}):
            pass
    else:
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("ws://localhost:8501/chat", headers={"Origin": origin}),
        ):
            pass


def test_two_origins_are_one_too_many(client: TestClient) -> None:
    twice = [("Origin", "http://localhost:8501"), ("Origin", "http://evil.example")]
    assert client.post("/fine", headers=twice).status_code == 403
