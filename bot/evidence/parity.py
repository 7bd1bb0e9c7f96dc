"""The parity gate: is what is served what was trained? An adapter is offered only when it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "parity.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How an adapter's served answers agree with PEFT's, for exactly these files.

    Differences are of the natural logarithms of the probabilities of PEFT's own greedy tokens,
    in nats.

    Args:
        passed: the adapter may be offered.
        reason: why not, in words; empty when it passed.
        answers: greedy answers that were compared.
        answers_equal: those that are the same, token for token.
        largest_logprob_difference: of one token, as it is served.
        mean_logprob_difference: over all tokens, as it is served.
        tolerance: the largest mean difference that passes, as it is served.
        merged_answers_equal: answers of base and adapter in one file that are the same.
        merged_largest_logprob_difference: of one token, base and adapter in one file.
        merged_mean_logprob_difference: over all tokens, base and adapter in one file.
        merged_tolerance: the largest mean difference that passes, in one file.
        adapter_sha256: of the served adapter.
        base_sha256: of the base weights.
        checked_at: ISO 8601, UTC.
    """

    passed: bool
    reason: str = ""
    answers: int = 0
    answers_equal: int = 0
    largest_logprob_difference: float = 0.0
    mean_logprob_difference: float = 0.0
    tolerance: float = 0.0
    merged_answers_equal: int = 0
    merged_largest_logprob_difference: float = 0.0
    merged_mean_logprob_difference: float = 0.0
    merged_tolerance: float = 0.0
    adapter_sha256: str = ""
    base_sha256: str = ""
    checked_at: str = ""

    def is_for(self, adapter_sha256: str, base_sha256: str) -> bool:
        """Whether it tells of these very files."""
        return (self.adapter_sha256, self.base_sha256) == (adapter_sha256, base_sha256)


def read_parity(folder: Path) -> Parity | None:
    """What the gate found for the adapter in a folder; None when it was never checked."""
    try:
        return Parity(**json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_parity(parity: Parity, folder: Path) -> None:
    """Put the result beside the adapter, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(asdict(parity), indent=2, ensure_ascii=False)
    partial = folder / f".{FILE_NAME}"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(folder / FILE_NAME)
