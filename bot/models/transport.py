"""HTTP connections that survive being closed by the server while they were idle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2

MOST_ERROR_BYTES = 65_536
"""What is read of the body of a refusal; the rest is left."""

MOST_BYTES = 64_000_000
"""What is read of any body: no answer of a model server is as long."""


class FreshTransport(httpx2.AsyncHTTPTransport):
    """Sends a request once more when a *reused* connection breaks before any answer.

    A server may close an idle connection at the very moment in which it is used again; that says
    nothing about the request. A failure on a new connection is reported as it is.

    No body is read without an end, and none that was compressed without being asked to be: a few
    bytes of it may become gigabytes.
    """

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
