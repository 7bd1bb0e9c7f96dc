"""Where a training stands, in one file that is whole or not there: tensors and JSON, no pickle."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FILE_NAME = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training as it was saved.

    Args:
        fingerprint: of the recipe and the examples; another training's is of no use.
        values: everything but tensors, JSON-able.
        tensors: weights and the optimiser's moments, by name.
    """

    fingerprint: str
    values: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write it beside the one before, on the disk for good, and put it in its place.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.torch import save as to_bytes

    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{FILE_NAME}.partial"
    metadata = {"fingerprint": checkpoint.fingerprint, "values": json.dumps(checkpoint.values)}
    with beside.open("wb") as file:
        file.write(to_bytes(dict(checkpoint.tensors), metadata=metadata))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / FILE_NAME)


def load(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint of the training with this fingerprint; None when there is no such one."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("fingerprint") != fingerprint:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(fingerprint, json.loads(metadata["values"]), tensors)
    except (OSError, SafetensorError, KeyError, ValueError, struct.error):
        return None
