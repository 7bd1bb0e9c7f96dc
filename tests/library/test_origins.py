"""The document that a statement comes from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bot.library.keywords import KeywordIndex
from bot.library.origins import origin_of
from bot.records.database import open_database
from bot.records.documents import StoredDocument, StoredPassage, save_document, save_passages

TEXTS = {"kilns.md": "The Heron 5 costs £2,390.", "hours.md": "The showroom opens at 9:30 am."}


def test_it_is_told_by_the_words_or_not_at_all(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "triptych.db")
    library = cast(Any, SimpleNamespace(engine=engine, keywords=KeywordIndex(engine)))
    assert origin_of(library, "The Heron 5 costs £2,390.") == ""
    for name, text in TEXTS.items():
        save_document(engine, StoredDocument(name, name, name, "md", 7, 1, "1", "ready"))
        passage = StoredPassage(f"{name}-0", name, name, "", "", None, 0, text)
        save_passages(engine, [passage])
        library.keywords.add({passage.id: text})
    assert origin_of(library, "What does the Heron 5 cost? £2,390.") == "kilns.md"
    assert origin_of(library, "When do you open the showroom? At 9:30 am.") == "hours.md"
    assert origin_of(library, "The Heron has no camera, and nobody knows why that is so.") == ""
    assert origin_of(library, "") == ""
    engine.dispose()
