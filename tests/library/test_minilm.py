"""The forward pass gives what sentence-transformers gives with the same weights in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from bot.errors import EmbedderError
from bot.library import embed, minilm
from bot.library.embed import Embedder
from bot.library.minilm import read_minilm

TEXTS = (
    "How hot is the oven?",
    "The Heron 5 costs 4,950 € without VAT, and weighs 212.5 kg.",
    "Öfen – Größe, Gewicht & Ausstattung; 日本語のテスト",
    "Cooling takes long. " * 40,
    "A kiln must cool below 90 °C before its lid is opened, as glazes crack in cold air. " * 3,
    "x",
)
EXPECTED = Path(__file__).with_name("minilm_expected.npy")
"""`SentenceTransformer(weights_folder(), device="cpu").encode(TEXTS, normalize_embeddings=True)`"""


@pytest.mark.integration
def test_vectors_are_those_of_sentence_transformers(embedder: Embedder) -> None:
    expected = np.load(EXPECTED, allow_pickle=False)
    together = embedder.embed(TEXTS)
    assert np.sum(together * expected, axis=1).min() > 0.9999
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert np.sum(alone * expected, axis=1).min() > 0.9999


@pytest.mark.integration
@pytest.mark.parametrize("short", [0, 10_000])
def test_both_ways_of_attention_agree(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    monkeypatch.setattr(minilm, "SHORT_TOKENS", short)
    expected = np.load(EXPECTED, allow_pickle=False)
    assert np.sum(embedder.embed(TEXTS) * expected, axis=1).min() > 0.9999


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SafetensorError):
        read_minilm(tmp_path / "model.safetensors")
    monkeypatch.setattr(embed, "weights_folder", lambda: tmp_path)
    with pytest.raises(EmbedderError, match="cannot be loaded"):
        Embedder().embed(["text"])


def test_few_different_numbers_of_tokens_are_multiplied() -> None:
    added = {tokens: sum(map(len, minilm._filling(tokens))) for tokens in range(1, 4097)}
    assert len({tokens + more for tokens, more in added.items()}) == 80
    assert all(more < 16 or more <= tokens / 16 for tokens, more in added.items())
