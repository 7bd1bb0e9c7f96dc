"""A model that plays a script: a real chat-completions server on a real socket.

Everything that is not the model can be tested against it, failures included::

    with ScriptedModel([Reply("The K30 costs 900 euros.")]) as model:
        ...  # `model` is a Model of bot.chat.compare; model.endpoint() says where it answers

A request that no reply is left for, and a reply that nobody asked for, fail the test when the
block is left. ``python -m bot.testing`` serves a talkative model until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from threading import Condition, Event, Lock, Thread
from types import TracebackType
from typing import Any

from bot.messages import Message
from bot.models.catalog import AdapterRef, ModelProfile, Origin, Weights
from bot.models.client import Endpoint

MODEL_NAME = "scripted"
PROFILE = ModelProfile(
    name=MODEL_NAME,
    context_tokens=4096,
    passages=1,
    opening="According to the documents,",
    prompt_price_per_million=0.0,
    answer_price_per_million=0.0,
)
KEY = "scripted-key"
_CHATTER = (
    "The kiln warms slowly and holds its heat, so leave the door closed until it has cooled. "
    "**Check the seal** before each firing, write down the time, and ask when you are unsure. "
)


class Gate:
    """A place in a reply where the server waits for the test.

    `reached` is set when the server has come to it; `release` lets it go on.
    """

    def __init__(self) -> None:
        self.reached = Event()
        self._lock = Lock()
        self._released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def release(self) -> None:
        """Let the server go on, now and from now on."""
        with self._lock:
            self._released = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        """Wait in the server until the gate is released."""
        event = asyncio.Event()
        with self._lock:
            if self._released:
                event.set()
            else:
                self._waiting.append((asyncio.get_running_loop(), event))
        self.reached.set()
        await event.wait()


@dataclass(frozen=True, slots=True)
class Request:
    """One chat request as it arrived."""

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the script.

    Args:
        text: what is answered, one word a token.
        model: answers only requests for the model of this name; empty for any.
        contains: answers only requests with this text in a message; empty for any.
        tokens_per_second: how fast; 0 for at once.
        gate: waited at before the token number `gate_at`, counted from 0.
        status: an HTTP status other than 200 refuses the request with `text` as its message.
        cut_at: the connection is cut before the token of this number; negative for never.
        garbage: something that is not the protocol is answered.
        stamped: each token is the moment it is sent, in nanoseconds of `time.monotonic_ns`.
    """

    text: str = ""
    model: str = ""
    contains: str = ""
    tokens_per_second: float = 0.0
    gate: Gate | None = None
    gate_at: int = 0
    status: int = 200
    cut_at: int = -1
    garbage: bool = False
    stamped: bool = False

    def answers(self, request: Request) -> bool:
        """Whether this reply is meant for a request."""
        return self.model in ("", request.model) and any(
            self.contains in message.content for message in request.messages
        )


