"""Headers that keep a page to itself: what it may load, where it may talk to, who may frame it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", re.ASCII)


def security_headers(host: str) -> dict[str, str]:
    """The headers that every response carries.

    Args:
        host: the request's own Host header; the page may open a web socket to it alone.
    """
    return {
        "Content-Security-Policy": _policy(host),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


class SecurityHeaders:
    """ASGI middleware that puts `security_headers` on every response, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to what comes back."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = security_headers(_host(scope))

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class OwnOrigin:
    """ASGI middleware that refuses what another page's script or form sends here.

    A browser names the origin of the page that sends something; requests without one are those
    of people and programs. `Origin: null` is what a page in a sandbox says: a stranger, too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when its origin is this host, or when it has none."""
        if scope["type"] in ("http", "websocket") and _is_foreign(scope):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # answered with status 403
            else:
                refusal = PlainTextResponse("Another site sent this request.", status_code=403)
                await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def server_error(request: Request, _error: Exception) -> PlainTextResponse:
    """The answer to a request that failed unexpectedly: no details, the same headers."""
    return PlainTextResponse(
        "Something went wrong; the server's log says what.",
        status_code=500,
        headers=security_headers(_host(request.scope)),
    )


def _is_foreign(scope: Scope) -> bool:
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    host = _host(scope)
    own = {f"http://{host}", f"https://{host}"} if host else set()
    return any(origin not in own for origin in origins)


def _host(scope: Scope) -> str:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return values[0] if values and _HOST.fullmatch(values[0]) else ""


def _policy(host: str) -> str:
    socket = f" ws://{host} wss://{host}" if host else ""
    scripts = " ".join(_inline_script_hashes())
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {scripts}".rstrip(),
            "style-src 'self' 'unsafe-inline'",  # Streamlit styles its elements in the page
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' data: blob:",
            f"connect-src 'self'{socket}",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


@cache
def _inline_script_hashes() -> tuple[str, ...]:
    """Hashes of the scripts inside Streamlit's own index page, which the policy admits."""
    index = Path(streamlit.__file__).parent / "static" / "index.html"
    scripts = _INLINE_SCRIPT.findall(index.read_text(encoding="utf-8"))
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
