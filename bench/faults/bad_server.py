"""Model servers on a bad day, over raw sockets: every way to fail, and what must be told of it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

KEY = "sk-triptych-0123456789-abcdefgh"
MODEL = "bad-model"
TEXT = "The kiln warms slowly and holds its heat so leave the door closed"
WORDS = tuple(re.findall(r"\s*\S+", TEXT))
SELF_SIGNED = "self-signed certificate"
PAGE = "<html><head><title>Oops</title></head><body><h1>nginx</h1>{}</body></html>"


@dataclass
class Visit:
    """One connection of a client to a bad server.

    Args:
        cut: how many words of the answer are sent before the fault.
        number: of the connections that asked for a chat, counted from 0.
        body: the request's.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    cut: int
    server: BadServer
    number: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, kind: str = "text/event-stream", *more: str) -> None:
        lines = (f"HTTP/1.1 {status} Bad", f"Content-Type: {kind}", "Connection: close", *more)
        await self.send("".join(f"{line}\r\n" for line in (*lines, "")).encode())

    async def refuse(self, status: int, body: object, *more: str) -> None:
        """A whole answer: JSON, or a page of HTML."""
        page = isinstance(body, str)
        raw = (PAGE.format(body) if page else json.dumps(body)).encode()
        kind = "text/html" if page else "application/json"
        await self.head(status, kind, f"Content-Length: {len(raw)}", *more)
        await self.send(raw)

    async def chunk(self, data: bytes) -> None:
        """A piece of a body that is sent in pieces."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def begin(self) -> None:
        """A stream with the words before the fault."""
        await self.head(200, "text/event-stream", "Transfer-Encoding: chunked")
        for word in WORDS[: self.cut]:
            await self.chunk(delta(word))

    async def finish(self, *events: bytes) -> None:
        """The words after the fault, and what ends a stream."""
        for event in (*map(delta, WORDS[self.cut :]), *events):
            await self.chunk(event)
        await self.chunk(b"")

    async def until_gone(self) -> None:
        """Say nothing until the client hangs up."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """Break the connection as a crashed machine does (RST)."""
        own = self.writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(frozen=True)
class Fault:
    """A way to fail.

    Args:
        name: of the fault.
        play: what the server does once it has read a chat request.
        told: what the message must match; empty when the answer must be whole.
        text: what must be kept of the answer; None for the words before the fault.
        waits: it is noticed by its silence only, when the time is up.
        raw: it is played as soon as somebody connects: no request is read.
        scheme: of the address.
        host: of the address.
    """

    name: str
    play: Callable[[Visit], Awaitable[None]]
    told: str = ""
    text: str | None = None
    waits: bool = False
    raw: bool = False
    scheme: str = "http"
    host: str = "127.0.0.1"

    def kept(self, cut: int) -> str:
        """The text that must be on the card in the end."""
        return "".join(WORDS[:cut]) if self.text is None else self.text


@dataclass
class BadServer:
    """A running bad server.

    Args:
        elsewhere: connections to the place that a redirect leads to.
        chats: connections that asked for a chat.
        open: connections that the client has not given back.
        faults: what went wrong in the bad server itself.
    """

    base_url: str = ""
    elsewhere: int = 0
    elsewhere_port: int = 0
    chats: int = 0
    open: int = 0
    faults: list[str] = field(default_factory=list)


@asynccontextmanager
async def serving(fault: Fault, cut: int, *, lists_models: bool) -> AsyncIterator[BadServer]:
    """Serve one fault on a free port.

    Args:
        cut: words of the answer before the fault.
        lists_models: the server says which models it has, before it fails.
    """
    bad = BadServer()
    tasks: set[asyncio.Task[Any]] = set()

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        bad.open += 1
        visit = Visit(reader, writer, cut, bad)
        try:
            if fault.raw or await _asks_for_chat(visit, lists_models):
                visit.number = bad.chats
                bad.chats += bool(visit.body)
                await fault.play(visit)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        except Exception as error:
            bad.faults.append(f"{fault.name}: {error!r}")
        finally:
            bad.open -= 1
            tasks.discard(task)
            writer.close()

    def strayed(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bad.elsewhere += 1
        writer.close()

    context = self_signed() if fault.name == SELF_SIGNED else None
    other = await asyncio.start_server(strayed, "127.0.0.1", 0)
    server = await asyncio.start_server(visited, "127.0.0.1", 0, ssl=context)
    bad.elsewhere_port = other.sockets[0].getsockname()[1]
    port = server.sockets[0].getsockname()[1]
    bad.base_url = f"{fault.scheme}://{fault.host}:{port}/v1"
    listener = None
    if fault.name in ("nobody listens", "full backlog"):
        server.close()
    if fault.name == "full backlog":
        listener = FullBacklog()
        bad.base_url = f"http://127.0.0.1:{listener.port}/v1"
    try:
        yield bad
    finally:
        server.close()
        other.close()
        if listener is not None:
            listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class FullBacklog:
    """A server that is too busy to accept anybody: its queue is full already."""

    def __init__(self) -> None:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self.port = self._listening.getsockname()[1]
        self._waiting = [socket.socket() for _ in range(4)]
        for one in self._waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))

    def close(self) -> None:
        for one in (*self._waiting, self._listening):
            one.close()


@cache
def self_signed() -> ssl.SSLContext:
    """A certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        made = str(Path(folder) / "certificate.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=127.0.0.1", "-keyout", made, "-out", f"{made}.crt"]
        subprocess.run([*command, *names], check=True, capture_output=True)
        context.load_cert_chain(f"{made}.crt", made)
    return context


