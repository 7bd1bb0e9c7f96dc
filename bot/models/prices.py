"""Context and prices of well-known hosted models, with the day they were looked up.

A server that tells its context itself is believed first. Prices change: whoever needs them exact
adds the model on the page, with the prices of today.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LOOKED_UP = "2025-08"
"""When the figures below were the published ones."""


OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True)
class Offer:
    """What is published of a hosted model: its context, and its prices in US dollars for a
    million tokens."""

    context_tokens: int
    prompt_price_per_million: float
    answer_price_per_million: float


_OPENAI_TRAINING = {
    "gpt-4.1": 25.00,
    "gpt-4.1-mini": 5.00,
    "gpt-4.1-nano": 1.50,
    "gpt-4o": 25.00,
    "gpt-4o-mini": 3.00,
    "gpt-3.5-turbo": 8.00,
}

_OPENAI = {
    "gpt-5": Offer(400_000, 1.25, 10.00),
    "gpt-5-mini": Offer(400_000, 0.25, 2.00),
    "gpt-5-nano": Offer(400_000, 0.05, 0.40),
    "gpt-4.1": Offer(1_047_576, 2.00, 8.00),
    "gpt-4.1-mini": Offer(1_047_576, 0.40, 1.60),
    "gpt-4.1-nano": Offer(1_047_576, 0.10, 0.40),
    "gpt-4o": Offer(128_000, 2.50, 10.00),
    "gpt-4o-mini": Offer(128_000, 0.15, 0.60),
    "gpt-4-turbo": Offer(128_000, 10.00, 30.00),
    "gpt-3.5-turbo": Offer(16_385, 0.50, 1.50),
    "o3": Offer(200_000, 2.00, 8.00),
    "o3-mini": Offer(200_000, 1.10, 4.40),
    "o4-mini": Offer(200_000, 1.10, 4.40),
}


def offer(host: str, model: str) -> Offer | None:
    """What is published of a model at a host; None when nothing is known.

    A dated name ("gpt-4.1-2025-04-14") is the same offer; a fine-tuned one has other prices.
    """
    return _OPENAI.get(_undated(model)) if host == OPENAI_HOST else None


def training_price_per_million(host: str, model: str) -> float | None:
    """What is published for a million trained tokens of a model at a host, in US dollars; None
    when nothing is known."""
    return _OPENAI_TRAINING.get(_undated(model)) if host == OPENAI_HOST else None


def _undated(model: str) -> str:
    return re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)
