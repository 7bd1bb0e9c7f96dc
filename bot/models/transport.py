"""HTTP connections: alive after an idle close, and only to addresses that are allowed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import httpcore2
import httpx2
from httpcore2 import AsyncConnectionInterface

from bot.models.addresses import AddressPolicy

MOST_ERROR_BYTES = 65_536
"""What is read of the body of a refusal; the rest is left."""

MOST_BYTES = 16_000_000
"""What is read of any body: no answer of a model server is as long."""


class FreshTransport(httpx2.AsyncHTTPTransport):
    """Sends a request once more when a *reused* connection breaks before any answer.

    A server may close an idle connection at the very moment in which it is used again; that says
    nothing about the request. A failure on a new connection is reported as it is.

    No body is read without an end, and none that was compressed without being asked to be: a few
    bytes of it may become gigabytes.

    Args:
        policy: what may be connected to; None for everything.
    """

    def __init__(self, *, limits: httpx2.Limits, policy: AddressPolicy | None = None) -> None:
        ssl_context = httpx2.create_ssl_context()
        super().__init__(verify=ssl_context)
        self._pool = _Pool(
            ssl_context=ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=GuardedNetwork(policy) if policy is not None else None,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, see above.

        Raises:
            httpx2.TransportError: there is no answer, or none that may be read.
        """
        response = await self._answered(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("a compressed answer was not asked for")
        limit_bytes = MOST_ERROR_BYTES if response.status_code >= 300 else MOST_BYTES
        response.stream = _Bounded(cast(httpx2.AsyncByteStream, response.stream), limit_bytes)
        return response

    async def _answered(self, request: httpx2.Request) -> httpx2.Response:
        connected = False

        async def notice(event: str, _details: dict[str, Any]) -> None:
            nonlocal connected
            connected = connected or event.startswith("connection.connect_tcp")

        request.extensions = {**request.extensions, "trace": notice}
        try:
            return await super().handle_async_request(request)
        except (httpx2.NetworkError, httpx2.RemoteProtocolError):
            if connected:
                raise
            return await super().handle_async_request(request)


class _Pool(httpcore2.AsyncConnectionPool):
    """Closes every connection that it lets go of.

    The library's own stops at the first when the request that came upon them is cancelled
    meanwhile, and nobody closes the others.
    """

    async def _close_connections(self, closing: list[AsyncConnectionInterface]) -> None:
        if closing:
            await asyncio.shield(super()._close_connections(closing))


class _Bounded(httpx2.AsyncByteStream):
    """A body of which only the beginning is read."""

    def __init__(self, body: httpx2.AsyncByteStream, limit_bytes: int) -> None:
        self._body = body
        self._left_bytes = limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece[: self._left_bytes]
            self._left_bytes -= len(piece)
            if self._left_bytes <= 0:
                return

    async def aclose(self) -> None:
        await self._body.aclose()


class GuardedNetwork(httpcore2.AnyIOBackend):
    """Connects only to addresses that a policy allows.

    A name is looked up once, every address it stands for is checked, and one of those very
    addresses is connected to: a name that means something else a moment later gains nothing.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Open a connection, see above.

        Raises:
            AddressRefused: the name stands for an address that is not allowed.
        """
        addresses = await self._looked_up(host, port, timeout)
        for address in addresses:
            self._policy.check_address(address, port)
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await super().connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _looked_up(self, host: str, port: int, timeout: float | None) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} was not found in time") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} was not found") from error
        return list(dict.fromkeys(str(one[4][0]) for one in found))
