"""The only caller of the chat protocol: messages in, text deltas and counts out.

Every error of the protocol's library is translated here into the `ModelError` tree. Connections
are reused: there is one HTTP client for each event loop and endpoint, closed with the loop.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import WeakKeyDictionary

from bot.errors import ModelError, ModelProtocolError
from bot.messages import Message
from bot.models import failures, sse
from bot.models.addresses import AddressPolicy
from bot.models.answer import Answer, most_bytes
from bot.models.dialect import Dialect, dialect_of
from bot.models.keys import Veil
from bot.models.patience import Patience

if TYPE_CHECKING:  # openai takes half a second to import, which the page must not wait for
    import httpx2
    import openai
    from openai import AsyncOpenAI

CONNECT_TIMEOUT_SECONDS = 5.0
QUICK_TIMEOUT_SECONDS = 30.0
"""For counting and looking at a prompt: no generation is waited for."""

GREEDY_TIMEOUT_SECONDS = 120.0
"""For a short answer whose tokens are told with their probabilities, all at once."""

IDLE_CONNECTION_SECONDS = 30.0
"""An unused connection is closed after this time."""

NO_KEY = "none"
"""What a server that asks for no key is sent."""

TURN_TOKENS = 12
"""More than a chat template puts around one message."""

TEXTS_A_REQUEST = 1000
"""So many texts are counted at once."""

_NO_TOKEN = -1
"""Passed on by llama.cpp between the tokens of two texts, which are cut apart from each other."""

_WORDS = re.compile(r" ?[A-Za-z]+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")

AFTERMATH_SECONDS = 1.0
"""After the end of an answer, its counts and the end of the response are waited for so long."""

LEAST_WAIT_SECONDS = 0.2
"""Before a busy server is asked again, whatever it says."""

_NOT_THE_PROTOCOL = ValueError | KeyError | AttributeError | TypeError | RecursionError

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers.

    Args:
        base_url: of the protocol.
        key: that the server asks for; empty for none.
        model: the model's name there.
        counts: the server has llama.cpp's own endpoints, which count tokens; where there are
            none, tokens are estimated, and rather too many than too few.
        started_here: the server is a child of ours, which is started again when it is gone.
        places: how many answers it generates at once; 0 for a server that shares itself out.
        policy: what may be connected to, for an address that came from the page; else None.
        provider: LangChain's name of who answers; empty for the OpenAI protocol.
        context_tokens: that a provider is told to make room for; 0 leaves it to the provider.
    """

    base_url: str
    key: str = field(repr=False)
    model: str
    counts: bool = True
    started_here: bool = False
    places: int = 0
    policy: AddressPolicy | None = None
    provider: str = ""
    context_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Temperature 0 always takes the likeliest."""

    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer's text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """The end of an answer, with the model's own counts."""

    prompt_tokens: int
    answer_tokens: int
    finish_reason: FinishReason


async def stream(
    endpoint: Endpoint,
    messages: Sequence[Message],
    sampling: Sampling,
    *,
    timeout_seconds: float,
    reuse_prompt: bool = False,
    schema: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Delta | Completion]:
    """Generate an answer: deltas as they come, then one completion.

    A trailing assistant message is continued by the model; its text is not repeated in the
    deltas. Closing the generator cancels the request and frees the server's slot.

    A server that does not count is counted for, one that goes on far beyond the length that was
    asked for is cut off, and one that soon wants to be asked again (429 with Retry-After) is.

    Args:
        timeout_seconds: the longest silence of the server, by its tokens (see `Patience`).
        reuse_prompt: let the embedded server keep what it computed for an earlier prompt with
            the same beginning. A long conversation is answered sooner, but the answer is not
            reproducible to the last bit, and so now and then not to the word.
        schema: the JSON schema that the answer follows, where the server knows how to see to it;
            elsewhere the messages have to ask for it.

    Raises:
        ModelError: see `bot.errors` for which.
    """
    veil = Veil("" if endpoint.started_here else endpoint.key)
    if endpoint.provider:
        import bot.models.providers as providers

        speaking = providers.stream(endpoint, messages, sampling, timeout_seconds=timeout_seconds)
    else:
        speaking = _spoken(endpoint, messages, sampling, timeout_seconds, reuse_prompt, schema)
    async with aclosing(speaking):
        try:
            async for one in speaking:
                match one:
                    case Delta(piece):
                        if text := veil.show(piece):
                            yield Delta(text)
                    case Completion():
                        if text := veil.rest():
                            yield Delta(text)
                        yield one
        except ModelError:
            if text := veil.rest():
                yield Delta(text)
            raise


