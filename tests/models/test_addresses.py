"""Addresses from the page: what is refused, before and after a name is looked up."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from bot.errors import AddressRefused, ModelError, ModelUnavailable
from bot.models import transport
from bot.models.addresses import AddressPolicy
from bot.models.client import Endpoint
from bot.testing import Reply, ScriptedModel
from tests.models.wire_server import answering, ask, moved, run

REFUSED_URLS = (
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/_",
    "ftp://example.com/",
    "FILE:///etc/passwd",
    "javascript:alert(1)",
    "//example.com/v1",
    "example.com/v1",
    "",
    "http://",
    "http:///v1",
    "http://user:password@example.com/v1",
    "http://127.0.0.1@169.254.169.254/v1",
    "http://169.254.169.254/latest/meta-data",
    "http://169.254.1.1:8000/v1",
    "http://[fe80::1]/v1",
    "http://[fe80::1%25eth0]/v1",
    "http://[fd00:ec2::254]/v1",
    "http://[::ffff:169.254.169.254]/v1",
    "http://[64:ff9b::a9fe:a9fe]/v1",
    "http://100.100.100.200/v1",
    "http://0.0.0.0:8000/v1",
    "http://[::]/v1",
    "http://224.0.0.1/v1",
    "http://metadata.google.internal/v1",
    "http://METADATA.google.internal./v1",
    "http://127.0.0.1:8501/v1",
    "http://[::1]:8501/v1",
    "http://127.0.0.1:99999/v1",
    "http://example.com/\nHost: other",
    "http://example.com\\@169.254.169.254/",
)
ALLOWED_URLS = (
    "http://127.0.0.1:11434/v1",
    "http://localhost:1234/v1",
    "http://192.168.1.20:8000/v1",
    "http://10.0.0.5/v1",
    "http://[fd12:3456::1]:8000/v1",
    "https://api.groq.com/openai/v1",
    "HTTPS://API.GROQ.COM/openai/v1",
)
POLICY = AddressPolicy(own_ports=frozenset({8501}))


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_hostile_address_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        POLICY.check_url(url)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("url", ALLOWED_URLS)
def test_the_address_of_a_model_server_is_allowed(url: str) -> None:
    POLICY.check_url(url)


@pytest.mark.parametrize(
    "host", ["2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "metadata-alias"]
)
def test_other_spellings_of_a_refused_address_are_seen_when_looked_up(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    name = "169.254.169.254" if host == "metadata-alias" else host

    def looked_up(asked: Any, *rest: Any, **options: Any) -> Any:
        return real(name if asked in (host, host.encode()) else asked, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    POLICY.check_url(f"http://{host}/v1")  # only a name so far
    endpoint = Endpoint(f"http://{host}/v1", "", "m", policy=POLICY)
    with pytest.raises(ModelError, match=r"169\.254\.169\.254|is not one"):
        asyncio.run(ask(endpoint))


def test_the_address_that_was_checked_is_the_one_that_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that stands for something else at the second look is looked up only once."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *rest: Any, **options: Any) -> Any:
        if host in ("rebinding.example", b"rebinding.example"):
            looked_up.append(str(host))
            host = "127.0.0.1" if len(looked_up) == 1 else "169.254.169.254"
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with ScriptedModel([Reply("Hello.")]) as server:
        endpoint = Endpoint(
            f"http://rebinding.example:{server.port}/v1",
            server.endpoint().key,
            "scripted",
            policy=POLICY,
        )
        assert asyncio.run(ask(endpoint))[0] == "Hello."
    assert len(looked_up) == 1


def test_one_refused_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    network = transport.GuardedNetwork(POLICY)

    async def both(*_: Any) -> list[str]:
        return ["127.0.0.1", "169.254.169.254"]

    monkeypatch.setattr(network, "_looked_up", both)
    with pytest.raises(AddressRefused):
        asyncio.run(network.connect_tcp("two.example", 9))


def test_a_redirect_is_not_followed() -> None:
    async def test() -> None:
        async with answering() as target, answering(moved(f"{target.endpoint.base_url}/x")) as seen:
            with pytest.raises(ModelError):
                await ask(seen.endpoint)
            assert target.connections == 0

    run(test)


def test_the_own_ports_are_refused_when_connecting() -> None:
    with ScriptedModel() as server:
        policy = AddressPolicy(frozenset({server.port}))
        endpoint = Endpoint(f"http://localhost:{server.port}/v1", "", "m", policy=policy)
        with pytest.raises(AddressRefused, match="Triptych itself"):
            asyncio.run(ask(endpoint))
        assert server.requests == []


def test_a_name_that_nobody_has_is_not_running() -> None:
    endpoint = Endpoint("http://no-such-host.invalid/v1", "", "m", policy=POLICY)
    with pytest.raises(ModelUnavailable):
        asyncio.run(ask(endpoint))