@dataclass
class ScriptedModel:
    """A model server in a thread, which plays each reply once, in order, to the first request
    that it is meant for.

    Args:
        script: the replies.
        always: answers every request that no reply of the script is left for.
        profile: what prompts are told about the model.
        port: 0 for any free one.
        adapters: the adapters that the server lists, as vLLM does.
        name: how settings and pages spell it; its server calls it the same.
        places: how many answers are asked of it at once; 0 for any number.

    `requests` has what was asked; `cancelled`, the requests that the client broke off.
    """

    script: Sequence[Reply] = ()
    always: Reply | None = None
    profile: ModelProfile = PROFILE
    port: int = 0
    weights: Weights = field(
        default_factory=lambda: Weights(MODEL_NAME, Path("scripted.gguf"), "0" * 64, 0)
    )
    name: str = MODEL_NAME
    adapters: tuple[str, ...] = ()
    places: int = 0
    requests: list[Request] = field(default_factory=list)
    cancelled: list[Request] = field(default_factory=list)
    unexpected: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = list(self.script)
        self._ready = Event()
        self._changed = Condition()
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[Any]] = set()
        self._thread = Thread(target=self._serve, name="scripted-model", daemon=True)

    @classmethod
    def talkative(
        cls,
        *,
        tokens_per_second: float = 50.0,
        tokens: int = 400,
        port: int = 0,
        stamped: bool = False,
        adapters: tuple[str, ...] = (),
    ) -> ScriptedModel:
        """A model that answers everything, at length (or up to the request's `max_tokens`)."""
        words = islice(cycle(_pieces(f" {_CHATTER}")), tokens)
        reply = Reply("".join(words), tokens_per_second=tokens_per_second, stamped=stamped)
        return cls(always=reply, port=port, adapters=adapters)

    def __enter__(self) -> ScriptedModel:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server.

        Raises:
            AssertionError: a request was unexpected, or a reply was not used.
        """
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if kind is not None:
            return
        if self.unexpected:
            raise AssertionError(f"unexpected requests: {self.unexpected}")
        if self._left:
            raise AssertionError(f"unused replies: {self._left}")

    @property
    def title(self) -> str:
        """The name on cards and in menus."""
        return self.name

    @property
    def identity(self) -> str:
        """The SHA-256 of the weights that it does not have."""
        return self.weights.sha256

    @property
    def origin(self) -> Origin:
        """Its own address."""
        return Origin("server", f"http://127.0.0.1:{self.port}/v1")

    def adapter_names(self) -> list[str]:
        """None of its own: whatever adapter is asked for answers."""
        return []

    def endpoint(self, adapter: AdapterRef | None = None) -> Endpoint:
        """Where the model answers; an adapter is another model name on the same server."""
        name = f"{self.name}+{adapter.name}" if adapter else self.name
        return Endpoint(f"http://127.0.0.1:{self.port}/v1", KEY, name, places=self.places)

    def wait_for_cancelled(self, count: int, timeout_seconds: float = 30.0) -> list[Request]:
        """Wait until this many requests were broken off by the client.

        Raises:
            AssertionError: they were not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.cancelled) >= count, timeout_seconds):
                raise AssertionError(f"only {len(self.cancelled)} of {count} were cancelled")
        return list(self.cancelled)

    # --- the server -----------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", self.port)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            for listening in server.sockets:  # closed now, it would leave what it just accepted
                self._loop.remove_reader(listening)
            self._loop.run_until_complete(self._end_connections())
            server.close()
            self._loop.close()

    async def _end_connections(self) -> None:
        """End them, also those that are just being accepted."""
        for _ in range(1000):
            if asyncio.all_tasks() == {asyncio.current_task()}:
                break
            for task in self._connections:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # their sockets are closed one step later

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._exchange(reader, _Response(writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # nobody reads what is left
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, response: _Response) -> None:
        """Answer the one request of a connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        length = re.search(r"(?im)^content-length:\s*(\d+)", head)
        body = json.loads(await reader.readexactly(int(length[1])) if length else "{}")
        if path == "/health":
            await response.json({"status": "ok"})
        elif f"Bearer {KEY}" not in head:
            await response.error(401, "Invalid API key")
        elif path == "/apply-template":
            await response.json({"prompt": _template(body["messages"])})
        elif path == "/tokenize":
            await response.json({"tokens": _tokens(body["content"])})
        elif path == "/v1/models":
            await response.json({"object": "list", "data": self._listed()})
        elif path == "/v1/chat/completions":
            await _unless_disconnected(reader, self._chat(_request(body), response))
        else:
            await response.error(404, f"There is no {path}")

    def _listed(self) -> list[dict[str, object]]:
        own: dict[str, object] = {"id": self.name, "object": "model", "owned_by": "scripted"}
        adapters = [{**own, "id": one, "parent": self.name} for one in self.adapters]
        return [own | {"max_model_len": self.profile.context_tokens}, *adapters]

    async def _chat(self, request: Request, response: _Response) -> None:
        self.requests.append(request)
        reply = self._reply(request)
        if reply is None:
            self.unexpected.append(request)
            await response.error(500, "This request is not in the script")
            return
        try:
            await _play(reply, request, response)
        except (asyncio.CancelledError, ConnectionError):
            with self._changed:
                self.cancelled.append(request)
                self._changed.notify_all()
            raise

    def _reply(self, request: Request) -> Reply | None:
        for reply in self._left:
            if reply.answers(request):
                self._left.remove(reply)
                return reply
        return self.always


async def _play(reply: Reply, request: Request, response: _Response) -> None:
    if reply.status != 200:
        await response.error(reply.status, reply.text)
    elif reply.garbage:
        await response.body("text/html", b"<h1>It works!</h1>")
    else:
        await _play_stream(reply, request, response)


async def _play_stream(reply: Reply, request: Request, response: _Response) -> None:
    await response.begin_stream()
    tokens = _pieces(reply.text)
    sent = tokens[: request.max_tokens]
    for number, token in enumerate([*sent, ""]):
        if number == reply.cut_at:
            response.cut()
            return
        if reply.gate is not None and number == reply.gate_at:
            await reply.gate.wait()
        if token:
            content = f" {time.monotonic_ns()}" if reply.stamped else token
            await response.send(_part({"content": content}))
            if reply.tokens_per_second:
                await asyncio.sleep(1 / reply.tokens_per_second)
    reason = "length" if len(sent) < len(tokens) else "stop"
    prompt_tokens = len(_pieces(_template([one.as_dict() for one in request.messages])))
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": len(sent),
        "total_tokens": prompt_tokens + len(sent),
    }
    await response.send(_part({}, finish_reason=reason))
    await response.send({**_part({}), "choices": [], "usage": usage})
    await response.end_stream()


class _Response:
    """The answering half of an HTTP/1.1 exchange."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def json(self, value: object, status: int = 200) -> None:
        await self.body("application/json", json.dumps(value).encode(), status)

    async def error(self, status: int, message: str) -> None:
        await self.json({"error": {"code": status, "message": message, "type": "error"}}, status)

    async def body(self, kind: str, body: bytes, status: int = 200) -> None:
        head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
        await self._write(head.encode() + b"connection: close\r\n\r\n" + body)

    async def begin_stream(self) -> None:
        await self._write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )

    async def send(self, event: Mapping[str, object]) -> None:
        await self._part(b"data: " + json.dumps(event).encode() + b"\n\n")

    async def end_stream(self) -> None:
        await self._part(b"data: [DONE]\n\n")
        await self._part(b"")

    def cut(self) -> None:
        self._writer.transport.abort()

    async def _part(self, body: bytes) -> None:
        await self._write(f"{len(body):x}\r\n".encode() + body + b"\r\n")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _part(delta: Mapping[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL_NAME,
        "choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish_reason}],
    }


def _request(body: Mapping[str, Any]) -> Request:
    return Request(
        model=str(body.get("model", "")),
        messages=tuple(Message(one["role"], one["content"]) for one in body["messages"]),
        max_tokens=int(body.get("max_tokens") or 1_000_000),
        temperature=float(body.get("temperature") or 0.0),
        seed=int(body.get("seed") or 0),
    )


def _template(messages: Sequence[Mapping[str, str]]) -> str:
    return "".join(f"<{one['role']}>\n{one['content']}\n" for one in messages)


def _tokens(content: str | list[str | int]) -> list[int]:
    """The tokens of a text, or of texts with tokens between them, which are passed on."""
    if isinstance(content, str):
        return list(range(len(_pieces(content))))
    return [
        token for part in content for token in ([part] if isinstance(part, int) else _tokens(part))
    ]


def _pieces(text: str) -> list[str]:
    """A text as tokens: words with the space before them."""
    return re.findall(r"\s*\S+", text)


async def _unless_disconnected(
    reader: asyncio.StreamReader, chat: Coroutine[Any, Any, None]
) -> None:
    """Answer a chat request, or break it off when the client goes away."""
    answering = asyncio.ensure_future(chat)
    gone = asyncio.ensure_future(_until_eof(reader))
    try:
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        answering.cancel()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await answering


async def _until_eof(reader: asyncio.StreamReader) -> None:
    """Return when the client has closed its side; it sends nothing while it is answered."""
    while await reader.read(1):
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a talkative model; the first line printed is its address."""
    parser = argparse.ArgumentParser(prog="python -m bot.testing")
    parser.add_argument("--tokens-per-second", type=float, default=50.0)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--adapter", action="append", default=[], help="listed besides the model")
    parser.add_argument("--stamped", action="store_true", help="tokens are the times they are sent")
    options = parser.parse_args(arguments)
    model = ScriptedModel.talkative(
        tokens_per_second=options.tokens_per_second,
        tokens=options.tokens,
        port=options.port,
        stamped=options.stamped,
        adapters=tuple(options.adapter),
    )
    with model:
        sys.stdout.write(f"{model.endpoint().base_url} (key: {KEY})\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