async def _spoken(
    endpoint: Endpoint,
    messages: Sequence[Message],
    sampling: Sampling,
    timeout_seconds: float,
    reuse_prompt: bool,
    schema: Mapping[str, Any] | None,
) -> AsyncGenerator[Delta | Completion]:
    """What a server that speaks the protocol answers."""
    answer = Answer(sampling.max_tokens)
    patience = Patience(timeout_seconds)
    with _translated(endpoint, answer, patience):
        client = await _client(endpoint)
        request: dict[str, Any] = {
            "model": endpoint.model,
            "messages": _wire(messages),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": _timeout(timeout_seconds),
            "extra_body": {"cache_prompt": True} if reuse_prompt and endpoint.counts else None,
        }
        if schema is not None:
            wanted = {"name": "answer", "schema": dict(schema), "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": wanted}
        create = client.chat.completions.with_streaming_response.create
        dialect = dialect_of(endpoint.base_url, endpoint.model)
        async with AsyncExitStack() as held:
            response = await _response(create, request, dialect, held, patience)
            body = sse.events(response.iter_bytes(), limit_bytes=most_bytes(sampling.max_tokens))
            events = await held.enter_async_context(aclosing(body))
            while (event := await _next(events, answer, patience)) is not None:
                if event.get("error"):
                    raise failures.refused(endpoint, 0, event, {})
                deltas = answer.deltas
                text = answer.take(event)
                if answer.deltas > deltas:
                    patience.progress()
                if text:
                    yield Delta(text)
                if answer.is_over:
                    break
            yield _completion(endpoint, messages, answer)
            if not answer.is_overlong:
                await _drain(events)


async def _response(
    create: Callable[..., Any],
    request: dict[str, Any],
    dialect: Dialect,
    held: AsyncExitStack,
    patience: Patience,
) -> Any:
    """The response to a request, which is asked once more where a server soon wants it to be, and
    without a parameter that it does not know."""
    import openai

    while True:
        try:
            asking = held.enter_async_context(create(**_as_it_is(dialect.spoken(request))))
            return await patience.wait(asking)
        except openai.APIStatusError as error:
            if error.status_code in (400, 422) and _learns(dialect, request, error):
                continue
            told = failures.retry_after_seconds(error.response.headers)
            busy = error.status_code in (429, 503)
            if not busy or told is None or told > patience.left_seconds / 2:
                raise
            await asyncio.sleep(max(told, LEAST_WAIT_SECONDS))


def _as_it_is(request: dict[str, Any]) -> dict[str, Any]:
    """The messages beside what the library looks through: doing that to each of their fields
    would take it half of the time of a request, and change nothing."""
    body = {"messages": request["messages"], **(request["extra_body"] or {})}
    return {**request, "messages": [], "extra_body": body}


def _learns(dialect: Dialect, request: dict[str, Any], error: openai.APIStatusError) -> bool:
    return dialect.learn(f"{error.code} {error.message} {error.body}", error.param, request)


async def _next(
    events: AsyncGenerator[dict[str, Any]], answer: Answer, patience: Patience
) -> dict[str, Any] | None:
    """The next event of an answer; None when nothing more is to be expected."""
    try:
        if answer.reason:  # it is whole: only the counts are missing
            async with asyncio.timeout(AFTERMATH_SECONDS):
                event = await anext(events, None)
        else:
            event = await patience.wait(anext(events, None))
    except Exception:
        if answer.reason:
            return None
        raise
    if event is sse.END:
        answer.end()
        return None
    return event


async def _drain(events: AsyncGenerator[dict[str, Any]]) -> None:
    """Read what may follow an answer, so that its connection can be used again."""
    with suppress(Exception):
        async with asyncio.timeout(AFTERMATH_SECONDS):
            async for _ in events:
                pass


