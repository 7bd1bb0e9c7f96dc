"""The parity gate: is what is served what was trained? An adapter is offered only when it is.

PEFT's own greedy answers (`bot.tuning.reference`) are put beside those of the server that will
answer: token for token, and by the log-probabilities of the likeliest tokens at every place. Then
base and adapter are merged into one file in 16 bits, which is asked the same. That file is made
of the adapter that is served, and its server rounds much less, so it tells small mistakes from
rounding; the first comparison tells whether the adapter is applied at all as it is served.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from bot.errors import ModelError, ServerError, TuningError
from bot.models import client
from bot.models.catalog import AdapterWeights, Weights
from bot.models.client import Endpoint
from bot.models.embedded import EmbeddedModel
from bot.models.serve import SLOTS
from bot.tuning.adapters import Adapter
from bot.tuning.digest import file_sha256
from bot.tuning.merge import merge_gguf
from bot.tuning.reference import Answered, Reference

FILE_NAME = "parity.json"

TOLERANCE = 0.3
"""Nats, of the server as it answers: four-bit weights, and activations rounded to eight bits.
Measured: 0.14 for a right adapter; the smallest defect that must be found 1.35 (see 0024)."""

MERGED_TOLERANCE = 0.02
"""Nats, of the merged file in 16 bits. Measured: 0.005 for a right adapter; 0.15 for one whose
alpha is 33 instead of 32."""

CONTEXT_TOKENS = 1024
_TOP = 40
"""Likeliest tokens that the server tells at each place; PEFT's eight are among them."""

