"""A model of a server that speaks the OpenAI protocol: OpenAI, Ollama, vLLM, llama.cpp …"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from bot.errors import ModelError, ModelUnavailable
from bot.models import client
from bot.models.addresses import AddressPolicy
from bot.models.catalog import AdapterRef, AdapterWeights, ModelProfile, Origin
from bot.models.client import Endpoint

PASSAGES = 4
"""Retrieved passages in a prompt: what a model of some billion parameters reads well."""

DISCOVERY_SECONDS = 1.0
"""How long a server may take to tell about itself; then what is known without it is used."""

ASK_AGAIN_SECONDS = 30.0

_CONTEXT_FIELDS = (
    "max_model_len",  # vLLM
    "loaded_context_length",  # LM Studio
    "context_window",  # Groq
    "context_length",  # OpenRouter, Together
    "max_context_length",  # Mistral
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server tells about itself.

    Args:
        models: every name it answers to.
        adapters: those of them that are adapters of the model in question.
        context_tokens: the longest conversation; None when it does not say.
        counts: it has llama.cpp's own endpoints, which count tokens.
    """

    models: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    context_tokens: int | None = None
    counts: bool = False


class RemoteModel:
    """A model that a server keeps running by itself.

    Args:
        name: how settings and pages spell it.
        endpoint: where it answers.
        profile: what is known without asking the server.
        policy: what may be connected to at this moment; None when the address is the operator's.
        key_variable: the variable that the endpoint's key was read from.
        fixed_context: the profile's context was chosen by a person; the server is not believed.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        profile: ModelProfile,
        *,
        policy: Callable[[], AddressPolicy] | None = None,
        key_variable: str = "",
        fixed_context: bool = False,
    ) -> None:
        self.name = name
        self.title = profile.name
        self._endpoint = endpoint
        self._policy = policy
        self._key_variable = key_variable
        self._profile = profile
        self._fixed_context = fixed_context
        self._listing = Listing()
        self._ask_at = 0.0
        self._lock = Lock()

    @property
    def profile(self) -> ModelProfile:
        """What prompts must know; as the server tells it, once it was asked."""
        told = self._listing.context_tokens
        if self._fixed_context or told is None:
            return self._profile
        return replace(self._profile, context_tokens=told)

    @property
    def identity(self) -> str:
        """The model's name at its host: what a server runs under that name only it knows."""
        host = urlsplit(self._endpoint.base_url).netloc.rpartition("@")[2]
        return f"{self._endpoint.model}@{host or self._endpoint.provider}"

    @property
    def origin(self) -> Origin:
        """The server, or the provider who knows it."""
        return Origin(
            kind=self._endpoint.provider or "server",
            address=self._endpoint.base_url,
            key_variable=self._key_variable,
            key_is_set=bool(self._endpoint.key),
        )

    def endpoint(self, adapter: AdapterRef | None = None) -> Endpoint:
        """Where it answers; the server is asked about itself first, for a second at most.

        Raises:
            ModelUnavailable: the adapter is one of this machine.
            AddressRefused: its address is not one that may be called.
        """
        if isinstance(adapter, AdapterWeights):
            raise ModelUnavailable(
                f"{self.title} runs on another server and cannot use the adapter {adapter.name}.",
                cure="Choose one of the adapters that its server lists, or the embedded model.",
            )
        listing = self.listing()
        endpoint = replace(
            self._allowed(), counts=listing.counts, context_tokens=self.profile.context_tokens
        )
        return replace(endpoint, model=adapter.name) if adapter else endpoint

    def adapter_names(self) -> list[str]:
        """The adapters that the server lists; none when it lists nothing."""
        return list(self.listing().adapters)

    def listing(self, *, patience_seconds: float = DISCOVERY_SECONDS) -> Listing:
        """What the server tells about itself; empty when it cannot be asked.

        It is asked once; a server that did not answer is asked again after a while.

        Raises:
            AddressRefused: its address is not one that may be called.
        """
        endpoint = self._allowed()
        with self._lock:
            if time.monotonic() >= self._ask_at:
                try:
                    self._listing = asyncio.run(_ask(endpoint, patience_seconds))
                    self._ask_at = float("inf")
                except (ModelError, TimeoutError):
                    self._ask_at = time.monotonic() + ASK_AGAIN_SECONDS
            return self._listing

    def _allowed(self) -> Endpoint:
        """The endpoint with the policy of this moment; a refused address is not even looked up."""
        if self._policy is None:
            return self._endpoint
        policy = self._policy()
        policy.check_url(self._endpoint.base_url)
        return replace(self._endpoint, policy=policy)

    def forget_listing(self) -> None:
        """Ask the server again the next time."""
        with self._lock:
            self._ask_at = 0.0


async def _ask(endpoint: Endpoint, patience_seconds: float) -> Listing:
    if endpoint.provider:
        import bot.models.providers as providers

        return Listing(context_tokens=await asyncio.to_thread(providers.context_tokens, endpoint))
    await client.load()  # its time is not the server's
    async with asyncio.timeout(patience_seconds):
        listed = await client.listed_models(endpoint)
        own = next((one for one in listed if one.get("id") == endpoint.model), {})
        origin = str(own.get("owned_by", ""))
        context_tokens = _context_tokens(own)
        counts = False
        if origin == "llamacpp":
            counts = True
            context_tokens = await _served_context(endpoint, context_tokens)
        elif origin == "library":
            context_tokens = await _loaded_context(endpoint)
        return Listing(
            models=tuple(str(one["id"]) for one in listed if one.get("id")),
            adapters=tuple(
                str(one["id"]) for one in listed if _is_adapter(one, endpoint.model, own)
            ),
            context_tokens=context_tokens,
            counts=counts,
        )


def _context_tokens(entry: dict[str, Any]) -> int | None:
    meta = entry.get("meta")
    told = [entry.get(name) for name in _CONTEXT_FIELDS]
    told += [meta.get("n_ctx"), meta.get("n_ctx_train")] if isinstance(meta, dict) else []
    return next((one for one in told if isinstance(one, int) and one > 0), None)


async def _served_context(endpoint: Endpoint, trained: int | None) -> int | None:
    """llama.cpp: the context of one conversation, which may be less than it was trained on."""
    try:
        settings = (await client.server_facts(endpoint, "props")).get(
            "default_generation_settings", {}
        )
        served = settings.get("n_ctx")
    except (ModelError, AttributeError):
        return trained
    return served if isinstance(served, int) and served > 0 else trained


async def _loaded_context(endpoint: Endpoint) -> int | None:
    """Ollama: the context it loaded the model with; it cuts longer prompts without a word."""
    try:
        loaded = (await client.server_facts(endpoint, "api/ps")).get("models", [])
        own = next(one for one in loaded if one.get("model") == endpoint.model)
        told = own.get("context_length")
    except (ModelError, AttributeError, StopIteration):
        return None
    return told if isinstance(told, int) and told > 0 else None


def _is_adapter(entry: dict[str, Any], model: str, own: dict[str, Any]) -> bool:
    """A LoRA that a vLLM server keeps of this model, or a fine-tuned model made from it."""
    name = str(entry.get("id", ""))
    if name == model:
        return False
    parent = entry.get("parent")
    if parent:
        return parent in (model, own.get("root"))
    return name.startswith(f"ft:{model}")