def _completion(endpoint: Endpoint, messages: Sequence[Message], answer: Answer) -> Completion:
    """The end of an answer, by the server's counts or, where it gives none, by ours."""
    if not answer.reason and not answer.is_overlong:
        raise failures.cut_off(endpoint)
    if answer.reason in ("error", "abort", "aborted", "cancelled"):
        raise failures.cut_off(endpoint)
    if answer.reason == "content_filter":
        raise failures.withheld(endpoint)
    if not answer.wrote and answer.deltas:
        raise failures.only_thoughts(endpoint, answer.tokens)
    if not answer.wrote and answer.called_tool:
        raise failures.only_tools(endpoint)
    prompt_tokens = answer.counted("prompt_tokens")
    answer_tokens = answer.counted("completion_tokens")
    return Completion(
        prompt_tokens=estimated_tokens(messages) if prompt_tokens is None else prompt_tokens,
        answer_tokens=answer.tokens if answer_tokens is None else answer_tokens,
        finish_reason="length" if answer.is_overlong or answer.reason == "length" else "stop",
    )


async def count_tokens(endpoint: Endpoint, messages: Sequence[Message]) -> int:
    """How many tokens the messages are for the model, its chat template included.

    Raises:
        ModelError: the server cannot say.
    """
    if not endpoint.counts:
        return estimated_tokens(messages)
    return len(await prompt_tokens(endpoint, messages))


async def prompt_tokens(endpoint: Endpoint, messages: Sequence[Message]) -> list[int]:
    """The tokens that an embedded server's own chat template makes of the messages.

    Raises:
        ModelError: the server cannot say.
    """
    prompt = await rendered_prompt(endpoint, messages)
    body = {"content": prompt, "add_special": True, "parse_special": True}
    return list(_member(await _post(endpoint, "tokenize", body), "tokens", list))


async def text_tokens(endpoint: Endpoint, texts: Sequence[str]) -> list[int]:
    """How many tokens each text is for the model by itself, without a chat template.

    Raises:
        ModelError: the server cannot say.
    """
    if not endpoint.counts:
        return [_most_likely_tokens(text) for text in texts]
    lengths: list[int] = []
    for start in range(0, len(texts), TEXTS_A_REQUEST):
        some = texts[start : start + TEXTS_A_REQUEST]
        content = [part for text in some for part in (text, _NO_TOKEN)]
        body = {"content": content, "add_special": False, "parse_special": False}
        lengths += _between(_member(await _post(endpoint, "tokenize", body), "tokens", list))
    if len(lengths) != len(texts):
        raise failures.not_the_protocol(endpoint)
    return lengths


def _between(tokens: Sequence[Any]) -> Iterator[int]:
    """How many tokens stand before each one that is none."""
    length = 0
    for token in tokens:
        if token == _NO_TOKEN:
            yield length
            length = 0
        else:
            length += 1


def estimated_tokens(messages: Sequence[Message]) -> int:
    """A number of tokens that the messages hardly exceed with any model of today.

    Words take a token for three letters, or for two in a text with letters beyond ASCII; digits,
    signs, and spaces that no word follows, one each; what is beyond ASCII one for 1.5 bytes. That
    is a third more than usual, or twice as much.
    """
    return sum(_most_likely_tokens(message.content) + TURN_TOKENS for message in messages)