def available() -> tuple[Fault, ...]:
    """Every fault that this machine can play: a certificate takes openssl."""
    if shutil.which("openssl"):
        return FAULTS
    return tuple(one for one in FAULTS if one.name != SELF_SIGNED)


async def _asks_for_chat(visit: Visit, lists_models: bool) -> bool:
    """Read a request; what a client asks first, it is told or not."""
    head = (await visit.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"(?im)^content-length:\s*(\d+)", head)
    body = await visit.reader.readexactly(int(length[1])) if length else b"{}"
    if head.startswith("GET "):
        if lists_models:
            await visit.refuse(200, {"object": "list", "data": [{"id": MODEL, "owned_by": "us"}]})
        return not lists_models
    visit.body = json.loads(body)
    return True


# --- what is sent -----------------------------------------------------------------------------


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(text: str, **more: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text, **more}}]})


def finish(reason: str = "stop") -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": len(WORDS)}})
DONE = b"data: [DONE]\n\n"
WHOLE = (finish(), USAGE, DONE)


# --- refusals ---------------------------------------------------------------------------------


def refusing(status: int, body: object, *more: str) -> Callable[[Visit], Awaitable[None]]:
    async def play(visit: Visit) -> None:
        await visit.refuse(status, body, *more)

    return play


def error(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "type": "error", **more}}


async def busy_for_a_moment(visit: Visit) -> None:
    if visit.number == 0:
        await visit.refuse(429, error("slow down"), "Retry-After: 0")
    else:
        visit.cut = 0
        await visit.begin()
        await visit.finish(*WHOLE)


async def busy_until_a_date(visit: Visit) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(minutes=30), usegmt=True)
    await visit.refuse(429, error("slow down"), f"Retry-After: {then}")


async def endless_refusal(visit: Visit) -> None:
    await visit.head(500, "text/html")
    while True:
        await visit.send(b"<p>still sorry</p>" * 4000)


async def redirected(visit: Visit) -> None:
    there = f"http://127.0.0.1:{visit.server.elsewhere_port}/v1/chat/completions?key={KEY}"
    await visit.refuse(307, {}, f"Location: {there}")


async def bomb(visit: Visit) -> None:
    await visit.head(200, "text/event-stream", "Content-Encoding: gzip")
    await visit.send(b"\x1f\x8b\x08\x00" + b"\x00" * 60_000)


# --- a stream that breaks ---------------------------------------------------------------------


def breaking(*last: bytes, how: str = "fin") -> Callable[[Visit], Awaitable[None]]:
    """Send the words before the fault and then these pieces; then break the connection."""

    async def play(visit: Visit) -> None:
        await visit.begin()
        for one in last:
            await visit.chunk(one)
        await _written(visit)
        if how == "rst":
            visit.reset()
        elif how == "end":
            await visit.chunk(b"")

    return play


async def _written(visit: Visit) -> None:
    """Let the client read what was sent before the connection breaks: RST throws it away."""
    await visit.writer.drain()
    await asyncio.sleep(0.05)


async def short_of_its_length(visit: Visit) -> None:
    body = b"".join(map(delta, WORDS[: visit.cut]))
    await visit.head(200, "text/event-stream", f"Content-Length: {len(body) + 500}")
    await visit.send(body)


def streaming(*last: bytes, before: tuple[bytes, ...] = ()) -> Callable[[Visit], Awaitable[None]]:
    """A stream that is whole, although it is not as it should be."""

    async def play(visit: Visit) -> None:
        await visit.head(200, "text/event-stream", "Transfer-Encoding: chunked")
        for one in before:
            await visit.chunk(one)
        visit.cut = 0
        await visit.finish(*last)

    return play


