"""Defects planted on purpose: with each of them, the battery must turn red."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from bot.library.vectors import VectorStore
from bot.records import documents
from bot.records.documents import StoredDocument

DEFECTS = ("", "acknowledge early", "trust count")


def plant(defect: str) -> None:
    """Make this process defective.

    Raises:
        ValueError: there is no such defect.
    """
    match defect:
        case "":
            return
        case "acknowledge early":
            _acknowledge_early()
        case "trust count":
            _trust_count()
        case _:
            raise ValueError(f"There is no defect {defect!r}; there are {DEFECTS[1:]}.")


def _acknowledge_early() -> None:
    """A document is called ready before its passages are stored."""
    save = documents.save_documents

    def save_early(engine: Engine, some: Iterable[StoredDocument]) -> None:
        ready = [replace(o, status="ready") if o.status == "indexing" else o for o in some]
        save(engine, ready)

    documents.save_documents = save_early


def _trust_count() -> None:
    """What Chroma counts is taken for what can be found."""

    def counted(store: VectorStore, ids: Sequence[str]) -> set[str]:
        def request(client: Any) -> set[str]:
            collection = store._opened(client)
            number = collection.count() if collection is not None else 0
            return set(ids) if number >= len(ids) else set()

        return store._ask(request)

    def none_lost(_store: VectorStore, _ids: Sequence[str]) -> set[str]:
        return set()

    VectorStore.present = counted  # type: ignore[method-assign]
    VectorStore.unfindable = none_lost  # type: ignore[method-assign]
