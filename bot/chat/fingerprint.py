"""What exactly produced an answer, so that two answers can be told apart by their causes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.messages import Message


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything an answer depends on.

    Args:
        weights: which base model answered: the SHA-256 of local weights, else "name@host".
        adapter: which adapter: the SHA-256 of local weights, else its name on the server; None
            when the base model answered alone.
        prompt_sha256: of the messages that were sent; empty when the model was not asked.
        passage_ids: of the passages in the prompt, best first.
        sampling: `temperature` and `max_tokens`.
        seed: of the sampling.
    """

    weights: str
    adapter: str | None
    prompt_sha256: str
    passage_ids: tuple[str, ...]
    sampling: Mapping[str, float]
    seed: int

    @property
    def on_this_machine(self) -> bool:
        """The base model's weights lie here, or on a server of this machine."""
        _name, at, host = self.weights.rpartition("@")
        return not at or urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1", "::1")


def prompt_sha256(messages: Sequence[Message]) -> str:
    """The SHA-256 of messages in their wire format; empty for no messages."""
    if not messages:
        return ""
    wire = json.dumps([message.as_dict() for message in messages], ensure_ascii=False)
    return hashlib.sha256(wire.encode("utf-8", "surrogatepass")).hexdigest()
