"""The only caller of the chat protocol: messages in, text deltas and counts out.

Every error of the protocol's library is translated here into the `ModelError` tree. Connections
are reused: there is one HTTP client for each event loop and endpoint, closed with the loop.
"""

from __future__ import annotations

import asyncio
import math
import re
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from bot.errors import (
    ContextExceeded,
    ModelError,
    ModelProtocolError,
    ModelTimeout,
    ModelUnavailable,
)
from bot.messages import Message

if TYPE_CHECKING:  # openai takes half a second to import, which the page must not wait for
    import httpx2
    import openai
    from openai import AsyncOpenAI

CONNECT_TIMEOUT_SECONDS = 5.0
QUICK_TIMEOUT_SECONDS = 30.0
"""For counting and looking at a prompt: no generation is waited for."""

IDLE_CONNECTION_SECONDS = 30.0
"""An unused connection is closed after this time."""

NO_KEY = "none"
"""What a server that asks for no key is sent."""

TURN_TOKENS = 12
"""More than a chat template puts around one message."""

_ASCII_LETTERS = re.compile(r"[A-Za-z\s]")
_ASCII_SIGNS = re.compile(r"[!-@\[-`{-~]")

_AGAIN = "Try again: it is started again by itself."

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
    """

    base_url: str
    key: str = field(repr=False)
    model: str
    counts: bool = True


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
) -> AsyncGenerator[Delta | Completion]:
    """Generate an answer: deltas as they come, then one completion.

    A trailing assistant message is continued by the model; its text is not repeated in the
    deltas. Closing the generator cancels the request and frees the server's slot.

    Args:
        timeout_seconds: the longest silence of the server.
        reuse_prompt: let the embedded server keep what it computed for an earlier prompt with
            the same beginning. A long conversation is answered sooner, but the answer is not
            reproducible to the last bit, and so now and then not to the word.

    Raises:
        ModelError: see `bot.errors` for which.
    """
    with _translated(endpoint):
        client = await _client(endpoint)
        response = await client.chat.completions.create(
            model=endpoint.model,
            messages=_wire(messages),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            seed=sampling.seed,
            stream=True,
            stream_options={"include_usage": True},
            timeout=_timeout(timeout_seconds),
            extra_body={"cache_prompt": True} if reuse_prompt else None,
        )
        finish_reason: FinishReason | None = None
        usage: Any = None
        async with response:
            async for part in response:
                usage = part.usage or usage
                for choice in part.choices[:1]:
                    if choice.delta.content:
                        yield Delta(choice.delta.content)
                    if choice.finish_reason:
                        finish_reason = "length" if choice.finish_reason == "length" else "stop"
        if finish_reason is None or usage is None:
            raise ModelProtocolError(
                f"The answer of {endpoint.model} was cut off.", cure="Try the question again."
            )
        yield Completion(usage.prompt_tokens, usage.completion_tokens, finish_reason)


async def count_tokens(endpoint: Endpoint, messages: Sequence[Message]) -> int:
    """How many tokens the messages are for the model, its chat template included.

    Raises:
        ModelError: the server cannot say.
    """
    if not endpoint.counts:
        return estimated_tokens(messages)
    prompt = await rendered_prompt(endpoint, messages)
    body = {"content": prompt, "add_special": True, "parse_special": True}
    return len(_member(await _post(endpoint, "tokenize", body), "tokens", list))


def estimated_tokens(messages: Sequence[Message]) -> int:
    """A number of tokens that the messages hardly exceed with any model of today.

    Words take a token for three letters, digits and signs one each, and letters outside ASCII
    one for two bytes; four to six are usual.
    """
    texts = [message.content for message in messages]
    letters = sum(len(_ASCII_LETTERS.findall(text)) for text in texts)
    signs = sum(len(_ASCII_SIGNS.findall(text)) for text in texts)
    others = sum(len(text.encode()) for text in texts) - letters - signs
    return math.ceil(letters / 3) + signs + math.ceil(others / 2) + TURN_TOKENS * len(texts)


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
    with _translated(endpoint):
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


async def listed_models(endpoint: Endpoint) -> list[dict[str, Any]]:
    """What the server lists under ``/models``, each entry with all that it tells.

    Raises:
        ModelError: the server cannot say.
    """
    with _translated(endpoint):
        client = await _client(endpoint)
        page = await client.models.list(timeout=_timeout(QUICK_TIMEOUT_SECONDS))
        return [one.to_dict() for one in page.data or ()]


async def server_facts(endpoint: Endpoint, path: str) -> dict[str, Any]:
    """A JSON object that the server tells about itself, beside the protocol.

    Raises:
        ModelError: the server cannot say.
    """
    import httpx2

    with _translated(endpoint):
        client = await _client(endpoint)
        response = await client.get(
            f"{_root(endpoint)}/{path}",
            cast_to=httpx2.Response,
            options={"timeout": _timeout(QUICK_TIMEOUT_SECONDS)},
        )
        told = response.json()
    if not isinstance(told, dict):
        raise _not_the_protocol(endpoint)
    return told


def _root(endpoint: Endpoint) -> str:
    return endpoint.base_url.removesuffix("/").removesuffix("/v1")


async def _post(endpoint: Endpoint, path: str, body: dict[str, Any]) -> Any:
    """Ask one of llama.cpp's own endpoints, which lie beside those of the protocol."""
    import httpx2

    with _translated(endpoint):
        client = await _client(endpoint)
        response = await client.post(
            f"{_root(endpoint)}/{path}",
            cast_to=httpx2.Response,
            body=body,
            options={"timeout": _timeout(QUICK_TIMEOUT_SECONDS)},
        )
        try:
            return response.json()
        except ValueError as error:
            raise _not_the_protocol(endpoint) from error


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


