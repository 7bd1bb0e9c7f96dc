"""PEFT weights → a GGUF LoRA that llama.cpp serves: an exact renaming, no arithmetic.

The base was converted from Hugging Face's layout to GGUF's, which stores the rows of the query
and key projections in another order (their rotary halves interleaved). The rows of `lora_B` of
those two projections are put in the same order; everything else keeps its values.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import TuningError

if TYPE_CHECKING:
    import numpy as np

WEIGHTS_NAME = "adapter_model.safetensors"
CONFIG_NAME = "adapter_config.json"

PROJECTION_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_PEFT_NAME = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(\w+\.\w+)\.lora_([AB])\.weight")


def export_gguf(peft_folder: Path, base_gguf: Path, out: Path) -> Path:
    """Convert a PEFT LoRA of a llama-architecture base to a GGUF LoRA in float16.

    Args:
        peft_folder: holds `adapter_model.safetensors` and `adapter_config.json`.
        base_gguf: the weights the adapter belongs to; tells architecture and head counts.
        out: the file to write.

    Raises:
        TuningError: a file cannot be read, the base is of another architecture, or a tensor has
            no counterpart in it.
    """
    import gguf
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((peft_folder / CONFIG_NAME).read_text(encoding="utf-8"))
        tensors = load_file(peft_folder / WEIGHTS_NAME)
        base = gguf.GGUFReader(base_gguf)
    except (OSError, ValueError, SafetensorError) as error:
        raise TuningError(
            "The adapter cannot be exported: its weights or the base cannot be read.",
            cure="Train it again.",
        ) from error
    architecture = _field(base, "general.architecture")
    if architecture != "llama":
        raise TuningError(
            f"Only adapters of the llama architecture can be exported, not {architecture}.",
            cure="Choose another base.",
        )
    heads = {
        "attn_q": int(_field(base, "llama.attention.head_count")),
        "attn_k": int(_field(base, "llama.attention.head_count_kv")),
    }
    known = {tensor.name for tensor in base.tensors}
    writer = gguf.GGUFWriter(out, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for name, tensor in sorted(tensors.items()):
        base_name, matrix = _gguf_name(name)
        if base_name not in known:
            raise TuningError(f"{name} has no counterpart in the base.", cure="Check the recipe.")
        values = tensor.float().numpy()
        projection = base_name.split(".")[2]
        if matrix == "b" and projection in heads:
            values = interleave_rotary_rows(values, heads[projection])
        writer.add_tensor(f"{base_name}.lora_{matrix}", values.astype("float16"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def interleave_rotary_rows(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows (heads · head size, …) from Hugging Face's rotary order to GGUF's.

    Within a head, Hugging Face pairs row i with row i + half; GGUF puts the pair side by side.
    """
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def pair_rotary_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """The way back: rows (heads · head size, …) from GGUF's rotary order to Hugging Face's."""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _gguf_name(peft_name: str) -> tuple[str, str]:
    """('blk.N.attn_q.weight', 'a' or 'b') for a PEFT tensor name."""
    found = _PEFT_NAME.fullmatch(peft_name)
    if not found or found[2] not in PROJECTION_NAMES:
        raise TuningError(f"{peft_name} is no tensor of a plain LoRA.", cure="Train it again.")
    return f"blk.{found[1]}.{PROJECTION_NAMES[found[2]]}.weight", found[3].lower()


def _field(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field else None
