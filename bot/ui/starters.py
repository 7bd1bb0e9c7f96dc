"""Example questions about the sample, offered while the sample is in the library."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from bot.library.ingest import documents
from bot.services import Services

_EVALUATION = Path(__file__).resolve().parents[2] / "evaluation"


def questions(services: Services) -> tuple[str, ...]:
    """Example questions; none when the documents they are about are not in the library."""
    ready = {row.name for row in documents(services.library) if row.status == "ready"}
    return _shipped_questions() if ready & _sample_documents() else ()


@cache
def _shipped_questions() -> tuple[str, ...]:
    try:
        read = json.loads((_EVALUATION / "starters.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(one for one in read if isinstance(one, str)) if isinstance(read, list) else ()


@cache
def _sample_documents() -> frozenset[str]:
    """Names of the documents that the shipped evaluation questions are about."""
    try:
        lines = (_EVALUATION / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        cases = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError):
        return frozenset()
    return frozenset(str(case["document"]) for case in cases if case.get("document"))
