"""A server that is told, byte for byte, what to answer: it fails in ways that no good one does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bot.messages import Message
from bot.models.client import Completion, Delta, Endpoint, Sampling, stream

HANG_UP = b""
"""Close the connection without an answer."""

QUESTION = [Message("user", "How long does the kiln cool?")]


@dataclass
class Seen:
    """What arrived: how many connections, and the body of each request."""

    endpoint: Endpoint
    connections: int = 0
    bodies: list[dict[str, object]] = field(default_factory=list)


@asynccontextmanager
async def answering(*answers: bytes, then_hang_up: bool = False) -> AsyncIterator[Seen]:
    """Serve the answers in order, whatever is asked; connections are kept alive."""
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                seen.bodies.append(json.loads(await reader.readexactly(length)))
                answer = left.pop(0)
                if answer == HANG_UP:
                    return
                writer.write(answer)
                await writer.drain()
                if then_hang_up and not left:
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    seen = Seen(Endpoint(f"http://127.0.0.1:{port}/v1", "key", "kiln-model"))
    try:
        yield seen
    finally:
        server.close()
    assert not left, "an answer was not asked for"


def streamed(*texts: str, end: bool = True) -> bytes:
    """A whole streamed answer."""
    parts: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        for text in texts
    ]
    if end:
        parts.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        parts.append(
            {
                "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
            }
        )
    lines = [f"data: {json.dumps(part)}\n\n" for part in parts]
    if end:
        lines.append("data: [DONE]\n\n")
    return _response("200 OK", "text/event-stream", "".join(lines))


def refused(status: int, **error: object) -> bytes:
    """An error as llama.cpp reports it."""
    return _response(f"{status} No", "application/json", json.dumps({"error": error}))


def page(text: str) -> bytes:
    """An answer of something that is not a model server."""
    return _response("200 OK", "text/html", text)


def moved(address: str) -> bytes:
    """A redirect."""
    head = f"HTTP/1.1 307 Moved\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n"
    return head.encode()


def _response(status: str, kind: str, body: str) -> bytes:
    raw = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


async def ask(
    endpoint: Endpoint,
    messages: Sequence[Message] = QUESTION,
    *,
    max_tokens: int = 40,
    timeout_seconds: float = 60.0,
) -> tuple[str, Completion]:
    """A whole answer at temperature 0: its text and its end."""
    text, end = "", None
    sampling = Sampling(max_tokens, 0.0, 7)
    async for piece in stream(endpoint, messages, sampling, timeout_seconds=timeout_seconds):
        if isinstance(piece, Delta):
            text += piece.text
        else:
            end = piece
    assert end is not None
    return text, end


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine in an event loop of its own."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await test()

    asyncio.run(bounded())