def _most_likely_tokens(text: str) -> int:
    words = _WORDS.findall(text)
    rest = _WORDS.sub("", text)
    others = sum(len(one.encode()) for one in _BEYOND_ASCII.findall(rest))
    signs = len(_BEYOND_ASCII.sub("", rest))
    letters = 2 if others else 3
    return sum(-(-len(word.strip()) // letters) for word in words) + signs + -(-others * 2 // 3)


async def rendered_prompt(endpoint: Endpoint, messages: Sequence[Message]) -> str:
    """The text that the server's own chat template makes of the messages.

    Raises:
        ModelError: the server cannot say.
    """
    body = {"messages": _wire(messages)}
    return str(_member(await _post(endpoint, "apply-template", body), "prompt", str))


async def token_probabilities(
    endpoint: Endpoint, prompt_messages: Sequence[Message], *, top: int
) -> dict[str, float]:
    """Natural logarithms of the probabilities of the likeliest `top` first answer tokens.

    Raises:
        ModelError: the server cannot say.
    """
    async with _quickly(endpoint):
        client = await _client(endpoint)
        answer = await client.chat.completions.create(
            model=endpoint.model,
            messages=_wire(prompt_messages),
            max_tokens=1,
            temperature=0.0,
            logprobs=True,
            top_logprobs=top,
            timeout=_timeout(QUICK_TIMEOUT_SECONDS),
        )
    reported = answer.choices[0].logprobs if answer.choices else None
    if reported is None or not reported.content:
        raise ModelProtocolError(f"{endpoint.model} does not report token probabilities.")
    likeliest = reported.content[0].top_logprobs
    return {token.token: token.logprob for token in likeliest if math.isfinite(token.logprob)}


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """One token of a greedy answer.

    Args:
        id: the token that was chosen.
        logprobs: of the likeliest tokens there, natural logarithms, by the token.
    """

    id: int
    logprobs: dict[int, float]


async def greedy_tokens(
    endpoint: Endpoint, prompt_ids: Sequence[int], *, most_tokens: int, top: int
) -> list[TokenChoice]:
    """What an embedded server continues tokens with, likeliest token by likeliest token, up to
    `most_tokens` of them or the end token, with the likeliest `top` at each place.

    Raises:
        ModelError: the server cannot say.
    """
    body = {
        "prompt": list(prompt_ids),
        "n_predict": most_tokens,
        "temperature": 0.0,
        "n_probs": top,
        "cache_prompt": False,
    }
    answer = await _post(endpoint, "completion", body, timeout_seconds=GREEDY_TIMEOUT_SECONDS)
    told = _member(answer, "completion_probabilities", list)
    if not told:
        raise ModelProtocolError(f"{endpoint.model} does not report token probabilities.")
    with _translated(endpoint):
        return [
            TokenChoice(one["id"], {other["id"]: other["logprob"] for other in one["top_logprobs"]})
            for one in told
        ]


async def listed_models(endpoint: Endpoint) -> list[dict[str, Any]]:
    """What the server lists under ``/models``, each entry with all that it tells.

    Raises:
        ModelError: the server cannot say.
    """
    async with _quickly(endpoint):
        client = await _client(endpoint)
        page = await client.models.list(timeout=_timeout(QUICK_TIMEOUT_SECONDS))
        return [one.to_dict() for one in page.data or ()]


async def server_facts(endpoint: Endpoint, path: str) -> dict[str, Any]:
    """A JSON object that the server tells about itself, beside the protocol.

    Raises:
        ModelError: the server cannot say.
    """
    import httpx2

    async with _quickly(endpoint):
        client = await _client(endpoint)
        response = await client.get(
            f"{_root(endpoint)}/{path}",
            cast_to=httpx2.Response,
            options={"timeout": _timeout(QUICK_TIMEOUT_SECONDS)},
        )
        told = response.json()
    if not isinstance(told, dict):
        raise failures.not_the_protocol(endpoint)
    return told


@asynccontextmanager
async def calling(endpoint: Endpoint, *, absent: str) -> AsyncGenerator[AsyncOpenAI]:
    """The protocol's client, for what a server may offer beside chats.

    Args:
        absent: what is said of a server that does not know the path.

    Raises:
        ModelError: the server refuses, or cannot do it.
    """
    async with _quickly(endpoint):
        client = await _client(endpoint)
        import openai

        try:
            yield client
        except openai.APIStatusError as error:
            if error.status_code not in (404, 405):
                raise
            ours = failures.lacking(endpoint, error.body, absent)
            raise ours from failures.origin(endpoint, error)


def _root(endpoint: Endpoint) -> str:
    return endpoint.base_url.removesuffix("/").removesuffix("/v1")


async def _post(
    endpoint: Endpoint,
    path: str,
    body: dict[str, Any],
    timeout_seconds: float = QUICK_TIMEOUT_SECONDS,
) -> Any:
    """Ask one of llama.cpp's own endpoints, which lie beside those of the protocol."""
    import httpx2

    async with _quickly(endpoint, timeout_seconds):
        client = await _client(endpoint)
        response = await client.post(
            f"{_root(endpoint)}/{path}",
            cast_to=httpx2.Response,
            body=body,
            options={"timeout": _timeout(timeout_seconds)},
        )
        return response.json()


def _member(answer: Any, name: str, kind: type) -> Any:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, kind):
        raise ModelProtocolError(f"The model server's answer carries no “{name}”.")
    return value


def _wire(messages: Sequence[Message]) -> Any:
    return [message.as_dict() for message in messages]


def _timeout(silence_seconds: float) -> httpx2.Timeout:
    import httpx2

    return httpx2.Timeout(silence_seconds, connect=CONNECT_TIMEOUT_SECONDS, pool=None)


@dataclass(slots=True)
class _Clients:
    """The HTTP clients of one event loop, and the generator that closes them with it."""

    by_endpoint: dict[Endpoint, AsyncOpenAI] = field(default_factory=dict)
    closer: AsyncGenerator[None] | None = None


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()


_loaded = Event()


async def load() -> None:
    """Import the protocol's library: half a second the first time, in which answers go on."""
    if not _loaded.is_set():  # `sys.modules` has it from the moment at which somebody begins
        await asyncio.to_thread(import_module, "openai")
        _loaded.set()


async def _client(endpoint: Endpoint) -> AsyncOpenAI:
    """The HTTP client of this event loop and endpoint, so that connections are reused."""
    await load()
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        clients = _clients[loop] = _Clients()
        clients.closer = _close_with_loop(clients)
        await anext(clients.closer)
    by_endpoint = _clients[loop].by_endpoint
    if endpoint not in by_endpoint:
        by_endpoint[endpoint] = _new_client(endpoint)
    return by_endpoint[endpoint]


async def _close_with_loop(clients: _Clients) -> AsyncGenerator[None]:
    """Close the clients when the loop ends: a loop finishes the generators that it has begun."""
    try:
        yield
    finally:
        while clients.by_endpoint:
            await clients.by_endpoint.popitem()[1].close()


def _new_client(endpoint: Endpoint) -> AsyncOpenAI:
    import httpx2
    from openai import AsyncOpenAI

    from bot.models.transport import FreshTransport

    limits = httpx2.Limits(max_connections=None, keepalive_expiry=IDLE_CONNECTION_SECONDS)
    return AsyncOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.key or NO_KEY,
        max_retries=0,
        # trust_env would send loopback requests through the proxy of the environment
        http_client=httpx2.AsyncClient(
            transport=FreshTransport(limits=limits, policy=endpoint.policy),
            headers={"Accept-Encoding": "identity"},
            trust_env=False,
        ),
    )


