"""What exactly produced an answer, so that two answers can be told apart by their causes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.messages import Message


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything an answer depends on.

    Args:
        weights_sha256: of the base model's weights.
        adapter_sha256: of the adapter's weights; None when the base model answered alone.
        prompt_sha256: of the messages that were sent; empty when the model was not asked.
        passage_ids: of the passages in the prompt, best first.
        sampling: `temperature` and `max_tokens`.
        seed: of the sampling.
    """

    weights_sha256: str
    adapter_sha256: str | None
    prompt_sha256: str
    passage_ids: tuple[str, ...]
    sampling: Mapping[str, float]
    seed: int


def prompt_sha256(messages: Sequence[Message]) -> str:
    """The SHA-256 of messages in their wire format; empty for no messages."""
    if not messages:
        return ""
    wire = json.dumps([message.as_dict() for message in messages], ensure_ascii=False)
    return hashlib.sha256(wire.encode("utf-8", "surrogatepass")).hexdigest()
