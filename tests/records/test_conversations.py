"""Conversations in the database: order, cascades, several threads, and plain errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bot.errors import RecordsError
from bot.records import conversations as records
from bot.records.database import open_database
from tests.postgres import on_both

pytestmark = on_both


@pytest.fixture
def engine(where: Path | str) -> Iterator[Engine]:
    engine = open_database(where)
    yield engine
    engine.dispose()


def add(engine: Engine, conversation: str, turn: str, *strategies: str, owner: str = "me") -> None:
    records.add_turn(
        engine,
        conversation_id=conversation,
        title=f"About {turn}",
        turn_id=turn,
        question=f"{turn}?",
        answers=[
            records.NewAnswer(f"{turn}-{name}", name, "embedded", "SmolLM2")
            for name in strategies or ("prompt",)
        ],
        owner=owner,
    )


def status(engine: Engine, turn: str) -> str:
    return next(
        answer.status
        for row in records.conversations(engine)
        for one in records.turns(engine, row.id)
        for answer in one.answers
        if one.id == turn
    )


def test_turns_and_answers_come_back_in_order(engine: Engine) -> None:
    for number in range(12):
        add(engine, "c", f"turn {number}", "rag", "adapter", "prompt")
    turns = records.turns(engine, "c")
    assert [one.question for one in turns] == [f"turn {number}?" for number in range(12)]
    assert {tuple(answer.strategy for answer in one.answers) for one in turns} == {
        ("rag", "adapter", "prompt")
    }


def test_the_first_question_names_the_conversation_and_the_last_one_dates_it(
    engine: Engine,
) -> None:
    add(engine, "c", "first")
    before = records.conversations(engine)[0]
    add(engine, "c", "second")
    after = records.conversation(engine, "c")
    assert after is not None
    assert (before.title, after.title) == ("About first", "About first")
    assert before.created_at == after.created_at
    assert before.updated_at < after.updated_at


def test_a_new_answer_is_empty_and_queued(engine: Engine) -> None:
    add(engine, "c", "t")
    answer = records.turns(engine, "c")[0].answers[0]
    assert (answer.status, answer.text, answer.vote, answer.evidence, answer.fingerprint) == (
        "queued",
        "",
        0,
        [],
        None,
    )


def test_only_the_columns_named_are_written(engine: Engine) -> None:
    add(engine, "c", "t")
    records.update_answer(engine, "t-prompt", {"vote": 1})
    records.update_answer(engine, "t-prompt", {"text": "é🔥", "evidence": [{"quote": "q"}]})
    answer = records.turns(engine, "c")[0].answers[0]
    assert (answer.vote, answer.text, answer.evidence) == (1, "é🔥", [{"quote": "q"}])


def test_writing_an_answer_that_was_deleted_is_passed_over(engine: Engine) -> None:
    add(engine, "c", "t")
    records.delete_conversation(engine, "c")
    records.update_answer(engine, "t-prompt", {"text": "late"})
    assert records.turns(engine, "c") == []
    assert records.conversation_of_answer(engine, "t-prompt") is None


def test_a_turn_is_written_whole_or_not_at_all(engine: Engine) -> None:
    add(engine, "c", "t")
    with pytest.raises(RecordsError):
        add(engine, "new", "t")
    assert records.conversation(engine, "new") is None


def test_unknown_conversations_are_told(engine: Engine) -> None:
    assert records.turns(engine, "unknown") == []
    assert records.conversation(engine, "unknown") is None
    assert records.rename(engine, "unknown", "x") is False
    records.delete_conversation(engine, "unknown")


def test_only_the_unfinished_answers_of_the_named_owners_are_marked(engine: Engine) -> None:
    add(engine, "c", "gone", owner="gone")
    add(engine, "c", "gone complete", owner="gone")
    add(engine, "c", "alive", owner="alive")
    records.update_answer(engine, "gone-prompt", {"status": "streaming", "text": "half"})
    records.update_answer(engine, "gone complete-prompt", {"status": "complete"})
    assert records.owners_of_unfinished(engine) == {"gone", "alive"}
    assert records.mark_interrupted(engine, ["gone"]) == 1
    assert status(engine, "gone") == "interrupted"
    assert status(engine, "gone complete") == "complete"
    assert status(engine, "alive") == "queued"
    assert records.owners_of_unfinished(engine) == {"alive"}


def test_several_threads_may_write_at_once(engine: Engine) -> None:
    failures: list[Exception] = []

    def write(worker: int) -> None:
        try:
            for number in range(5):
                add(engine, f"c{worker}", f"t{worker}-{number}")
                records.update_answer(engine, f"t{worker}-{number}-prompt", {"text": "x"})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [len(records.turns(engine, f"c{worker}")) for worker in range(4)] == [5] * 4


def test_a_broken_database_is_told_in_plain_words(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE answers")
    with pytest.raises(RecordsError, match=r"cannot be read or written|refused") as failure:
        records.turns(engine, "c")
    assert failure.value.cure
