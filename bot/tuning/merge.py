"""Base and adapter as one GGUF file: what any program that runs GGUF files can load.

Made of the very file that is served, so that its answers tell what that file holds. Tensors are
read, changed and written one at a time: the memory it takes is that of the largest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bot.errors import TuningError

if TYPE_CHECKING:
    import numpy as np

Precision = Literal["f16", "base"]
"""Of the merged weights: 16 bits each, or whatever the base's own tensors have."""


def merge_gguf(adapter: Path, base: Path, out: Path, precision: Precision = "f16") -> Path:
    """Write the base with the adapter's update added to its weights.

    Args:
        adapter: a GGUF LoRA, made for this base.
        base: the base weights, a GGUF file.
        out: the file to write; what is there is replaced.

    Raises:
        TuningError: a file cannot be read, they do not belong together, or the base's own
            precision cannot be written.
        OSError: the file cannot be written.
    """
    import gguf
    import numpy

    try:
        lora, weights = gguf.GGUFReader(adapter), gguf.GGUFReader(base)
        alpha = float(lora.fields["adapter.lora.alpha"].contents())
        update = {tensor.name: tensor for tensor in lora.tensors}
    except (OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise _unreadable() from error
    names = {tensor.name for tensor in weights.tensors}
    if strangers := sorted({name.rpartition(".lora_")[0] for name in update} - names):
        raise TuningError(f"{strangers[0]} has no counterpart in the base.", cure="Check the base.")
    writer = gguf.GGUFWriter(out, str(weights.fields["general.architecture"].contents()))
    _copy_facts(weights, writer, precision)
    types = [_type(tensor, precision) for tensor in weights.tensors]
    for tensor, kind in zip(weights.tensors, types, strict=True):
        rows = [int(size) for size in reversed(tensor.shape)]
        block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        size_bytes = int(tensor.n_elements) // block * block_bytes
        writer.add_tensor_info(tensor.name, rows, numpy.dtype("f4"), size_bytes, raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in zip(weights.tensors, types, strict=True):
            writer.write_tensor_data(_merged(tensor, kind, update, alpha))
    except NotImplementedError as error:
        raise TuningError(
            f"{base.name} cannot be written again in its own precision.",
            cure="Merge it in 16 bits.",
        ) from error
    finally:
        writer.close()
    return out


def _copy_facts(weights: Any, writer: Any, precision: Precision) -> None:
    """What the base says of itself, the tokenizer and the chat template among it."""
    import gguf

    for field in weights.fields.values():
        kind = field.types[0]
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        if field.name == "general.file_type" and precision == "f16":
            writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
            continue
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, inner)


def _type(tensor: Any, precision: Precision) -> Any:
    """The type a tensor is written in: vectors stay as they are, in 32 bits."""
    import gguf

    is_vector = len(tensor.shape) < 2 or tensor.tensor_type == gguf.GGMLQuantizationType.F32
    if precision == "base" or is_vector:
        return tensor.tensor_type
    return gguf.GGMLQuantizationType.F16


def _merged(tensor: Any, kind: Any, update: dict[str, Any], alpha: float) -> np.ndarray:
    """A tensor's new bytes."""
    import gguf
    import numpy

    a, b = update.get(f"{tensor.name}.lora_a"), update.get(f"{tensor.name}.lora_b")
    if a is None or b is None:
        if kind == tensor.tensor_type:
            return numpy.ascontiguousarray(tensor.data)
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
    else:
        down, up = (gguf.dequantize(one.data, one.tensor_type) for one in (a, b))
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if up.shape[0] != values.shape[0] or down.shape[1] != values.shape[1]:
            raise TuningError(
                f"{tensor.name} has another shape in the adapter.", cure="Check the base."
            )
        values = values + (alpha / down.shape[0]) * (up @ down)
    return numpy.ascontiguousarray(gguf.quantize(values, kind))


def _unreadable() -> TuningError:
    return TuningError(
        "The adapter and the base cannot be merged: one of the files cannot be read.",
        cure="Train the adapter again, or install the base again with: make setup",
    )
