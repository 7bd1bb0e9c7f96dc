"""A web server in a thread, for everything that is neither a script nor byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Call:
    """One request as it arrived; its body parsed when it is JSON."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What is answered: `value` as JSON, or `body` as it is.

    Args:
        lines: one JSON document a line, as Ollama streams.
        cut_after: the connection is cut after this many bytes; negative for never.
    """

    value: Any = None
    body: bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    lines: list[Any] | None = None
    cut_after: int = -1

    def content(self) -> bytes:
        if self.lines is not None:
            return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)
        return json.dumps(self.value).encode() if self.body is None else self.body


@dataclass
class Site:
    """A server that is running, and what it was asked."""

    base_url: str
    calls: list[Call] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Call], Answer]) -> Iterator[Site]:
    """Answer every request with what a function makes of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            is_json = "json" in headers.get("content-type", "json")
            body = json.loads(raw) if raw and is_json else raw or None
            call = Call(self.command, self.path, headers, body)
            site.calls.append(call)
            made = answer(call)
            content = made.content()
            self.send_response(made.status)
            for name, value in {"content-length": str(len(content)), **made.headers}.items():
                self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            if self.command != "HEAD":
                whole = made.cut_after < 0
                self.wfile.write(content if whole else content[: made.cut_after])

        do_GET = do_POST = do_HEAD = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