def saying(*events: bytes) -> Callable[[Visit], Awaitable[None]]:
    """These events, and no word of the answer."""

    async def play(visit: Visit) -> None:
        visit.cut = len(WORDS)
        await visit.head(200, "text/event-stream", "Transfer-Encoding: chunked")
        await visit.finish(*events)

    return play


def with_head(*lines: str, cut: bool = False) -> Callable[[Visit], Awaitable[None]]:
    """An answer under an odd head, which ends with the connection."""

    async def play(visit: Visit) -> None:
        await visit.send("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1"))
        words = map(delta, WORDS[: visit.cut] if cut else WORDS)
        await visit.send(b"".join(words) + (b"" if cut else b"".join(WHOLE)))

    return play


def raw(data: bytes) -> Callable[[Visit], Awaitable[None]]:
    async def play(visit: Visit) -> None:
        await visit.send(data)
        await visit.until_gone()

    return play


async def never_closed(visit: Visit) -> None:
    await visit.head(200, "text/event-stream")
    await visit.send(b"".join(map(delta, WORDS)) + b"".join(WHOLE))
    await visit.until_gone()


async def reset_after_the_end(visit: Visit) -> None:
    visit.cut = len(WORDS)
    await visit.begin()
    await visit.chunk(finish())
    await _written(visit)
    visit.reset()


async def bad_letters(visit: Visit) -> None:
    await visit.begin()
    await visit.chunk(delta("@").replace(b"@", b"\xff\xfe"))
    await visit.finish(*WHOLE)


async def huge_line(visit: Visit) -> None:
    await visit.begin()
    await visit.send(b"40000000\r\n" + b'data: {"choices": [{"delta": {"content": "')
    for _ in range(800):
        await visit.send(b"a" * 65_536)


# --- silence ----------------------------------------------------------------------------------


async def silence(visit: Visit) -> None:
    await visit.until_gone()


async def half_a_head(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\nContent-")
    await visit.until_gone()


async def only_a_head(visit: Visit) -> None:
    await visit.head(200, "text/event-stream", "Transfer-Encoding: chunked")
    await visit.until_gone()


async def silence_within(visit: Visit) -> None:
    await visit.begin()
    await visit.until_gone()


def repeating(piece: bytes, seconds: float) -> Callable[[Visit], Awaitable[None]]:
    """The words before the fault, then the same piece for ever."""

    async def play(visit: Visit) -> None:
        await visit.begin()
        while True:
            await visit.chunk(piece)
            await asyncio.sleep(seconds)

    return play


async def head_in_drips(visit: Visit) -> None:
    await visit.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        await visit.send(b"a")
        await asyncio.sleep(0.2)


async def not_there(_visit: Visit) -> None:
    """Nobody is reached."""


async def plain_where_tls_was_wanted(visit: Visit) -> None:
    await visit.reader.read(1)
    await visit.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def tls_where_plain_was_wanted(visit: Visit) -> None:
    await visit.reader.readuntil(b"\r\n\r\n")
    await visit.send(b"\x15\x03\x01\x00\x02\x02\x46")


_GONE = "went away"
_UNREADABLE = "unreadable|does not speak the chat protocol"
_SILENT = "did not answer in time|fell silent|too slow"
_CONTEXT = f"The prompt is longer than {MODEL} can hold"
_NOT_THE_PROTOCOL = "does not speak the chat protocol"
_THOUGHT = {"choices": [{"index": 0, "delta": {"reasoning_content": " hm"}}]}
_TOOL = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}}]}
_ROLE = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})