async def _client(endpoint: Endpoint) -> AsyncOpenAI:
    """The HTTP client of this event loop and endpoint, so that connections are reused."""
    if "openai" not in sys.modules:  # half a second, in which other answers go on
        await asyncio.to_thread(import_module, "openai")
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
        http_client=httpx2.AsyncClient(transport=FreshTransport(limits=limits), trust_env=False),
    )


@contextmanager
def _translated(endpoint: Endpoint) -> Iterator[None]:
    """Turn every error of the protocol's library into one of ours."""
    try:
        yield
    except Exception as error:
        import openai

        if isinstance(error, openai.APIConnectionError):  # a timeout is one, too
            raise _silence(endpoint, error.__cause__) from error
        if isinstance(error, openai.APIError):
            raise _refusal(endpoint, error) from error
        if isinstance(error, openai.OpenAIError | ValueError | KeyError | AttributeError):
            raise _not_the_protocol(endpoint) from error
        raise


def _silence(endpoint: Endpoint, cause: BaseException | None) -> ModelError:
    """The error for a server that cannot be reached, went away or says nothing."""
    import httpx2

    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout):
        return ModelUnavailable(f"The server of {endpoint.model} is not running.", cure=_AGAIN)
    if isinstance(cause, httpx2.TimeoutException):
        return ModelTimeout(
            f"{endpoint.model} did not answer in time.",
            cure="Try again; TRIPTYCH_ANSWER_TIMEOUT_SECONDS allows more patience.",
        )
    return ModelUnavailable(f"The server of {endpoint.model} went away.", cure=_AGAIN)


def _refusal(endpoint: Endpoint, error: openai.APIError) -> ModelError:
    """The error for an answer of the server that reports a failure."""
    body = error.body if isinstance(error.body, dict) else {}
    status = getattr(error, "status_code", None) or body.get("code")
    if "context" in f"{body.get('type')} {body.get('code')}":
        return ContextExceeded(
            f"The prompt is longer than {endpoint.model} can hold.",
            prompt_tokens=_count(body.get("n_prompt_tokens")),
            context_tokens=_count(body.get("n_ctx")),
        )
    if status in (401, 403):
        return ModelUnavailable(f"The server of {endpoint.model} refused the key.")
    if status == 404:
        return ModelUnavailable(f"The server does not know {endpoint.model}.")
    if status in (429, 502, 503):
        return ModelUnavailable(
            f"The server of {endpoint.model} is busy or still starting.", cure="Try again."
        )
    said = str(body.get("message") or error.message)[:300]
    return ModelProtocolError(f"The server of {endpoint.model} refused the request: {said}")


def _not_the_protocol(endpoint: Endpoint) -> ModelProtocolError:
    return ModelProtocolError(
        f"The server of {endpoint.model} does not speak the chat protocol.",
        cure="Check that the address is that of a model server.",
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
