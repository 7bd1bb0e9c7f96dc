"""An adapter as one file to take along: PEFT's folder in a zip, a GGUF LoRA, or merged weights."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Literal

from bot.errors import AdapterError
from bot.tuning import recipe as recipes
from bot.tuning.adapters import Adapter
from bot.tuning.export import CONFIG_NAME, WEIGHTS_NAME
from bot.tuning.merge import merge_gguf

Kind = Literal["peft", "lora", "merged"]
KINDS: tuple[Kind, ...] = ("peft", "lora", "merged")

_PEFT_FILES = (CONFIG_NAME, WEIGHTS_NAME, recipes.FILE_NAME)


def file_name(name: str, kind: Kind) -> str:
    """What the file of an adapter of that name is called."""
    return {
        "peft": f"{name}-peft.zip",
        "lora": f"{name}-lora-f16.gguf",
        "merged": f"{name}-merged-f16.gguf",
    }[kind]


def parcel(adapter: Adapter, kind: Kind, base: Path, out: Path) -> Path:
    """Write an adapter as one file, whole or not at all.

    Args:
        kind: "peft" for what PEFT loads, "lora" for llama.cpp beside the base, "merged" for base
            and adapter in one GGUF file.
        base: the base weights, a GGUF file; only "merged" needs it.
        out: the file to write; what is there is replaced.

    Raises:
        AdapterError: it cannot be written.
        TuningError: adapter and base cannot be merged.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        if kind == "peft":
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
                for name in _PEFT_FILES:
                    archive.write(adapter.folder / name, name)
        elif kind == "lora":
            shutil.copyfile(adapter.gguf_path, partial)
        else:
            merge_gguf(adapter.gguf_path, base, partial)
        partial.replace(out)
    except OSError as error:
        raise AdapterError(
            f"{out.name} cannot be written: {error.strerror or 'the disk failed'}.",
            cure="Check the folder and the disk.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return out