@contextmanager
def _translated(
    endpoint: Endpoint, answer: Answer | None = None, patience: Patience | None = None
) -> Iterator[None]:
    """Turn every error of the protocol's library into one of ours."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        ours = _failure(endpoint, error, answer, patience)
        if ours is None:
            raise
        raise ours from failures.origin(endpoint, error)


@asynccontextmanager
async def _quickly(
    endpoint: Endpoint, timeout_seconds: float = QUICK_TIMEOUT_SECONDS
) -> AsyncGenerator[None]:
    """Give a server that streams nothing a short time for the whole of what it says."""
    with _translated(endpoint):
        async with asyncio.timeout(timeout_seconds):
            yield


def _failure(
    endpoint: Endpoint, error: Exception, answer: Answer | None, patience: Patience | None
) -> ModelError | None:
    """What an error of the protocol's library means; None for what is no failure of a server."""
    import httpx2
    import openai

    answering = answer is not None and answer.deltas > 0
    if isinstance(error, openai.APIStatusError):
        return failures.refused(endpoint, error.status_code, error.body, error.response.headers)
    if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        error = cast(Exception, error.__cause__)
    if isinstance(error, ModelError):  # a refused address, from within the connection
        return error
    if isinstance(error, sse.TooMuch):
        return failures.too_much(endpoint)
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return failures.no_address(endpoint)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return failures.unreachable(endpoint, error)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        waited = patience or Patience(QUICK_TIMEOUT_SECONDS)
        return failures.silent(
            endpoint, waited.seconds, tokens=waited.tokens, is_trickle=waited.is_trickle
        )
    if isinstance(error, httpx2.LocalProtocolError | UnicodeEncodeError):
        return failures.unsendable(endpoint)
    if isinstance(error, httpx2.RemoteProtocolError):
        return _broken_protocol(endpoint, str(error), answering)
    if isinstance(error, httpx2.NetworkError):
        return failures.gone(endpoint, answering=answering)
    if isinstance(error, _NOT_THE_PROTOCOL | httpx2.HTTPError | openai.OpenAIError):
        return failures.not_the_protocol(endpoint, answering=answering)
    return None


def _broken_protocol(endpoint: Endpoint, found: str, answering: bool) -> ModelError:
    """What it means that an answer is not HTTP, or not the whole of it."""
    if "disconnected" in found or "peer closed connection" in found:
        return failures.gone(endpoint, answering=answering)
    if "illegal request line" in found:  # so h11 calls bytes that are no text
        return failures.not_plain(endpoint)
    return failures.not_the_protocol(endpoint, answering=answering)
