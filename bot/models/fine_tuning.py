"""Fine-tuning at a server of the OpenAI protocol: examples go up, a job makes a model of them.

See "Fine-tuning" in OpenAI's API reference. The model that a job makes is one more adapter of its
base: its id begins with ``ft:`` and the base's name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.messages import Message
from bot.models.client import Endpoint, calling, estimated_tokens

LEAST_EXAMPLES = 10
"""OpenAI refuses fewer."""

LISTED_JOBS = 20

_OVER = frozenset(("succeeded", "failed", "cancelled"))
_ABSENT = "This server has no fine-tuning. Choose a model of OpenAI, or train on this machine."


@dataclass(frozen=True, slots=True)
class FineTuningJob:
    """One job at the server.

    Args:
        base: name of the model that is trained.
        state: in the server's words, such as "validating_files", "running" or "succeeded".
        made: id of the model that it made; empty until then.
        trained_tokens: those that are paid for; None until the job is over.
        error: why it failed; empty when it did not.
    """

    id: str
    base: str
    state: str
    made: str
    trained_tokens: int | None
    error: str
    created_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in _OVER


def lines(chats: Sequence[Sequence[Message]], system_prompt: str) -> bytes:
    """The chats as JSON Lines for the server, each with the system prompt that is served."""
    system = Message("system", system_prompt)
    rows = ({"messages": [one.as_dict() for one in (system, *chat)]} for chat in chats)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def most_tokens(chats: Sequence[Sequence[Message]], system_prompt: str, epochs: int) -> int:
    """How many tokens are trained, rather too many than too few."""
    system = Message("system", system_prompt)
    return epochs * sum(estimated_tokens([system, *chat]) for chat in chats)


async def start(
    endpoint: Endpoint, examples: bytes, *, name: str, epochs: int, seed: int
) -> FineTuningJob:
    """Upload examples and start a job, **which costs money**.

    Args:
        examples: JSON Lines, see `lines`.
        name: becomes part of the made model's id; 64 characters at most.

    Raises:
        ModelError: the server refuses, or has no fine-tuning; nothing was started then.
    """
    async with calling(endpoint, absent=_ABSENT) as client:
        file = await client.files.create(
            file=("examples.jsonl", examples, "application/jsonl"), purpose="fine-tune"
        )
        job = await client.fine_tuning.jobs.create(
            model=endpoint.model,
            training_file=file.id,
            suffix=name,
            seed=seed,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": epochs}}},
        )
        return _job(job)


async def jobs(endpoint: Endpoint) -> list[FineTuningJob]:
    """The newest jobs of the account, whoever started them.

    Raises:
        ModelError: the server refuses, or has no fine-tuning.
    """
    async with calling(endpoint, absent=_ABSENT) as client:
        page = await client.fine_tuning.jobs.list(limit=LISTED_JOBS)
        return [_job(one) for one in page.data or ()]


async def cancel(endpoint: Endpoint, job_id: str) -> FineTuningJob:
    """Stop a job; what it trained so far is paid for.

    Raises:
        ModelError: the server refuses, or has no such job.
    """
    async with calling(endpoint, absent=_ABSENT) as client:
        return _job(await client.fine_tuning.jobs.cancel(job_id))


def _job(told: Any) -> FineTuningJob:
    return FineTuningJob(
        id=str(told.id),
        base=str(told.model),
        state=str(told.status),
        made=told.fine_tuned_model or "",
        trained_tokens=told.trained_tokens,
        error=(told.error.message or "") if told.error else "",
        created_at=datetime.fromtimestamp(told.created_at, UTC),
    )
