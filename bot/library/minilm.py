"""The forward pass of MiniLM, written out: texts in tokens → their vectors, without padding.

The tokens of all texts stand one behind the other, so no product is spent on padding; only
attention, in which texts must not see each other, lays them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADS = 12
LAYERS = 6
NORM_EPSILON = 1e-12

LEAST_STEP, STEPS = 16, 16
"""The number of tokens that are multiplied at a time is made a multiple of 16, or of a sixteenth
to a thirty-second of itself: for every other number oneDNN would keep six megabytes more."""

SHORT_TOKENS = 64
"""Up to here attention is quicker written out than in torch's own kernel."""


@dataclass(frozen=True, slots=True)
class _Affine:
    """Weights and biases of one product, or of one normalisation."""

    weight: Any
    bias: Any


@dataclass(frozen=True, slots=True)
class _Layer:
    queries_keys_values: _Affine
    attended: _Affine
    attended_norm: _Affine
    widened: _Affine
    narrowed: _Affine
    narrowed_norm: _Affine


class MiniLM:
    """The weights. Products are made in bfloat16, which takes about half the time of float32, and
    everything between them in float32: the vectors' cosine to float32 alone is above 0.9999.

    Threads may share it.

    Args:
        weights: tensors by the names that BERT's checkpoints give them.

    Raises:
        KeyError: a tensor is missing.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        import torch

        def product(*names: str) -> _Affine:
            weight = torch.cat([weights[f"{name}.weight"] for name in names])
            bias = torch.cat([weights[f"{name}.bias"] for name in names])
            return _Affine(weight.bfloat16(), bias.bfloat16())

        def norm(name: str) -> _Affine:
            # Copies, as these would keep the whole file mapped.
            return _Affine(weights[f"{name}.weight"].clone(), weights[f"{name}.bias"].clone())

        def layer(name: str) -> _Layer:
            return _Layer(
                product(*(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))),
                product(f"{name}.attention.output.dense"),
                norm(f"{name}.attention.output.LayerNorm"),
                product(f"{name}.intermediate.dense"),
                product(f"{name}.output.dense"),
                norm(f"{name}.output.LayerNorm"),
            )

        self._words = weights["embeddings.word_embeddings.weight"].bfloat16()
        # Every text is of the first of BERT's two kinds, so its vector is a part of the place's.
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        self._places = weights["embeddings.position_embeddings.weight"] + kind
        self._norm = norm("embeddings.LayerNorm")
        self._layers = [layer(f"encoder.layer.{number}") for number in range(LAYERS)]

    def __call__(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """For each text the mean of its tokens' states, shape (len(texts), 384).

        Args:
            texts: token ids, at least one and at most 512 for each text.
        """
        import torch

        # One: threads within a batch wait for each other, which costs much on a busy machine.
        torch.set_num_threads(1)
        count = len(texts)
        texts = [*texts, *_filling(sum(len(text) for text in texts))]
        lengths = [len(text) for text in texts]
        with torch.inference_mode():
            tokens = torch.tensor([token for text in texts for token in text])
            places = torch.cat([torch.arange(length) for length in lengths])
            states = _normed(self._words[tokens].float() + self._places[places], self._norm)
            attention = _Attention(lengths, places)
            for layer in self._layers:
                attended = attention(_product(states, layer.queries_keys_values))
                attended = _product(attended, layer.attended)
                states = _normed(attended + states, layer.attended_norm)
                wide = torch.nn.functional.gelu(_product(states, layer.widened))
                states = _normed(_product(wide, layer.narrowed) + states, layer.narrowed_norm)
            means = [text.mean(0) for text in states.split(lengths)[:count]]
            found: NDArray[np.float32] = torch.stack(means).numpy()
            return found


def read_minilm(path: Path) -> MiniLM:
    """The model of a safetensors file.

    Raises:
        OSError: the file cannot be read.
        safetensors.SafetensorError: it is damaged.
        KeyError: it holds another model.
    """
    from safetensors.torch import load_file

    return MiniLM(load_file(path))


def _filling(tokens: int) -> list[list[int]]:
    """A text that nobody asked for, or none, with which the tokens become a round number."""
    step = LEAST_STEP
    while 2 * step * STEPS <= tokens:
        step *= 2
    left = -tokens % step
    return [[0] * left] if left else []


class _Attention:
    """Attention of tokens that stand one behind the other, each within its own text."""

    def __init__(self, lengths: Sequence[int], places: Any) -> None:
        import torch

        self._texts, self._longest = len(lengths), max(lengths)
        ends = torch.tensor(lengths)[:, None]
        outside = torch.arange(self._longest) >= ends
        self._unseen = torch.zeros(outside.shape).masked_fill_(outside, float("-inf"))
        self._unseen = self._unseen[:, None, None, :]
        starts = torch.arange(self._texts) * self._longest
        self._slots = torch.repeat_interleave(starts, ends[:, 0]) + places

    def __call__(self, queries_keys_values: Any) -> Any:
        """From (tokens, 3 · 384) to (tokens, 384)."""
        import torch

        width = queries_keys_values.shape[1]
        side_by_side = queries_keys_values.new_zeros(self._texts * self._longest, width)
        side_by_side[self._slots] = queries_keys_values
        size = width // 3 // HEADS
        shape = (self._texts, self._longest, 3, HEADS, size)
        queries, keys, values = side_by_side.view(shape).permute(2, 0, 3, 1, 4)
        if self._longest <= SHORT_TOKENS:
            scores = torch.matmul(queries * size**-0.5, keys.transpose(-1, -2)).float()
            shares = scores.add_(self._unseen).softmax(-1).to(values.dtype)
            attended = torch.matmul(shares, values)
        else:
            attended = torch.nn.functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=self._unseen.to(values.dtype)
            )
        return attended.transpose(1, 2).reshape(-1, width // 3)[self._slots]


def _product(states: Any, affine: _Affine) -> Any:
    import torch

    states = states.to(affine.weight.dtype)
    return torch.nn.functional.linear(states, affine.weight, affine.bias)


def _normed(states: Any, affine: _Affine) -> Any:
    import torch

    return torch.nn.functional.layer_norm(
        states, states.shape[-1:], affine.weight, affine.bias, NORM_EPSILON
    )
