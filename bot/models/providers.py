"""The second speaker: any provider of LangChain's `init_chat_model`, as the same events.

The only user of LangChain's chat models. A provider is a package of its own, imported when its
model is asked for the first time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from bot.errors import ModelError, ModelTimeout, ModelUnavailable
from bot.messages import Message
from bot.models import failures
from bot.models.answer import Answer
from bot.models.client import (
    Completion,
    Delta,
    Endpoint,
    Sampling,
    estimated_tokens,
)
from bot.models.patience import Patience

CONNECT_TIMEOUT_SECONDS = 5.0

_LENGTH_REASONS = {"length", "max_tokens", "model_length"}


async def stream(
    endpoint: Endpoint, messages: Sequence[Message], sampling: Sampling, *, timeout_seconds: float
) -> AsyncGenerator[Delta | Completion]:
    """Generate an answer: deltas as they come, then one completion (see `client.stream`).

    Raises:
        ModelError: the provider's package is missing, or whatever the provider says.
    """
    model = await asyncio.to_thread(_chat_model, endpoint, sampling, timeout_seconds)
    answer, patience = Answer(sampling.max_tokens), Patience(timeout_seconds)
    reason = ""
    prompt_tokens = answer_tokens = 0
    async with aclosing(_parts(endpoint, model, messages, patience)) as parts:
        async for part in parts:
            if text := answer.write(str(part.text)):
                patience.progress()
                yield Delta(text)
            reason = _finish_reason(part.response_metadata) or reason
            usage = part.usage_metadata or {}
            prompt_tokens += usage.get("input_tokens", 0)
            answer_tokens += usage.get("output_tokens", 0)
            if answer.is_overlong:
                reason, answer_tokens = "length", answer.tokens
                break
    if not (reason or answer_tokens):
        raise failures.cut_off(endpoint)
    yield Completion(
        prompt_tokens or estimated_tokens(messages),
        answer_tokens or answer.tokens,
        "length" if reason.lower() in _LENGTH_REASONS else "stop",
    )


def context_tokens(endpoint: Endpoint) -> int | None:
    """The longest prompt of a model, where LangChain knows it; None where it does not.

    Raises:
        ModelError: the provider or its package is not there.
    """
    if endpoint.provider == "ollama":
        return None  # it is told how much room to make
    profile = getattr(_chat_model(endpoint, Sampling(16, 0.0, 0), 30.0), "profile", None)
    told = profile.get("max_input_tokens") if isinstance(profile, dict) else None
    return told if isinstance(told, int) and told > 0 else None


async def _parts(
    endpoint: Endpoint, model: Any, messages: Sequence[Message], patience: Patience
) -> AsyncGenerator[Any]:
    """The parts of an answer as LangChain gives them, with every error made one of ours."""
    asked = [(message.role, message.content) for message in messages]
    try:
        async with aclosing(model.astream(asked)) as parts:
            while (part := await patience.wait(anext(parts, None))) is not None:
                yield part
    except GeneratorExit:
        raise
    except TimeoutError as error:
        raise failures.silent(
            endpoint, patience.seconds, tokens=patience.tokens, is_trickle=patience.is_trickle
        ) from error
    except Exception as error:
        raise _translated(endpoint, error) from failures.origin(endpoint, error)


def _chat_model(endpoint: Endpoint, sampling: Sampling, timeout_seconds: float) -> Any:
    from langchain.chat_models import init_chat_model

    try:
        return init_chat_model(
            endpoint.model,
            model_provider=endpoint.provider,
            **_parameters(endpoint, sampling, timeout_seconds),
        )
    except ImportError as error:
        named = re.search(r"pip install (?:-U )?([\w-]+)", str(error))
        package = named[1] if named else f"langchain-{endpoint.provider.replace('_', '-')}"
        raise ModelUnavailable(
            f"The package for {endpoint.provider} is not installed.",
            cure=f"Run: .venv/bin/python -m pip install {package}",
        ) from error
    except Exception as error:
        if "nsupported provider" in str(error):
            raise ModelUnavailable(
                f"There is no provider named {endpoint.provider}.",
                cure="Write one that LangChain knows: openai, anthropic, ollama, groq …",
            ) from error
        raise _translated(endpoint, error) from failures.origin(endpoint, error)


def _parameters(endpoint: Endpoint, sampling: Sampling, timeout_seconds: float) -> dict[str, Any]:
    """What the provider is told, in its own words."""
    told: dict[str, Any] = {"temperature": sampling.temperature}
    if endpoint.base_url:
        told["base_url"] = endpoint.base_url
    if endpoint.key:
        told["api_key"] = endpoint.key
    if endpoint.provider == "ollama":
        import httpx

        told |= {
            "num_predict": sampling.max_tokens,
            "seed": sampling.seed,
            "client_kwargs": {
                "timeout": httpx.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
                # a client lives for one answer: a connection kept would outlive it
                "limits": httpx.Limits(max_keepalive_connections=0),
            },
        }
        if endpoint.context_tokens:
            told["num_ctx"] = endpoint.context_tokens
        return told
    name = "max_output_tokens" if endpoint.provider.startswith("google") else "max_tokens"
    return told | {name: sampling.max_tokens, "timeout": timeout_seconds, "max_retries": 0}


def _finish_reason(metadata: dict[str, Any]) -> str:
    names = ("finish_reason", "stop_reason", "done_reason", "stopReason")
    return str(next((metadata[name] for name in names if metadata.get(name)), ""))


def _translated(endpoint: Endpoint, error: Exception) -> ModelError:
    """The error for whatever a provider's library raised, told by what it has in common."""
    if isinstance(error, ModelError):
        return error
    who = f"{endpoint.model} ({endpoint.provider})"
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if "Timeout" in kinds:
        return ModelTimeout(
            f"{who} did not answer in time.",
            cure="Try again; TRIPTYCH_ANSWER_TIMEOUT_SECONDS allows more patience.",
        )
    if "Connect" in kinds:
        return ModelUnavailable(f"The server of {who} cannot be reached.", cure="Is it running?")
    said = (str(error).splitlines() or [type(error).__name__])[0]
    body = getattr(error, "body", None)
    return failures.refused(
        endpoint,
        status if isinstance(status, int) else 0,
        body if isinstance(body, dict) else {"message": said},
        getattr(response, "headers", {}),
    )
