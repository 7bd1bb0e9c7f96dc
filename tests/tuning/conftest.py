"""What the tests of tuning share."""

from __future__ import annotations

from typing import Any

import pytest

from bot.models.catalog import embedded_weights


@pytest.fixture(scope="session")
def base() -> tuple[Any, Any]:
    """Tokenizer and model of the base weights, as training reads them."""
    import torch

    from bot.tuning.base import read_model, read_tokenizer

    path = embedded_weights().path
    return read_tokenizer(path), read_model(path, torch.float32)
