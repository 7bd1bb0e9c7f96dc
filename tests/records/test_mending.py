"""Damaged SQLite files: set aside, salvaged, told."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.damage import notes, set_aside
from bot.errors import RecordsError
from bot.records import conversations as records
from bot.records import mending
from bot.records.conversations import NewAnswer
from bot.records.database import open_database

QUESTIONS = 120
Damage = Callable[[Path], None]


def fill(path: Path) -> None:
    engine = open_database(path)
    for number in range(QUESTIONS):
        records.add_turn(
            engine,
            conversation_id=f"c{number}",
            title=f"Kiln {number}",
            turn_id=f"t{number}",
            question="How hot does it get? " * 30,
            answers=[NewAnswer(f"a{number}", "prompt", "m", "M")],
            owner="nobody",
        )
    engine.dispose()


def page_of_rows(path: Path) -> None:
    """Overwrite a page in the middle of the questions."""
    content = bytearray(path.read_bytes())
    place = (content.find(b"How hot does it get?", len(content) // 2) // 4096) * 4096
    content[place : place + 4096] = random.Random(1).randbytes(4096)
    path.write_bytes(content)


def head(path: Path) -> None:
    path.write_bytes(b"no database at all" + path.read_bytes()[18:])


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [page_of_rows, head, half])
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "triptych.db"
    fill(path)
    damage(path)
    damaged = path.read_bytes()
    engine = open_database(path)
    (place,) = set_aside(tmp_path)
    assert place.read_bytes() == damaged, "what was damaged is kept as it was"
    (note,) = notes(tmp_path)
    assert str(place) in note.text
    assert mending.damage_of(path, thorough=True) == ""
    kept = records.conversations(engine)
    if damage is page_of_rows:
        assert 0.5 * QUESTIONS < len(kept) <= QUESTIONS
        assert f"{len(kept)} conversations" in note.text
    engine.dispose()
    open_database(path).dispose()
    assert notes(tmp_path) == [note], "a sound file is left alone"


def test_damage_found_in_use_is_mended_before_the_next_use(tmp_path: Path) -> None:
    path = tmp_path / "triptych.db"
    fill(path)
    engine = open_database(path)
    mended: list[bool] = []
    mending.when_mended(engine, lambda: mended.append(True))
    page_of_rows(path)
    with pytest.raises(RecordsError, match="damaged"):
        for number in range(QUESTIONS):
            records.turns(engine, f"c{number}")
    assert records.conversations(engine)
    assert mended == [True]
    assert len(notes(tmp_path)) == 1
    records.add_turn(
        engine,
        conversation_id="new",
        title="New",
        turn_id="new",
        question="?",
        answers=[],
        owner="nobody",
    )
    engine.dispose()
    with sqlite3.connect(path) as written:
        assert written.execute("SELECT count(*) FROM turns WHERE id = 'new'").fetchone() == (1,)
    written.close()


def test_a_connection_to_a_replaced_file_is_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / "triptych.db"
    fill(path)
    engine = open_database(path)
    assert records.conversations(engine)
    half(path)
    other = open_database(path)  # as another process would
    assert len(notes(tmp_path)) == 1
    kept = {row.id for row in records.conversations(other)}
    assert {row.id for row in records.conversations(engine)} == kept
    for one in (engine, other):
        one.dispose()


def test_a_file_that_vanished_is_told(tmp_path: Path) -> None:
    path = tmp_path / "triptych.db"
    fill(path)
    (tmp_path / "owners").mkdir()
    path.unlink()
    open_database(path).dispose()
    (note,) = notes(tmp_path)
    assert "missing or empty" in note.text


@pytest.mark.parametrize("vanish", [Path.unlink, lambda path: os.truncate(path, 0)])
def test_a_file_that_vanishes_in_use_is_told_and_begun_anew(
    tmp_path: Path, vanish: Callable[[Path], None]
) -> None:
    path = tmp_path / "triptych.db"
    fill(path)
    (tmp_path / "owners").mkdir()
    engine = open_database(path)
    mended: list[bool] = []
    mending.when_mended(engine, lambda: mended.append(True))
    assert records.conversations(engine)
    vanish(path)
    assert records.conversations(engine) == []
    assert mended == [True]
    assert len(notes(tmp_path)) == 1
    engine.dispose()


def test_a_first_start_is_told_nothing(tmp_path: Path) -> None:
    open_database(tmp_path / "triptych.db").dispose()
    assert notes(tmp_path) == []
