"""What the name of a model stands for: a name of the settings or a record → a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bot.errors import ModelUnavailable
from bot.models.addresses import AddressPolicy
from bot.models.catalog import (
    EMBEDDED_NAME,
    EMBEDDED_PROFILE,
    Model,
    ModelProfile,
    embedded_weights,
)
from bot.models.client import Endpoint
from bot.models.embedded import EmbeddedModel
from bot.models.hub import PREFIX, Hub, HubModel
from bot.models.keys import OPENAI_KEY, Keys, variable_for
from bot.models.local import KnownFiles, LocalModel
from bot.models.prices import offer
from bot.models.remote import PASSAGES, RemoteModel
from bot.records.models import ModelRecord
from bot.servers import Servers

_PROVIDER_KEYS = {
    "google_genai": "GOOGLE_API_KEY",
    "huggingface": "HUGGINGFACEHUB_API_TOKEN",
    "mistralai": "MISTRAL_API_KEY",
    "perplexity": "PPLX_API_KEY",
}
"""Providers whose variable is not named after them."""

OPENAI_BASE_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Workshop:
    """What models are made with.

    Args:
        servers: where local weights are served.
        keys: the keys that are known here.
        context_tokens: of one conversation with local weights.
        threads: that a server of local weights may use.
        remote_context_tokens: of a remote model whose server does not say it.
        hub: where model files are fetched from, and kept.
        app_port: where the page itself is served; 0 for nowhere.
    """

    servers: Servers
    keys: Keys
    context_tokens: int
    threads: int
    remote_context_tokens: int
    hub: Hub
    app_port: int = 0

    def policy(self) -> AddressPolicy:
        """What may be connected to at an address from the page, at this moment."""
        return AddressPolicy(frozenset({self.app_port}) | self.servers.ports())

    def make(self, name: str) -> Model:
        """The model that a name of the settings stands for.

        Raises:
            WeightsError: it is the embedded model and its package is not installed, or it names
                no file of a hub.
            ModelUnavailable: the name means nothing.
        """
        kind, _, rest = name.partition(":")
        if name == EMBEDDED_NAME:
            return self._embedded()
        if kind == "hf":
            return self._hub_file(name)
        if kind == "gguf" or name.lower().endswith(".gguf"):
            path = Path(rest if kind == "gguf" else name).expanduser().absolute()
            return LocalModel(
                name, path, self._known_files(), self.servers, self.context_tokens, self.threads
            )
        if kind == "openai" and rest:
            return self._openai(name, rest)
        if re.fullmatch(r"[a-z][a-z0-9_]*", kind) and rest:
            return self._provider(name, kind, rest)
        raise ModelUnavailable(
            f"{name} does not say which model is meant.",
            cure="Write embedded, openai:gpt-4.1-mini, ollama:llama3.2, gguf:/path/to/file.gguf or "
            "hf:owner/repository/file.gguf.",
        )

    def make_added(self, record: ModelRecord) -> Model:
        """The model that a record of the page stands for: a server, or a file of a hub.

        Raises:
            AddressRefused: its address is not one that may be called.
            WeightsError: it names no file of a hub.
        """
        if record.model.startswith(PREFIX) and not record.base_url:
            return self._hub_file(record.model)
        AddressPolicy().check_url(record.base_url)
        endpoint = Endpoint(record.base_url, self.keys.for_address(record.base_url), record.model)
        profile = ModelProfile(
            name=record.name,
            context_tokens=record.context_tokens or self.remote_context_tokens,
            passages=record.passages,
            opening="",
            prompt_price_per_million=record.prompt_price_per_million,
            answer_price_per_million=record.answer_price_per_million,
        )
        return RemoteModel(
            record.name,
            endpoint,
            profile,
            policy=self.policy,
            key_variable=variable_for(record.base_url),
            fixed_context=record.context_tokens is not None,
        )

    def _hub_file(self, name: str) -> HubModel:
        return HubModel(
            name, self.hub, self._known_files(), self.servers, self.context_tokens, self.threads
        )

    def _known_files(self) -> KnownFiles:
        return KnownFiles(self.hub.folder.parent / "weights.json")

    def _embedded(self) -> EmbeddedModel:
        return EmbeddedModel(
            self.servers,
            embedded_weights(),
            EMBEDDED_PROFILE,
            context_tokens=self.context_tokens,
            threads=self.threads,
        )

    def _openai(self, name: str, model: str) -> RemoteModel:
        base_url = self.keys.variable("OPENAI_BASE_URL") or OPENAI_BASE_URL
        endpoint = Endpoint(base_url, self.keys.openai(), model)
        known = offer(urlsplit(base_url).hostname or "", model)
        profile = ModelProfile(
            name=model,
            context_tokens=known.context_tokens if known else self.remote_context_tokens,
            passages=PASSAGES,
            opening="",
            prompt_price_per_million=known.prompt_price_per_million if known else None,
            answer_price_per_million=known.answer_price_per_million if known else None,
        )
        return RemoteModel(name, endpoint, profile, key_variable=OPENAI_KEY)

    def _provider(self, name: str, provider: str, model: str) -> RemoteModel:
        """A model that LangChain speaks to."""
        variable = _PROVIDER_KEYS.get(provider, f"{provider.upper()}_API_KEY")
        address = "OLLAMA_HOST" if provider == "ollama" else f"{provider.upper()}_BASE_URL"
        endpoint = Endpoint(
            base_url=self.keys.variable(address),
            key=self.keys.variable(variable),
            model=model,
            counts=False,
            provider=provider,
        )
        profile = ModelProfile(
            name=model,
            context_tokens=self.remote_context_tokens,
            passages=PASSAGES,
            opening="",
            prompt_price_per_million=None,
            answer_price_per_million=None,
        )
        return RemoteModel(name, endpoint, profile, key_variable=variable)
