"""Records of example sets and their rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bot.errors import RecordsError
from bot.messages import Message
from bot.records.database import open_database
from bot.records.examples import (
    NewRow,
    add_rows,
    approve_rows,
    change_row,
    create_set,
    delete_rows,
    delete_set,
    example_rows,
    example_sets,
    rename_set,
)
from tests.postgres import on_both

pytestmark = on_both


@pytest.fixture
def engine(where: Path | str) -> Iterator[Engine]:
    engine = open_database(where)
    yield engine
    engine.dispose()


def chat(question: str, answer: str = "Yes.") -> tuple[Message, ...]:
    return (Message("user", question), Message("assistant", answer))


def questions(engine: Engine, set_id: str, state: str | None = None) -> list[str]:
    rows = example_rows(engine, set_id, state)  # type: ignore[arg-type]
    return [row.messages[0].content for row in rows]


def test_sets_are_listed_by_name_with_their_rows_counted(engine: Engine) -> None:
    second, first = create_set(engine, " Prices  2026 "), create_set(engine, "Opening hours")
    add_rows(engine, second, [NewRow(chat("a"), "upload"), NewRow(chat("b"), "draft", "draft")])
    found = example_sets(engine)
    assert [(one.id, one.name, one.approved, one.drafts) for one in found] == [
        (first, "Opening hours", 0, 0),
        (second, "Prices 2026", 1, 1),
    ]


def test_a_name_is_not_empty_not_endless_and_not_taken(engine: Engine) -> None:
    kept = create_set(engine, "Prices")
    other = create_set(engine, "Other")
    for wrong in ("  ", "x" * 81, " Prices "):
        with pytest.raises(RecordsError):
            create_set(engine, wrong)
        with pytest.raises(RecordsError):
            rename_set(engine, other, wrong)
    assert rename_set(engine, kept, "Prices")
    assert rename_set(engine, kept, "Costs")
    assert not rename_set(engine, "nobody", "Nothing")
    assert [one.name for one in example_sets(engine)] == ["Costs", "Other"]


def test_rows_come_back_as_they_were_added_and_in_order(engine: Engine) -> None:
    one = create_set(engine, "One")
    long = (*chat("a", "b\0\ud800"), *chat("c"))
    add_rows(engine, one, [NewRow(long, "upload", document="kilns.html")])
    add_rows(engine, one, [NewRow(chat(str(number), ""), "typed") for number in range(3)])
    first, *others = example_rows(engine, one)
    assert (first.source, first.state, first.document) == ("upload", "approved", "kilns.html")
    assert [said.content for said in first.messages][::2] == ["a", "c"]
    assert [row.messages[0].content for row in others] == ["0", "1", "2"]
    assert example_rows(engine, "nobody") == []
    with pytest.raises(RecordsError, match="was deleted"):
        add_rows(engine, "nobody", [NewRow(chat("a"), "typed")])


def test_a_row_changed_by_somebody_else_is_not_written_over(engine: Engine) -> None:
    one = create_set(engine, "One")
    (row_id,) = add_rows(engine, one, [NewRow(chat("a"), "typed")])
    (shown,) = example_rows(engine, one)
    assert change_row(engine, row_id, chat("b"), "kilns.html", shown=shown)
    before = example_sets(engine)
    assert not change_row(engine, row_id, chat("c"), "", shown=shown)
    assert example_sets(engine) == before
    assert change_row(engine, row_id, chat("d"), "")
    assert questions(engine, one) == ["d"]
    delete_rows(engine, [row_id])
    assert not change_row(engine, row_id, chat("e"), "")


def test_drafts_are_apart_until_they_are_approved(engine: Engine) -> None:
    one = create_set(engine, "One")
    drafts = add_rows(engine, one, [NewRow(chat(text), "draft", "draft") for text in "abc"])
    add_rows(engine, one, [NewRow(chat("d"), "typed")])
    assert questions(engine, one, "approved") == ["d"]
    assert approve_rows(engine, [drafts[2], drafts[0]]) == 2
    assert approve_rows(engine, drafts[:1]) == 0, "it was approved before"
    assert questions(engine, one, "approved") == ["d", "a", "c"]
    assert questions(engine, one, "draft") == ["b"]


def test_every_change_is_a_new_version(engine: Engine) -> None:
    one = create_set(engine, "One")
    seen = [example_sets(engine)[0].version]

    def changed() -> bool:
        seen.append(example_sets(engine)[0].version)
        return seen[-1] > seen[-2]

    row_ids = add_rows(engine, one, [NewRow(chat("a"), "draft", "draft")])
    assert changed()
    change_row(engine, row_ids[0], chat("b"), "")
    assert changed()
    approve_rows(engine, row_ids)
    assert changed()
    delete_rows(engine, row_ids)
    assert changed()


def test_deleting_a_set_takes_its_rows_along(engine: Engine) -> None:
    one = create_set(engine, "One")
    row_ids = add_rows(engine, one, [NewRow(chat("a"), "typed")])
    assert delete_set(engine, one)
    assert not delete_set(engine, one)
    assert delete_rows(engine, row_ids) == 0
    assert example_sets(engine) == []


def test_rows_added_at_once_are_all_kept(engine: Engine) -> None:
    one = create_set(engine, "One")

    def add(number: int) -> None:
        add_rows(engine, one, [NewRow(chat(f"{number} {place}"), "chat") for place in range(3)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    found = questions(engine, one)
    assert len(found) == 24
    assert example_sets(engine)[0].version == 8
    for number in range(8):
        place = found.index(f"{number} 0")
        assert found[place : place + 3] == [f"{number} {n}" for n in range(3)], "kept together"
