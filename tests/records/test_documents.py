"""Records of documents and their passages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bot.records.database import open_database
from bot.records.documents import (
    StoredDocument,
    StoredPassage,
    delete_document,
    delete_passages,
    document_rows,
    documents_of,
    passage_ids,
    passages_of,
    save_document,
    save_passages,
    searchable_passages,
    stored_document,
    stored_documents,
    stray_passage_ids,
)
from tests.postgres import on_both

pytestmark = on_both

DOCUMENT = StoredDocument(
    name="rules.md",
    sha256="s1",
    title="Rules",
    kind="md",
    size_bytes=7,
    modified_ns=1_700_000_000_123_456_789,
    layout="1",
    status="ready",
)


def _passages(sha256: str, number: int) -> list[StoredPassage]:
    return [
        StoredPassage(f"{sha256}-{n:04d}", sha256, "rules.md", "Rules", "Lid", None, n, f"Text {n}")
        for n in range(number)
    ]


@pytest.fixture
def engine(where: Path | str) -> Iterator[Engine]:
    engine = open_database(where)
    yield engine
    engine.dispose()


def test_a_document_comes_back_as_it_was_saved(engine: Engine) -> None:
    save_document(engine, DOCUMENT)
    assert stored_document(engine, "rules.md") == DOCUMENT
    assert stored_document(engine, "other.md") is None


def test_saving_again_replaces(engine: Engine) -> None:
    save_document(engine, DOCUMENT)
    save_document(engine, replace(DOCUMENT, status="failed", error="It is damaged."))
    (found,) = stored_documents(engine)
    assert (found.status, found.error) == ("failed", "It is damaged.")


def test_rows_count_the_passages_of_ready_documents(engine: Engine) -> None:
    save_document(engine, DOCUMENT)
    save_document(engine, replace(DOCUMENT, name="copy.md", status="duplicate"))
    save_passages(engine, _passages("s1", 3))
    rows = {row.name: row.passages for row in document_rows(engine)}
    assert rows == {"rules.md": 3, "copy.md": 0}


def test_passages_come_back_in_reading_order_and_are_replaced(engine: Engine) -> None:
    passages = _passages("s1", 700)
    save_passages(engine, reversed(passages))
    save_passages(engine, [replace(passages[3], text="New")])
    found = passages_of(engine, "s1")
    assert [p.number for p in found] == list(range(700))
    assert found[3].text == "New"


def test_content_leads_to_its_documents_and_passages(engine: Engine) -> None:
    save_document(engine, DOCUMENT)
    save_document(engine, replace(DOCUMENT, name="copy.md", status="duplicate"))
    save_document(engine, replace(DOCUMENT, name="other.md", sha256="s2"))
    save_passages(engine, [*_passages("s1", 2), *_passages("s2", 1)])
    assert [d.name for d in documents_of(engine, "s1")] == ["copy.md", "rules.md"]
    ids = {sha256: sorted(some) for sha256, some in passage_ids(engine).items()}
    assert ids == {"s1": ["s1-0000", "s1-0001"], "s2": ["s2-0000"]}


def test_only_passages_of_ready_documents_are_searchable(engine: Engine) -> None:
    save_document(engine, DOCUMENT)
    save_document(engine, replace(DOCUMENT, name="new.md", sha256="s2", status="indexing"))
    save_passages(engine, [*_passages("s1", 2), *_passages("s2", 2)])
    found = searchable_passages(engine, ["s1-0001", "s2-0001", "unknown"])
    assert list(found) == ["s1-0001"]
    assert found["s1-0001"].text == "Text 1"


def test_passages_without_an_owner_are_stray(engine: Engine) -> None:
    save_document(engine, replace(DOCUMENT, status="indexing"))
    save_passages(engine, [*_passages("s1", 1), *_passages("old", 1)])
    assert stray_passage_ids(engine) == ["old-0000"]
    delete_document(engine, "rules.md")
    assert set(stray_passage_ids(engine)) == {"old-0000", "s1-0000"}
    delete_passages(engine, ["old-0000", "unknown"])
    assert stray_passage_ids(engine) == ["s1-0000"]
