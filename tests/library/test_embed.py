"""The embedder gives unit vectors in which meaning is near."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from threading import Thread

import numpy as np
import pytest

from bot.errors import EmbedderError
from bot.library import embed
from bot.library.embed import Embedder
from bot.settings import ROOT


@pytest.mark.integration
def test_vectors_are_unit_float32_and_near_in_meaning(embedder: Embedder) -> None:
    texts = ["How hot is the oven?", "The temperature of the oven is high", "Our office dog"]
    vectors = embedder.embed(texts)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2, vectors @ vectors.T


@pytest.mark.integration
def test_embedding_again_gives_the_same(embedder: Embedder) -> None:
    texts = ["A row.", "Another row.", "A row."]
    first = embedder.embed_again(texts)
    assert first.shape == (3, 384)
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(first, embedder.embed_again(texts))
    assert np.all(np.sum(first * embedder.embed(texts), axis=1) > 0.999)


@pytest.mark.integration
def test_remembered_texts_are_limited(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "REMEMBERED_TEXTS", 2)
    assert embedder.embed_again(["a", "b", "c"]).shape == (3, 384)
    assert len(embedder._recent) == 2


@pytest.mark.integration
def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.embed_again([]).shape == (0, 384)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_few_texts_are_shared_out_evenly(workers: int) -> None:
    lengths = [30, 190, 150, 90, 60, 60, 50, 40, 200, 30, 20, 10]
    batches = embed._shared_out(lengths, workers)
    assert sorted(n for batch in batches for n in batch) == list(range(12))
    assert len(batches) == workers
    assert max(sum(lengths[n] for n in batch) for batch in batches) <= sum(lengths) / workers + 10


def test_fewer_texts_than_workers_are_a_batch_each() -> None:
    assert embed._shared_out([5, 7], 4) == [[1], [0]]


def test_many_texts_come_in_batches_of_one_size_and_similar_length() -> None:
    batches = embed._shared_out([*range(40), 1000, *range(40, 79)], 2)
    assert [len(batch) for batch in batches] == [16] * 5
    assert batches[0][0] == 40
    assert batches[-1] == list(reversed(range(16)))


def test_threads_may_share_it(embedder: Embedder) -> None:
    texts = [f"text number {n}" for n in range(4)]
    found: dict[str, np.ndarray] = {}

    def work(text: str) -> None:
        found[text] = embedder.embed([text])[0]

    threads = [Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = embedder.embed(texts)
    assert all(found[t] @ v > 0.999 for t, v in zip(texts, together, strict=True))


@pytest.mark.integration
def test_identity_names_the_weights(embedder: Embedder) -> None:
    name, sha256 = embedder.identity.split("@")
    assert name == "all-MiniLM-L6-v2"
    assert len(sha256) == 64


def test_missing_weights_name_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(embed, "distribution", missing)
    with pytest.raises(EmbedderError, match="make setup"):
        Embedder().embed(["text"])
    with pytest.raises(EmbedderError, match="make setup"):
        _ = Embedder().identity


def test_loading_it_asks_nobody_and_leaves_the_model_hub_reachable() -> None:
    script = (
        "import os, socket\n"
        "def refuse(*_): raise AssertionError('the network was asked')\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from bot.library.embed import Embedder\n"
        "Embedder().embed(['hello'])\n"
        "from huggingface_hub import constants\n"
        "print(constants.is_offline_mode(), [name for name in os.environ if 'OFFLINE' in name])\n"
    )
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ran.stdout == "False []\n", ran.stderr
