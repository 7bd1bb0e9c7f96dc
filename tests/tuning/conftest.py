"""What the tests of tuning share."""

from __future__ import annotations

from typing import Any

import pytest

from bot.models.catalog import embedded_weights


@pytest.fixture(scope="session")
def base() -> tuple[Any, Any]:
    """Tokenizer and model of the base weights, as training reads them."""
    from bot.tuning.train import load_base

    return load_base(embedded_weights().path)
