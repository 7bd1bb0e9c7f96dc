"""PEFT → GGUF: names, row order, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bot.errors import TuningError
from bot.models.catalog import embedded_weights
from bot.tuning.export import export_gguf, interleave_rotary_rows

LAYER = "base_model.model.model.layers.29"


def write_lora(folder: Path, projection: str) -> dict[str, torch.Tensor]:
    rows = {"self_attn.q_proj": 576, "self_attn.k_proj": 192}.get(projection, 576)
    tensors = {
        f"{LAYER}.{projection}.lora_A.weight": torch.randn(4, 576).to(torch.bfloat16),
        f"{LAYER}.{projection}.lora_B.weight": torch.randn(rows, 4).to(torch.bfloat16),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 32}))
    return tensors


def test_rotary_halves_come_to_lie_side_by_side() -> None:
    rows = np.arange(12).reshape(12, 1)  # two heads of six rows
    assert interleave_rotary_rows(rows, 2)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("projection", "name", "heads"),
    [
        ("self_attn.q_proj", "blk.29.attn_q.weight", 9),
        ("self_attn.k_proj", "blk.29.attn_k.weight", 3),
        ("self_attn.v_proj", "blk.29.attn_v.weight", 0),
    ],
)
def test_values_survive_and_only_query_and_key_rows_move(
    tmp_path: Path, projection: str, name: str, heads: int
) -> None:
    lora_a, lora_b = (
        tensor.float().numpy() for tensor in write_lora(tmp_path, projection).values()
    )
    out = export_gguf(tmp_path, embedded_weights().path, tmp_path / "adapter.gguf")
    reader = gguf.GGUFReader(out)
    found = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    expected_b = interleave_rotary_rows(lora_b, heads) if heads else lora_b
    assert set(found) == {f"{name}.lora_a", f"{name}.lora_b"}
    np.testing.assert_array_equal(found[f"{name}.lora_a"], lora_a.astype("float16"))
    np.testing.assert_array_equal(found[f"{name}.lora_b"], expected_b.astype("float16"))
    facts = {
        key: reader.get_field(key).contents()
        for key in ("general.architecture", "general.type", "adapter.type", "adapter.lora.alpha")
    }
    assert list(facts.values()) == ["llama", "adapter", "lora", 32.0]


@pytest.mark.integration
def test_the_base_stores_its_query_rows_in_the_order_we_give_ours(base: tuple[Any, Any]) -> None:
    """The very tensor that the base holds is the one transformers reads, interleaved."""
    _, model = base
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(embedded_weights().path).tensors}
    attention = model.model.layers[29].self_attn
    for name, module, heads in (("q", attention.q_proj, 9), ("k", attention.k_proj, 3)):
        tensor = stored[f"blk.29.attn_{name}.weight"]
        raw = gguf.dequantize(tensor.data, tensor.tensor_type)
        read = module.weight.detach().float().numpy()
        assert not np.allclose(read, raw, atol=1e-2)
        np.testing.assert_allclose(interleave_rotary_rows(read, heads), raw, atol=1e-2)


@pytest.mark.integration
def test_a_tensor_without_counterpart_is_refused(tmp_path: Path) -> None:
    write_lora(tmp_path, "mlp.router")
    with pytest.raises(TuningError, match="no tensor of a plain LoRA"):
        export_gguf(tmp_path, embedded_weights().path, tmp_path / "adapter.gguf")


def test_missing_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="cannot be exported"):
        export_gguf(tmp_path, tmp_path / "base.gguf", tmp_path / "adapter.gguf")
    write_lora(tmp_path, "self_attn.q_proj")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(TuningError, match="cannot be exported"):
        export_gguf(tmp_path, tmp_path / "base.gguf", tmp_path / "adapter.gguf")
