"""The base weights as training sees them: a GGUF file, dequantised, in Hugging Face's layout.

transformers reads such files too, in three passes that take a quarter of a minute; this takes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import TuningError
from bot.tuning.export import PROJECTION_NAMES, pair_rotary_halves

if TYPE_CHECKING:
    import torch

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
} | {gguf: name for name, gguf in PROJECTION_NAMES.items()}


def read_tokenizer(base: Path) -> Any:
    """The tokenizer that a GGUF file holds, chat template included.

    Raises:
        TuningError: it cannot be read.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    try:
        return transformers.PreTrainedTokenizerFast.from_pretrained(
            str(base.parent), gguf_file=base.name
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unreadable(base) from error


def read_model(base: Path, dtype: torch.dtype) -> Any:
    """The model that a GGUF file of the llama architecture holds, every weight in one type.

    Raises:
        TuningError: it cannot be read, or is of another architecture.
    """
    import gguf
    import torch
    from transformers import LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    try:
        reader = gguf.GGUFReader(base)
        config = _config(reader)
        with torch.device("meta"):
            model = LlamaForCausalLM(config)
        model.load_state_dict(dict(_tensors(reader, config, dtype)), strict=False, assign=True)
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise _unreadable(base) from error
    model.tie_weights()
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    if missing := [name for name, one in model.named_parameters() if one.is_meta]:
        raise TuningError(f"{base.name} lacks {missing[0]}.", cure="Choose another base.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).requires_grad_(False).eval()


def _config(reader: Any) -> Any:
    from transformers import LlamaConfig

    def field(key: str, default: Any = None) -> Any:
        found = reader.get_field(key)
        return found.contents() if found else default

    architecture = field("general.architecture")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if architecture != "llama" or "rope_freqs.weight" in tensors:
        raise TuningError(
            f"Only models of the plain llama architecture can be trained, not {architecture}.",
            cure="Choose another base.",
        )
    heads = field("llama.attention.head_count")
    width = field("llama.embedding_length")
    return LlamaConfig(
        vocab_size=int(tensors["token_embd.weight"].shape[1]),
        hidden_size=width,
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=field("llama.attention.head_count_kv", heads),
        head_dim=field("llama.attention.key_length", width // heads),
        max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": field("llama.rope.freq_base", 10000.0),
        },
        tie_word_embeddings="output.weight" not in tensors,
        bos_token_id=field("tokenizer.ggml.bos_token_id"),
        eos_token_id=field("tokenizer.ggml.eos_token_id"),
        pad_token_id=field("tokenizer.ggml.padding_token_id"),
    )


def _tensors(reader: Any, config: Any, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    import gguf
    import torch

    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for tensor in reader.tensors:
        *block, own, kind = tensor.name.split(".")
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if own in heads:
            values = pair_rotary_halves(values, heads[own])
        prefix = f"model.layers.{block[1]}." if block else ""
        yield f"{prefix}{_NAMES[own]}.{kind}", torch.tensor(values, dtype=dtype)


def _unreadable(base: Path) -> TuningError:
    return TuningError(
        f"The base weights {base.name} cannot be read for training.",
        cure="Install them again with: make setup",
    )
