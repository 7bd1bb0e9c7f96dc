"""PEFT weights → a GGUF LoRA that llama.cpp serves: an exact renaming, no arithmetic.

The base was converted from Hugging Face's layout to GGUF's, which stores the rows of the query
and key projections in another order (their rotary halves interleaved). The rows of `lora_B` of
those two projections are put in the same order; everything else keeps its values.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
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


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What an adapter must fit.

    Args:
        architecture: as GGUF names it.
        heads: of the query and of the key projection, by their GGUF names.
        shapes: of every tensor, (inputs, outputs) for a matrix, by its name.
    """

    architecture: str
    heads: dict[str, int]
    shapes: dict[str, tuple[int, ...]]


def read_base(base_gguf: Path) -> BaseFacts:
    """What a base says of itself; read once per version of the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no GGUF file.
    """
    return _read_base(base_gguf, base_gguf.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_base(base_gguf: Path, _modified_ns: int) -> BaseFacts:
    import gguf

    base = gguf.GGUFReader(base_gguf)
    return BaseFacts(
        architecture=str(_field(base, "general.architecture")),
        heads={
            "attn_q": int(_field(base, "llama.attention.head_count") or 0),
            "attn_k": int(_field(base, "llama.attention.head_count_kv") or 0),
        },
        shapes={one.name: tuple(int(n) for n in one.shape) for one in base.tensors},
    )


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
        base = read_base(base_gguf)
    except (OSError, ValueError, SafetensorError) as error:
        raise TuningError(
            "The adapter cannot be exported: its weights or the base cannot be read.",
            cure="Train it again.",
        ) from error
    if base.architecture != "llama":
        raise TuningError(
            f"Only adapters of the llama architecture can be exported, not {base.architecture}.",
            cure="Choose another base.",
        )
    writer = gguf.GGUFWriter(out, base.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, served_alpha(config))
    for name, tensor in sorted(tensors.items()):
        base_name, matrix = module_of(name)
        if base_name not in base.shapes:
            raise TuningError(f"{name} has no counterpart in the base.", cure="Check the recipe.")
        values = tensor.float().numpy()
        projection = base_name.split(".")[2]
        if matrix == "b" and projection in base.heads:
            values = interleave_rotary_rows(values, base.heads[projection])
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


def served_alpha(config: dict[str, Any]) -> float:
    """The alpha that gives PEFT's scale where it is divided by the rank: PEFT itself divides the
    alpha of a rank-stabilised LoRA by the rank's root."""
    alpha, rank = float(config["lora_alpha"]), config.get("r", 1)
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def module_of(peft_name: str) -> tuple[str, str]:
    """('blk.N.attn_q.weight', 'a' or 'b') for a PEFT tensor name.

    Raises:
        TuningError: it is none of a plain LoRA, or of a module that is not served.
    """
    found = _PEFT_NAME.fullmatch(peft_name)
    if not found or found[2] not in PROJECTION_NAMES:
        raise TuningError(
            f"{peft_name[:120]} is no tensor of a plain LoRA of a module that can be served.",
            cure=f"Those are {', '.join(one.partition('.')[2] for one in PROJECTION_NAMES)}.",
        )
    return f"blk.{found[1]}.{PROJECTION_NAMES[found[2]]}.weight", found[3].lower()


def _field(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field else None
