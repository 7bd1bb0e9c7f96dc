"""Small GGUF files, whole and broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter


def write_gguf(
    path: Path, *, name: str = "Kiln 1B", context_tokens: int = 2048, kind: str = "model"
) -> Path:
    """A file that says it is a small llama; its weights mean nothing."""
    writer = GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_type(kind)
    writer.add_context_length(context_tokens)
    writer.add_chat_template("{{ messages }}")
    writer.add_token_list([f"token-{number}" for number in range(500)])
    writer.add_tensor("token_embd.weight", np.zeros((500, 16), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
