"""The embedded model: llama.cpp servers of the base weights, alone or with one adapter."""

from __future__ import annotations

import sys
from dataclasses import replace

from bot.errors import ModelUnavailable, ServerError
from bot.models.catalog import (
    EMBEDDED_NAME,
    AdapterRef,
    AdapterWeights,
    ModelProfile,
    Origin,
    RemoteAdapter,
    Weights,
    verify,
)
from bot.models.client import Endpoint
from bot.models.serve import SLOTS
from bot.servers import Servers, ServerSpec

WARM_MODELS = 3
"""Servers of other local weights that stay loaded, so that some can answer side by side."""

WARM_ADAPTERS = 2
"""Adapter servers that stay loaded; the least recently used one makes room."""


class EmbeddedModel:
    """A base model and its adapters, each in a child server of its own.

    llama.cpp never computes a base and an adapter in one batch: in one server an adapter would
    wait until every other answer is finished. Two servers compute at the same time, so each is
    given half of the threads.
    """

    def __init__(
        self,
        servers: Servers,
        weights: Weights,
        profile: ModelProfile,
        context_tokens: int,
        threads: int,
        *,
        name: str = EMBEDDED_NAME,
    ) -> None:
        self.name = name
        self.title = profile.name
        self._profile = replace(profile, context_tokens=min(context_tokens, profile.context_tokens))
        self._weights = weights
        self._servers = servers
        self._threads = (threads + 1) // 2

    @property
    def weights(self) -> Weights:
        """The weights that answer."""
        return self._weights

    @property
    def profile(self) -> ModelProfile:
        """What prompts must know, with the context that is served."""
        return self._profile

    @property
    def identity(self) -> str:
        """The SHA-256 of the weights."""
        return self.weights.sha256

    @property
    def origin(self) -> Origin:
        """The file of the weights."""
        return Origin("weights", self.weights.path.name)

    def adapter_names(self) -> list[str]:
        """None: the adapters of local weights are folders on this machine."""
        return []

    def endpoint(self, adapter: AdapterRef | None = None, *, scale: float = 1.0) -> Endpoint:
        """Where the model answers; blocks while its server starts.

        Args:
            adapter: the LoRA to apply; None for the base model.
            scale: how strongly; 0.0 must answer like the base model.

        Raises:
            WeightsError: the base or adapter weights are not the expected ones.
            ModelUnavailable: the adapter is one of a remote server.
            ServerError: the server cannot be started.
        """
        if isinstance(adapter, RemoteAdapter):
            raise ModelUnavailable(
                f"{self.title} runs on this machine and cannot use {adapter.name}.",
                cure="Choose an adapter that was trained here.",
            )
        spec = self._spec(adapter, scale)
        try:
            address = self._servers.address(spec)
        except ServerError:
            verify(self.weights.path, self.weights.sha256)
            if adapter is not None:
                verify(adapter.path, adapter.sha256)
            raise
        name = _model_name(self.weights, adapter)
        return Endpoint(
            f"{address.base_url}/v1", address.key, name, started_here=True, places=SLOTS
        )

    def beside(self, weights: Weights, context_tokens: int) -> EmbeddedModel:
        """The same model with other weights, such as the ones that an adapter was merged into."""
        return EmbeddedModel(
            self._servers,
            weights,
            self._profile,
            context_tokens,
            self._threads * 2,
            name=weights.name,
        )

    def stop(self, adapter: AdapterWeights | None = None) -> None:
        """Stop the server of the base, or of an adapter, when it runs.

        Raises:
            ServerError: the child servers cannot be reached.
        """
        self._servers.stop(self._spec(adapter, 1.0).name)

    def _spec(self, adapter: AdapterWeights | None, scale: float) -> ServerSpec:
        command = [
            *(sys.executable, "-m", "bot.models.serve"),
            *("--weights", str(self.weights.path)),
            *("--sha256", self.weights.sha256),
            *("--alias", _model_name(self.weights, adapter)),
            *("--port", "{port}"),
            *("--context-tokens", str(self.profile.context_tokens)),
            *("--threads", str(self._threads)),
        ]
        if adapter is None:
            return self._base_spec(tuple(command))
        command += [
            *("--adapter", str(adapter.path)),
            *("--adapter-sha256", adapter.sha256),
            *("--adapter-scale", str(scale)),
        ]
        return ServerSpec(
            name=_server_name(adapter, scale),
            command=tuple(command),
            health_path="/health",
            group="adapter",
            group_limit=WARM_ADAPTERS,
        )

    def _base_spec(self, command: tuple[str, ...]) -> ServerSpec:
        if self.name == EMBEDDED_NAME:
            return ServerSpec("model", command, "/health")
        return ServerSpec(
            name=f"model-{self.weights.sha256[:12]}",
            command=command,
            health_path="/health",
            group="model",
            group_limit=WARM_MODELS,
        )


def _model_name(weights: Weights, adapter: AdapterWeights | None) -> str:
    return f"{weights.name}+{adapter.name}" if adapter else weights.name


def _server_name(adapter: AdapterWeights, scale: float) -> str:
    name = f"model+{adapter.name}-{adapter.sha256[:12]}"
    return name if scale == 1.0 else f"{name}-scale-{scale:g}"
