"""Adapter folders with stand-in weights."""

from __future__ import annotations

from pathlib import Path

from bot.tuning import adapters as shelf
from bot.tuning.recipe import TrainingRecipe

BASE = "a" * 64


def fill(folder: Path, weights: bytes = b"GGUF weights") -> Path:
    """Write what a training writes, with stand-in weights."""
    folder.mkdir(parents=True, exist_ok=True)
    TrainingRecipe(system_prompt="Be brief.", base_sha256=BASE).save(folder)
    (folder / shelf.GGUF_NAME).write_bytes(weights)
    shelf.write_manifest(folder, {"created_at": "2026-01-02T03:04:05+00:00"})
    return folder