_ENOUGH = 4
"""Tokens of one answer that are others than PEFT's, after which the rest says nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How an adapter's served answers agree with PEFT's, for exactly these files.

    Differences are of log-probabilities, in nats, at every place of PEFT's greedy answers: the
    largest of PEFT's own tokens, the mean over PEFT's eight likeliest tokens at each place.

    Args:
        passed: the adapter may be offered.
        reason: why not, in words; empty when it passed.
        answers: greedy answers that were compared.
        answers_equal: those that are the same, token for token.
        largest_logprob_difference: of one token, as it is served.
        mean_logprob_difference: as it is served.
        tolerance: the largest mean difference that passes, as it is served; where another token
            is chosen, PEFT's own margin between the two may be as large.
        merged_answers_equal: answers of base and adapter in one file that are the same.
        merged_largest_logprob_difference: of one token, base and adapter in one file.
        merged_mean_logprob_difference: base and adapter in one file.
        merged_tolerance: the same as `tolerance`, for base and adapter in one file.
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


@dataclass(frozen=True, slots=True)
class Agreement:
    """A server's answers beside PEFT's.

    Args:
        answers: how many were compared.
        answers_equal: those that are the same, token for token.
        largest_difference: of the log-probability of one of PEFT's tokens, in nats.
        mean_difference: of those of PEFT's likeliest tokens at every place, in nats.
        widest_margin: PEFT's own, in nats, between its token and the one that the server chose
            in its stead; 0 when it never did.
    """

    answers: int
    answers_equal: int
    largest_difference: float
    mean_difference: float
    widest_margin: float


def check_parity(
    adapter: Adapter, model: EmbeddedModel, reference: Reference, scratch: Path
) -> Parity:
    """Compare what is served with what PEFT answers; takes some seconds. A server of an adapter
    that passed stays warm, one of an adapter that failed is stopped.

    Args:
        model: the base that the adapter was made for.
        reference: PEFT's answers with this adapter.
        scratch: a folder with room for the merged weights, which go away again.

    Raises:
        ServerError: the base model's own server cannot be started.
        TuningError: the merged weights cannot be written.
    """
    weights = AdapterWeights(adapter.name, adapter.gguf_path, adapter.sha256)
    found = Parity(
        passed=False,
        answers=len(reference.answers),
        tolerance=TOLERANCE,
        merged_tolerance=MERGED_TOLERANCE,
        adapter_sha256=adapter.sha256,
        base_sha256=model.identity,
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    found = _served(found, weights, model, reference)
    if not found.reason:
        found = _merged(found, adapter, model, reference, scratch)
    if found.reason:
        model.stop(weights)
        return found
    return replace(found, passed=True)


def _served(
    found: Parity, weights: AdapterWeights, model: EmbeddedModel, reference: Reference
) -> Parity:
    model.endpoint()  # when this fails, it is not for the adapter
    try:
        endpoint = model.endpoint(weights)
        if reference.base_sha256 != model.identity:
            return replace(found, reason="PEFT answered on other base weights.")
        if not asyncio.run(_same_prompt(endpoint, reference.answers[0])):
            return replace(found, reason="A question has other tokens as it is served.")
        agreement = asyncio.run(agree(endpoint, reference))
    except (ServerError, ModelError) as error:
        return replace(found, reason=f"It cannot be served: {error.message}")
    return replace(
        found,
        reason=_objection(agreement, TOLERANCE, "as it is served"),
        answers_equal=agreement.answers_equal,
        largest_logprob_difference=agreement.largest_difference,
        mean_logprob_difference=agreement.mean_difference,
    )


def _merged(
    found: Parity, adapter: Adapter, model: EmbeddedModel, reference: Reference, scratch: Path
) -> Parity:
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="merged-", dir=scratch) as folder:
            path = merge_gguf(adapter.gguf_path, model.weights.path, Path(folder) / "merged.gguf")
            weights = Weights("merged", path, file_sha256(path), path.stat().st_size)
            merged = model.beside(weights, CONTEXT_TOKENS)
            try:
                agreement = asyncio.run(agree(merged.endpoint(), reference))
            finally:
                merged.stop()
    except TuningError as error:
        return replace(found, reason=f"It cannot be merged with its base: {error.message}")
    except OSError as error:
        raise TuningError(
            f"The merged weights cannot be written: {error.strerror or 'the disk failed'}.",
            cure="Make room on the disk, then check the adapter again.",
        ) from error
    return replace(
        found,
        reason=_objection(agreement, MERGED_TOLERANCE, "merged with its base into one file"),
        merged_answers_equal=agreement.answers_equal,
        merged_largest_logprob_difference=agreement.largest_difference,
        merged_mean_logprob_difference=agreement.mean_difference,
    )


def _objection(agreement: Agreement, tolerance: float, how: str) -> str:
    """Why the agreement is not enough, in words; empty when it is."""
    if agreement.mean_difference > tolerance:
        return (
            f"What it answers {how} is not what was trained: the log-probabilities of its tokens "
            f"are {agreement.mean_difference:.2g} away from PEFT's, and at most {tolerance:g} is "
            "rounding."
        )
    if agreement.widest_margin > tolerance:
        other = agreement.answers - agreement.answers_equal
        return (
            f"{other} of {agreement.answers} answers {how} are other words than PEFT's, which "
            f"preferred its own by {agreement.widest_margin:.2g}; at most {tolerance:g} is "
            "rounding."
        )
    return ""


async def _same_prompt(endpoint: Endpoint, answered: Answered) -> bool:
    tokens = await client.prompt_tokens(endpoint, answered.messages)
    return tuple(tokens) == answered.prompt_ids


async def agree(endpoint: Endpoint, reference: Reference) -> Agreement:
    """Put a server's answers beside PEFT's.

    Raises:
        ModelError: the server does not answer.
    """
    places = asyncio.Semaphore(SLOTS)
    found = await asyncio.gather(
        *(_agree_on(endpoint, answered, places) for answered in reference.answers)
    )
    return Agreement(
        answers=len(found),
        answers_equal=sum(one.answers_equal for one in found),
        largest_difference=round(max(one.largest_difference for one in found), 5),
        mean_difference=round(fmean(one.mean_difference for one in found), 5),
        widest_margin=round(max(one.widest_margin for one in found), 5),
    )


async def _agree_on(endpoint: Endpoint, answered: Answered, places: asyncio.Semaphore) -> Agreement:
    """One answer. Where the server would go on with another token, it is told PEFT's, so that
    all that follows is compared as well."""
    differences: list[float] = []
    largest, widest, place, others = 0.0, 0.0, 0, 0
    while place < len(answered.token_ids) and others < _ENOUGH:
        said = answered.prompt_ids + answered.token_ids[:place]
        rest = len(answered.token_ids) - place
        async with places:
            choices = await client.greedy_tokens(endpoint, said, most_tokens=rest, top=_TOP)
        for choice in choices:
            wanted = answered.token_ids[place]
            least = min(choice.logprobs.values())
            differences += [
                abs(choice.logprobs.get(token, least) - logprob)
                for token, logprob in answered.likeliest[place]
            ]
            own = answered.logprobs[place]
            largest = max(largest, abs(choice.logprobs.get(wanted, least) - own))
            if choice.id != wanted:
                others += 1
                widest = max(widest, own - _logprob(answered, place, choice.id))
            place += 1
            if choice.id != wanted:
                break
    return Agreement(1, int(not others), largest, fmean(differences), widest)


def _logprob(answered: Answered, place: int, token: int) -> float:
    """PEFT's, of any token at a place; for one that is not among the likeliest, the most it
    can be."""
    known = dict(answered.likeliest[place])
    return known.get(token, min(known.values()))


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
