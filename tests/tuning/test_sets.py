"""Sets of examples: only what was approved is learnt from."""

from __future__ import annotations

from pathlib import Path

from bot.messages import Message
from bot.records.database import open_database
from bot.records.examples import NewRow, add_rows, create_set
from bot.tuning.examples import Example
from bot.tuning.sets import add_examples, approved_examples

CHAT = (Message("user", "What colour?"), Message("assistant", "Green."))


def test_drafts_are_not_learnt_from(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "triptych.db")
    one = create_set(engine, "One")
    add_rows(engine, one, [NewRow(CHAT, "draft", "draft", "kilns.html")])
    assert approved_examples(engine, one) == []
    add_examples(engine, one, [Example(CHAT, 7, "kilns.html"), Example(CHAT)], "upload")
    add_examples(engine, one, [Example(CHAT, grounded=True)], "upload")
    assert approved_examples(engine, one) == [Example(CHAT, 1, "kilns.html"), Example(CHAT, 2)]
    engine.dispose()
