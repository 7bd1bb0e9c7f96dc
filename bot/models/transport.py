"""HTTP connections that survive being closed by the server while they were idle."""

from __future__ import annotations

from typing import Any

import httpx2


class FreshTransport(httpx2.AsyncHTTPTransport):
    """Sends a request once more when a *reused* connection breaks before any answer.

    A server may close an idle connection at the very moment in which it is used again; that says
    nothing about the request. A failure on a new connection is reported as it is.
    """

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, see above."""
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