FAULTS: tuple[Fault, ...] = (
    Fault("wrong key", refusing(401, error(f"Incorrect API key: {KEY}")), "refused the key", ""),
    Fault("forbidden", refusing(403, error("no")), "refused access with this key", ""),
    Fault("wrong model", refusing(404, error(f"model '{MODEL}' not found")), "does not know", ""),
    Fault("wrong path", refusing(404, "Not here"), "no chat at", ""),
    Fault("no credit", refusing(429, error("pay", code="insufficient_quota")), "no credit", ""),
    Fault("busy", refusing(429, error("slow down")), "more requests.*in a moment", ""),
    Fault(
        "busy for an hour",
        refusing(429, error("slow down"), "Retry-After: 3600"),
        "more requests.*again in 60 minutes",
        "",
    ),
    Fault("busy until a date", busy_until_a_date, "more requests.*again in 30 minutes", ""),
    Fault("busy for a moment", busy_for_a_moment, text=TEXT),
    Fault("500", refusing(500, error("CUDA out of memory")), "failed .500.*CUDA out of memory", ""),
    Fault("500 page", refusing(500, "Oh <b>no</b>"), r"failed \(500[^<]*$", ""),
    Fault("502 page", refusing(502, "Bad gateway"), r"busy or still starting \(502[^<]*$", ""),
    Fault("503 page", refusing(503, "Sorry"), r"busy or still starting \(503[^<]*$", ""),
    Fault("504 page", refusing(504, "Timeout"), "did not answer in time", ""),
    Fault("key in the error", refusing(400, error(f"Bad header Bearer {KEY}")), "•••", ""),
    Fault("part of the key", refusing(500, error(f"key {KEY[:12]}… is odd")), "•••", ""),
    Fault("endless refusal", endless_refusal, r"failed \(500", ""),
    Fault("redirect", redirected, "elsewhere", ""),
    Fault("compressed", bomb, _NOT_THE_PROTOCOL, ""),
    # --- something else is answered
    Fault("page", refusing(200, "It works!"), _NOT_THE_PROTOCOL, ""),
    Fault("error with 200", refusing(200, error("no model is loaded")), "no model is loaded", ""),
    Fault(
        "whole JSON",
        refusing(200, {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}]}),
        text=TEXT,
    ),
    Fault("empty body", refusing(200, {}), "cut off", ""),
    Fault("another protocol", raw(b"SSH-2.0-OpenSSH_9.2\r\n"), _SILENT, "", waits=True, raw=True),
    Fault("a word", raw(b"Hello, who is there?\r\n\r\n"), _NOT_THE_PROTOCOL, "", raw=True),
    Fault("noise", raw(bytes(range(256)) * 20), "does not answer in plain HTTP", "", raw=True),
    Fault("hangs up", not_there, _GONE, "", raw=True),
    Fault(
        "odd content type",
        with_head("HTTP/1.1 200 OK", "Content-Type: image/png", "Connection: close"),
        text=TEXT,
    ),
    Fault(
        "headers twice",
        with_head("HTTP/1.1 200 OK", *["Content-Type: text/plain", "Connection: close"] * 2),
        text=TEXT,
    ),
    Fault(
        "two lengths",
        with_head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6"),
        _NOT_THE_PROTOCOL,
        "",
    ),
    Fault(
        "huge header",
        with_head("HTTP/1.1 200 OK", f"X-Huge: {'a' * 300_000}"),
        _NOT_THE_PROTOCOL,
        "",
    ),
    Fault("HTTP/1.0", with_head("HTTP/1.0 200 OK", "Content-Type: text/plain"), text=TEXT),
    # --- a stream that is not as it should be, and still whole
    Fault("no [DONE]", streaming(finish(), USAGE), text=TEXT),
    Fault("no usage", streaming(finish(), DONE), text=TEXT),
    Fault("no finish_reason", streaming(USAGE, DONE), text=TEXT),
    Fault("only [DONE]", streaming(DONE), text=TEXT),
    Fault("odd usage", streaming(finish(), event({"usage": {"prompt_tokens": "9"}})), text=TEXT),
    Fault("never closed", never_closed, text=TEXT),
    Fault("RST after the end", reset_after_the_end, text=TEXT),
    Fault(
        "role, tool and null chunks",
        streaming(*WHOLE, before=(_ROLE, b": hello\n\n", event({}), event(_TOOL), b"\r\n\r\n")),
        text=TEXT,
    ),
    Fault("short answer", breaking(*WHOLE, how="end")),
    Fault("empty answer", saying(*WHOLE), text=""),
    Fault(
        "surrogates",
        streaming(
            *WHOLE, before=(b'data: {"choices":[{"delta":{"content":"\\ud83d\\u0000"}}]}\n',)
        ),
        text=f"?{TEXT}",
    ),
    Fault("bad letters", bad_letters, text="*"),
    Fault(
        "key in the answer",
        streaming(
            *WHOLE, before=tuple(map(delta, (KEY[:2], KEY[2:20], f"{KEY[20:]}{KEY} sk-tri")))
        ),
        text=f"•••••• sk-tri{TEXT}",
    ),
    # --- a stream that breaks
    Fault("RST", breaking(how="rst"), _GONE),
    Fault("FIN", breaking(), _GONE),
    Fault("FIN in a line", breaking(b'data: {"choices": [{"del'), _GONE),
    Fault("FIN in a letter", breaking(delta("@")[:-7].replace(b"@", b"\xe2\x82")), _GONE),
    Fault("end without an end", breaking(how="end"), "cut off"),
    Fault("end in a line", breaking(b'data: {"choices": [{"del', how="end"), "cut off"),
    Fault("short of its length", short_of_its_length, _GONE),
    Fault("HTTP/1.0 cut", with_head("HTTP/1.0 200 OK", cut=True), "cut off"),
    Fault("aborted", breaking(finish("abort"), DONE, how="end"), "cut off"),
    Fault("garbage", breaking(b"data: {not json\n\n", how="end"), _UNREADABLE),
    Fault("a list", breaking(b"data: [1, 2]\n\n", how="end"), _UNREADABLE),
    Fault("nested", breaking(b"data: " + b"[" * 100_000 + b"\n\n", how="end"), _UNREADABLE),
    Fault("50 MB line", huge_line, "far more than an answer"),
    Fault(
        "error in the stream",
        breaking(event(error(f"CUDA error with {KEY}", code=500)), how="end"),
        "CUDA error with •••",
    ),
    Fault("filtered", breaking(finish("content_filter"), DONE, how="end"), "content filter"),
    Fault("only tools", saying(event(_TOOL), finish("tool_calls"), DONE), "asked for a tool", ""),
    Fault("only thoughts", saying(*[event(_THOUGHT)] * 9, finish("length")), "thought for 9", ""),
    # --- silence
    Fault("silence", silence, _SILENT, "", waits=True),
    Fault("silence at once", silence, _SILENT, "", waits=True, raw=True),
    Fault("half a head", half_a_head, _SILENT, "", waits=True),
    Fault("only a head", only_a_head, _SILENT, "", waits=True),
    Fault("head in drips", head_in_drips, _SILENT, "", waits=True),
    Fault("silence within", silence_within, _SILENT, waits=True),
    Fault("token now and then", repeating(delta("."), 1.1), _SILENT, text="*", waits=True),
    Fault("comments for ever", repeating(b": still here\n\n", 0.05), _SILENT, waits=True),
    Fault("comments in a flood", repeating(b": hi\n" * 9000, 0.0), "far more than an answer"),
    Fault("roles for ever", repeating(_ROLE, 0.05), _SILENT, waits=True),
    Fault("full backlog", not_there, f"{_SILENT}|does not take", "", waits=True),
    # --- too long
    Fault("far too long", repeating(delta(" more"), 0.0), text="*"),
    Fault("far too long at once", breaking(delta(" more" * 90_000), DONE, how="end"), text="*"),
    Fault("letters without end", repeating(delta("a"), 0.0), text="*"),
    Fault("blanks without end", repeating(delta("   "), 0.0), text="*"),
    Fault("thoughts without end", saying(*[event(_THOUGHT)] * 999), "thought for", ""),
    # --- the prompt is too long, in every dialect
    Fault(
        "context, OpenAI",
        refusing(
            400,
            error(
                "This model's maximum context length is 8192 tokens. However, your messages "
                "resulted in 9000 tokens. Please reduce the length of the messages.",
                code="context_length_exceeded",
            ),
        ),
        _CONTEXT,
        "",
    ),
    Fault(
        "context, vLLM",
        refusing(
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you "
                "requested 5160 tokens (5000 in the messages, 160 in the completion).",
                "type": "BadRequestError",
                "code": 400,
            },
        ),
        _CONTEXT,
        "",
    ),
    Fault(
        "context, llama.cpp",
        refusing(
            400,
            error(
                "the request exceeds the available context size",
                type="exceed_context_size_error",
                code=400,
                n_prompt_tokens=5000,
                n_ctx=4096,
            ),
        ),
        _CONTEXT,
        "",
    ),
    Fault(
        "context, Ollama",
        refusing(400, {"error": "the input length exceeds the context length"}),
        _CONTEXT,
        "",
    ),
    Fault(
        "context, LM Studio",
        refusing(
            400,
            {
                "error": "Trying to keep the first 5000 tokens when context the overflows. "
                "However, the model is loaded with context length of only 4096 tokens"
            },
        ),
        _CONTEXT,
        "",
    ),
    # --- nobody is reached
    Fault("nobody listens", not_there, "Nothing answers at", ""),
    Fault("no such host", not_there, "cannot be found", "", host="nowhere.invalid"),
    Fault(
        "plain, not TLS",
        plain_where_tls_was_wanted,
        "does not speak TLS",
        "",
        raw=True,
        scheme="https",
    ),
    Fault(
        "TLS, not plain", tls_where_plain_was_wanted, "does not answer in plain HTTP", "", raw=True
    ),
    Fault(SELF_SIGNED, silence, "is not trusted", "", scheme="https", raw=True),
)
