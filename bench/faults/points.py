"""Named points between the steps: functions at which a process kills itself with -9."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

NAMES = (
    "bot.library.ingest:_reading",
    "bot.library.ingest:_place",
    "bot.library.ingest:_sweep",
    "bot.library.ingest:_drop_other_layout",
    "bot.library.ingest:_mend",
    "bot.records.documents:save_document",
    "bot.records.documents:save_documents",
    "bot.records.documents:save_passages",
    "bot.records.documents:delete_document",
    "bot.records.documents:delete_passages",
    "bot.library.vectors:VectorStore.add",
    "bot.library.vectors:VectorStore.delete",
    "bot.library.vectors:VectorStore.present",
    "bot.library.keywords:KeywordIndex.add",
    "bot.library.keywords:KeywordIndex.delete",
    "bot.records.conversations:add_turn",
    "bot.records.conversations:update_answer",
    "bot.records.conversations:update_answers",
    "bot.records.conversations:rename",
    "bot.records.conversations:delete_conversation",
    "bot.records.conversations:mark_interrupted",
    "bot.tuning.adapters:begin",
    "bot.tuning.adapters:write_manifest",
    "bot.tuning.adapters:publish",
    "pathlib:Path.replace",
    "pathlib:Path.rename",
    "pathlib:Path.unlink",
)
"""As "module:name"; the product knows nothing of them."""


@dataclass(frozen=True)
class Point:
    """The n-th call of a function, and the side of it on which the process dies."""

    name: str
    call: int
    side: Literal["before", "after"]


def arm(point: Point) -> None:
    """From now on, die at a point."""
    module, _, name = point.name.partition(":")
    *owners, last = name.split(".")
    owner: Any = import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, last, _deadly(getattr(owner, last), point))


def _deadly(function: Callable[..., Any], point: Point) -> Callable[..., Any]:
    calls = 0

    def call(*values: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == point.call and point.side == "before":
            die()
        result = function(*values, **named)
        if calls == point.call:
            die()
        return result

    return call


def die() -> None:
    """Kill this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
