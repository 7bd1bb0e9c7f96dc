"""Conversations: what is kept, what goes on, what is stopped, and what a crash leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from bot.chat import live
from bot.chat.live import Chat, LiveAnswer, LiveTurn
from bot.chat.prompts import abstention
from bot.errors import ChatError, RecordsError
from bot.library.retrieve import Retrieval
from bot.records import conversations as records
from bot.records.database import open_database
from bot.testing import Gate, Reply, ScriptedModel
from tests.chat.scene import ALL, FOUND, NOTHING, make_bench, make_options

PATIENCE_SECONDS = 30.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "triptych.db")
    yield engine
    engine.dispose()


@contextmanager
def chat_over(
    engine: Engine,
    model: ScriptedModel,
    *,
    grace_seconds: float = PATIENCE_SECONDS,
    retrieve: Callable[[str, int], Retrieval] | None = None,
) -> Iterator[Chat]:
    chat = Chat(make_bench(model, retrieve=retrieve), engine, grace_seconds=grace_seconds)
    try:
        yield chat
    finally:
        chat.close()


def wait_for(chat: Chat, turn: LiveTurn, happened: Callable[[LiveTurn], bool]) -> LiveTurn:
    """Follow a turn as a page does, until something has happened."""
    version = turn.version
    while not happened(turn):
        if turn.done:
            assert happened(turn), f"done before it happened: {turn}"
            break
        seen, version = version, chat.wait(turn, version, PATIENCE_SECONDS)
        assert version != seen or turn.done, f"nothing happened any more: {turn}"
    return turn


def done(chat: Chat, turn: LiveTurn) -> LiveTurn:
    return wait_for(chat, turn, lambda turn: turn.done)


def ask(chat: Chat, conversation_id: str, text: str, *names: str) -> LiveTurn:
    turn = chat.ask(conversation_id, text, names or ("prompt",), make_options())
    chat.attach(turn.id, "test")
    return turn


def statuses(turn: LiveTurn) -> dict[str, str]:
    return {name: answer.status for name, answer in turn.answers.items()}


def values(answer: LiveAnswer) -> dict[str, object]:
    """What the records must bring back."""
    return {name: value for name, value in vars(answer).items() if name not in _COUNTERS}


_COUNTERS = ("version", "_asked_at", "_first_token_at")


# --- asking and keeping -----------------------------------------------------------------------


def test_all_five_are_answered_and_kept_as_they_were(engine: Engine) -> None:
    with ScriptedModel([Reply("it costs 900 euros.") for _ in ALL]) as model:
        with chat_over(engine, model) as chat:
            conversation = chat.create()
            turn = done(chat, ask(chat, conversation, "What does the K30 cost?", *ALL))
            live = turn.answers
            assert chat.under_way(conversation) is None
        with chat_over(engine, model) as chat:
            kept = chat.turns(conversation)[0]
    assert set(statuses(turn).values()) == {"complete"}
    assert list(kept.answers) == list(ALL)
    assert {name: values(one) for name, one in kept.answers.items()} == {
        name: values(one) for name, one in live.items()
    }
    assert kept.answers["rag"].text == "According to the documents, it costs 900 euros."
    assert kept.answers["rag"].evidence == FOUND.evidence
    assert kept.answers["rag"].prompt[-1].role == "assistant"
    assert kept.answers["hybrid"].fingerprint is not None
    assert kept.answers["hybrid"].fingerprint.passage_ids == ("doc-0000",)
    assert (kept.question, kept.asked_at, kept.done) == (turn.question, turn.asked_at, True)


def test_a_question_is_in_the_records_before_an_answer_is_made(engine: Engine) -> None:
    searching, go_on = threading.Event(), threading.Event()

    def retrieve(_question: str, _passages: int) -> Retrieval:
        searching.set()
        go_on.wait()
        return FOUND

    with (
        ScriptedModel([Reply("fine")]) as model,
        chat_over(engine, model, retrieve=retrieve) as chat,
    ):
        turn = ask(chat, "c", "What does it cost?", "rag")
        stored = records.turns(engine, "c")
        assert [(one.question, one.answers[0].status) for one in stored] == [
            ("What does it cost?", "queued")
        ]
        searching.wait()
        assert statuses(turn) == {"rag": "retrieving"}
        go_on.set()
        done(chat, turn)


def test_nothing_is_asked_when_the_question_cannot_be_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_values: object, **_more: object) -> str:
        raise RecordsError("The disk is full.")

    monkeypatch.setattr(records, "add_turn", refuse)
    with ScriptedModel() as model, chat_over(engine, model) as chat:
        with pytest.raises(RecordsError):
            ask(chat, "c", "Hello?")
        assert chat.under_way("c") is None


def test_an_answer_that_cannot_be_written_is_still_shown(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_values: object) -> None:
        raise RecordsError("The disk is full.")

    monkeypatch.setattr(records, "update_answers", refuse)
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        turn = done(chat, ask(chat, "c", "Hello?"))
    assert (statuses(turn), turn.answers["prompt"].text) == ({"prompt": "complete"}, "fine")
    assert "The disk is full." in caplog.text


def test_an_answer_that_could_not_be_written_says_so_and_is_written_once_there_is_room(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = records.update_answers, threading.Event()
    full.set()

    def refuse(*given: Any) -> None:
        if full.is_set():
            raise RecordsError("The disk is full.")
        write(*given)

    monkeypatch.setattr(records, "update_answers", refuse)
    monkeypatch.setattr(live, "SAVE_AGAIN_SECONDS", 0.01)
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        turn = done(chat, ask(chat, "c", "Hello?"))
        assert turn.answers["prompt"].unsaved == "The disk is full."
        assert chat.turns("c")[0] is turn, "what is not written yet is shown from memory"
        full.clear()
        version = turn.version
        while turn.answers["prompt"].unsaved:
            with turn.changed:
                turn.changed.wait(timeout=PATIENCE_SECONDS)
            assert turn.version >= version
    (kept,) = records.turns(engine, "c")
    assert kept.answers[0].text == "fine"


def test_a_new_conversation_is_written_with_its_first_question(engine: Engine) -> None:
    with ScriptedModel([Reply("a"), Reply("b")]) as model, chat_over(engine, model) as chat:
        first, second = chat.create(), chat.create()
        assert chat.conversations() == []
        done(chat, ask(chat, first, "  What does\nthe K30 cost?  "))
        done(chat, ask(chat, second, "long " * 40))
        assert [one.id for one in chat.conversations()] == [second, first]
        titles = [one.title for one in chat.conversations()]
    assert titles[1] == "What does the K30 cost?"
    assert titles[0].startswith("long long") and titles[0].endswith("…") and len(titles[0]) <= 60


def test_the_conversation_used_last_is_listed_first(engine: Engine) -> None:
    with ScriptedModel([Reply("a")] * 3) as model, chat_over(engine, model) as chat:
        for conversation in ("one", "two", "one"):
            done(chat, ask(chat, conversation, "Hello?"))
        assert [one.id for one in chat.conversations()] == ["one", "two"]


def test_every_strategy_remembers_its_own_answers_only(engine: Engine) -> None:
    script = [
        Reply("said by base", model="scripted", contains="First?"),
        Reply("said by adapter", model="scripted+kilns", contains="First?"),
        Reply("fine", model="scripted", contains="Second?"),
        Reply("fine", model="scripted+kilns", contains="Second?"),
    ]
    with ScriptedModel(script) as model, chat_over(engine, model) as chat:
        done(chat, ask(chat, "c", "First?", "prompt", "adapter"))
        done(chat, ask(chat, "c", "Second?", "prompt", "adapter"))
        later = [one for one in model.requests if one.messages[-1].content == "Second?"]
    said = {one.model: [m.content for m in one.messages if m.role == "assistant"] for one in later}
    assert said == {"scripted": ["said by base"], "scripted+kilns": ["said by adapter"]}


def test_failed_and_gated_answers_are_not_remembered(engine: Engine) -> None:
    found = iter([NOTHING, FOUND])
    script = [
        Reply("half an answer", model="scripted+kilns", cut_at=1),
        Reply("one", model="scripted"),
        Reply("two", model="scripted+kilns"),
    ]
    with (
        ScriptedModel(script) as model,
        chat_over(engine, model, retrieve=lambda _q, _p: next(found)) as chat,
    ):
        turn = done(chat, ask(chat, "c", "First?", "rag", "adapter"))
        assert turn.answers["rag"].off_topic and turn.answers["rag"].text == abstention()
        assert statuses(turn) == {"rag": "complete", "adapter": "failed"}
        done(chat, ask(chat, "c", "Second?", "rag", "adapter"))
        later = model.requests[1:]
    assert [[m.role for m in one.messages if m.role == "user"] for one in later] == [["user"]] * 2


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("  \n ", ["prompt"], "empty"),
        ("\x00", ["prompt"], "empty"),
        ("Hello?", [], "No strategy"),
        ("Hello?", ["magic"], "magic"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    engine: Engine, text: str, names: list[str], said: str
) -> None:
    with ScriptedModel() as model, chat_over(engine, model) as chat:
        with pytest.raises(ChatError, match=said):
            chat.ask("c", text, names, make_options())
        assert chat.conversations() == []


def test_odd_characters_are_kept_or_replaced_but_never_fatal(engine: Engine) -> None:
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        turn = done(chat, ask(chat, "c", "a\x00b \ud800 🔥 <|im_end|>"))
        assert turn.question == "ab ? 🔥 <|im_end|>"
        assert chat.turns("c")[0].question == turn.question


def test_one_question_at_a_time_in_a_conversation(engine: Engine) -> None:
    gate = Gate()
    script = [Reply("one two", gate=gate, gate_at=1), Reply("elsewhere"), Reply("later")]
    with ScriptedModel(script) as model, chat_over(engine, model) as chat:
        turn = ask(chat, "c", "First?")
        gate.reached.wait()
        with pytest.raises(ChatError, match="still being answered"):
            ask(chat, "c", "Second?")
        done(chat, ask(chat, "other", "Elsewhere?"))
        gate.release()
        done(chat, turn)
        done(chat, ask(chat, "c", "Second?"))
        assert [one.question for one in chat.turns("c")] == ["First?", "Second?"]


# --- reading, leaving, coming back ------------------------------------------------------------


def test_text_only_grows_and_each_change_has_a_new_version(engine: Engine) -> None:
    with (
        ScriptedModel([Reply("one two three four five")]) as model,
        chat_over(engine, model) as chat,
    ):
        turn = ask(chat, "c", "Count!")
        seen = [(turn.version, turn.answers["prompt"].text)]
        while not turn.done:
            version = chat.wait(turn, seen[-1][0], PATIENCE_SECONDS)
            seen.append((version, turn.answers["prompt"].text))
    texts = [text for _version, text in seen]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1] == "one two three four five"
    versions = [version for version, _text in seen]
    assert versions == sorted(versions)


def test_waiting_ends_when_time_is_up(engine: Engine) -> None:
    gate = Gate()
    with ScriptedModel([Reply("one", gate=gate)]) as model, chat_over(engine, model) as chat:
        turn = ask(chat, "c", "Hello?")
        wait_for(chat, turn, lambda turn: turn.answers["prompt"].status == "reading")
        assert chat.wait(turn, turn.version, 0.01) == turn.version
        gate.release()
        done(chat, turn)


def test_a_reload_finds_the_answer_under_way_and_sees_it_end(engine: Engine) -> None:
    gate = Gate()
    with (
        ScriptedModel([Reply("one two three", gate=gate, gate_at=2)]) as model,
        chat_over(engine, model) as chat,
    ):
        turn = ask(chat, "c", "Hello?")
        wait_for(chat, turn, lambda turn: turn.answers["prompt"].text == "one two")
        chat.detach(turn.id, "test")
        again = chat.under_way("c")
        assert again is not None and chat.turns("c") == [again]
        chat.attach(again.id, "reloaded")
        assert again.answers["prompt"].text == "one two"
        gate.release()
        assert done(chat, again).answers["prompt"].text == "one two three"
        assert chat.under_way("c") is None


def test_an_answer_without_a_reader_is_stopped_after_the_grace_time(engine: Engine) -> None:
    gate = Gate()
    with (
        ScriptedModel([Reply("one two three", gate=gate, gate_at=2)]) as model,
        chat_over(engine, model, grace_seconds=0.05) as chat,
    ):
        turn = chat.ask("c", "Hello?", ["prompt"], make_options())
        chat.attach(turn.id, "page")
        wait_for(chat, turn, lambda turn: turn.answers["prompt"].text == "one two")
        chat.detach(turn.id, "page")
        done(chat, turn)
        assert len(model.wait_for_cancelled(1)) == 1
        kept = chat.turns("c")[0].answers["prompt"]
    assert (kept.status, kept.text) == ("stopped", "one two")


def test_an_answer_that_nobody_ever_reads_is_stopped_too(engine: Engine) -> None:
    with (
        ScriptedModel([Reply("one", gate=Gate())]) as model,
        chat_over(engine, model, grace_seconds=0.05) as chat,
    ):
        turn = chat.ask("c", "Hello?", ["prompt"], make_options())
        assert statuses(done(chat, turn)) == {"prompt": "stopped"}
        model.script = ()
        model._left.clear()


def test_the_late_goodbye_of_an_old_reader_does_not_orphan_the_new_one(engine: Engine) -> None:
    gate = Gate()
    with (
        ScriptedModel([Reply("one two", gate=gate, gate_at=1)]) as model,
        chat_over(engine, model, grace_seconds=0.0) as chat,
    ):
        with_old = threading.Event()
        # the grace time is zero: one moment without a reader would be the end
        original = chat._begin

        def begin_attached(turn: LiveTurn, *rest: object) -> None:
            original(turn, *rest)  # type: ignore[arg-type]
            chat._attach(turn.id, "old")
            with_old.set()

        chat._begin = begin_attached  # type: ignore[method-assign]
        turn = chat.ask("c", "Hello?", ["prompt"], make_options())
        with_old.wait()
        chat.attach(turn.id, "new")
        chat.detach(turn.id, "old")
        chat.detach(turn.id, "old")
        gate.reached.wait()
        gate.release()
        assert statuses(done(chat, turn)) == {"prompt": "complete"}


def test_readers_of_a_turn_that_is_done_are_passed_over(engine: Engine) -> None:
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        turn = done(chat, ask(chat, "c", "Hello?"))
        chat.attach(turn.id, "late")
        chat.detach(turn.id, "late")
        chat.stop(turn.id)
        assert statuses(turn) == {"prompt": "complete"}


# --- stopping and retrying --------------------------------------------------------------------


def test_stopping_one_strategy_leaves_the_others(engine: Engine) -> None:
    held, other = Gate(), Gate()
    script = [
        Reply("one two three", model="scripted+kilns", gate=held, gate_at=1),
        Reply("four five", model="scripted", gate=other, gate_at=1),
    ]
    with ScriptedModel(script) as model, chat_over(engine, model) as chat:
        turn = ask(chat, "c", "Hello?", "prompt", "adapter")
        wait_for(chat, turn, lambda turn: all(one.text for one in turn.answers.values()))
        chat.stop(turn.id, "adapter")
        wait_for(chat, turn, lambda turn: turn.answers["adapter"].finished)
        assert statuses(turn) == {"prompt": "streaming", "adapter": "stopped"}
        other.release()
        done(chat, turn)
        kept = chat.turns("c")[0]
    assert statuses(kept) == {"prompt": "complete", "adapter": "stopped"}
    assert [one.text for one in kept.answers.values()] == ["four five", "one"]


def test_a_retry_replaces_that_answer_only_and_takes_the_vote_back(engine: Engine) -> None:
    script = [
        Reply("early", contains="Zero?"),
        Reply("good", model="scripted", contains="First?"),
        Reply("bad", model="scripted+kilns", contains="First?"),
        Reply("later", contains="Later?"),
        Reply("better", model="scripted+kilns", contains="First?"),
    ]
    with ScriptedModel(script) as model, chat_over(engine, model) as chat:
        done(chat, ask(chat, "c", "Zero?", "adapter"))
        first = done(chat, ask(chat, "c", "First?", "prompt", "adapter"))
        done(chat, ask(chat, "c", "Later?", "adapter"))
        for answer in first.answers.values():
            chat.vote(answer.id, -1)
        again = chat.retry(first.answers["adapter"].id, make_options(answer_tokens=9))
        assert chat.under_way("c") is again
        done(chat, again)
        request = model.requests[-1]
        kept = chat.turns("c")[1]
    assert [m.content for m in request.messages[1:]] == ["Zero?", "early", "First?"]
    assert request.max_tokens == 9
    assert {n: (a.text, a.vote) for n, a in kept.answers.items()} == {
        "prompt": ("good", -1),
        "adapter": ("better", 0),
    }
    assert kept.answers["adapter"].id == first.answers["adapter"].id


def test_a_failed_answer_can_be_tried_again_while_the_others_go_on(engine: Engine) -> None:
    gate = Gate()
    script = [
        Reply("slow answer", model="scripted", gate=gate, gate_at=1),
        Reply("no", model="scripted+kilns", status=500),
        Reply("yes", model="scripted+kilns"),
    ]
    with ScriptedModel(script) as model, chat_over(engine, model) as chat:
        turn = ask(chat, "c", "Hello?", "prompt", "adapter")
        wait_for(chat, turn, lambda turn: turn.answers["adapter"].status == "failed")
        assert turn.answers["adapter"].error
        again = chat.retry(turn.answers["adapter"].id, make_options())
        assert again is turn
        wait_for(chat, turn, lambda turn: turn.answers["adapter"].status == "complete")
        assert (turn.answers["adapter"].error, turn.done) == ("", False)
        gate.release()
        assert set(statuses(done(chat, turn)).values()) == {"complete"}


def test_what_is_being_written_cannot_be_tried_again(engine: Engine) -> None:
    gate = Gate()
    script = [Reply("done"), Reply("one two", gate=gate, gate_at=1)]
    with ScriptedModel(script) as model, chat_over(engine, model) as chat:
        first = done(chat, ask(chat, "c", "First?"))
        second = ask(chat, "c", "Second?")
        gate.reached.wait()
        with pytest.raises(ChatError, match="still being written"):
            chat.retry(second.answers["prompt"].id, make_options())
        with pytest.raises(ChatError, match="still being answered"):
            chat.retry(first.answers["prompt"].id, make_options())
        with pytest.raises(ChatError, match="no longer there"):
            chat.retry("unknown", make_options())
        gate.release()
        done(chat, second)


# --- votes, titles, deletion, export ----------------------------------------------------------


def test_votes_are_kept(engine: Engine) -> None:
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        answer = done(chat, ask(chat, "c", "Hello?")).answers["prompt"]
        for vote in (1, -1, 0, 1):
            chat.vote(answer.id, vote)
            assert chat.turns("c")[0].answers["prompt"].vote == vote
        with pytest.raises(ChatError):
            chat.vote(answer.id, 2)


def test_a_vote_during_the_answer_is_seen_and_kept(engine: Engine) -> None:
    gate = Gate()
    with (
        ScriptedModel([Reply("one two", gate=gate, gate_at=1)]) as model,
        chat_over(engine, model) as chat,
    ):
        turn = ask(chat, "c", "Hello?")
        gate.reached.wait()
        chat.vote(turn.answers["prompt"].id, 1)
        assert turn.answers["prompt"].vote == 1
        gate.release()
        done(chat, turn)
        assert chat.turns("c")[0].answers["prompt"].vote == 1


def test_a_conversation_can_be_renamed(engine: Engine) -> None:
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        done(chat, ask(chat, "c", "Hello?"))
        chat.rename("c", "  About\nkilns ")
        assert chat.conversations()[0].title == "About kilns"
        with pytest.raises(ChatError, match="title"):
            chat.rename("c", " \n")
        with pytest.raises(ChatError, match="no longer there"):
            chat.rename("unknown", "Hello")


def test_deleting_stops_what_is_under_way_and_leaves_nothing(engine: Engine) -> None:
    with (
        ScriptedModel([Reply("fine"), Reply("one two", gate=Gate(), gate_at=1)]) as model,
        chat_over(engine, model) as chat,
    ):
        done(chat, ask(chat, "kept", "Hello?"))
        turn = ask(chat, "c", "Hello?")
        wait_for(chat, turn, lambda turn: turn.answers["prompt"].text == "one")
        chat.delete("c")
        assert turn.done
        assert len(model.wait_for_cancelled(1)) == 1
        assert [one.id for one in chat.conversations()] == ["kept"]
        assert chat.turns("c") == []
        with engine.connect() as connection:
            counts = [
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()
                for table in ("turns", "answers")
            ]
        assert counts == [1, 1]


def test_a_conversation_can_be_exported(engine: Engine) -> None:
    with ScriptedModel([Reply("fine")]) as model, chat_over(engine, model) as chat:
        done(chat, ask(chat, "c", "What does it cost?", "rag"))
        exported = json.loads(chat.export_json("c"))
        markdown = chat.export_markdown("c")
        with pytest.raises(ChatError):
            chat.export_markdown("unknown")
        with pytest.raises(ChatError):
            chat.export_json("unknown")
    assert exported["title"] == "What does it cost?"
    assert exported["turns"][0]["answers"][0]["evidence"][0]["document"] == "prices.md"
    assert "According to the documents, fine" in markdown


# --- the end of a process ---------------------------------------------------------------------


def test_closing_keeps_the_text_and_marks_it_interrupted(engine: Engine) -> None:
    with ScriptedModel([Reply("one two", gate=Gate(), gate_at=1), Reply("again")]) as model:
        with chat_over(engine, model) as chat:
            turn = ask(chat, "c", "Hello?")
            wait_for(chat, turn, lambda turn: turn.answers["prompt"].text == "one")
        chat.close()  # once more does no harm
        with pytest.raises(ChatError, match="closed"):
            chat.stop(turn.id)
        with chat_over(engine, model) as chat:
            kept = chat.turns("c")[0].answers["prompt"]
            assert (kept.status, kept.text) == ("interrupted", "one")
            again = chat.retry(kept.id, make_options())
            chat.attach(again.id, "test")
            assert done(chat, again).answers["prompt"].text == "again"


WRITER = """
import sys, threading
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.chat.scene import make_bench, make_options
from bot.chat import live
from bot.records.database import open_database
from bot.testing import Gate, Reply, ScriptedModel

live.SAVE_SECONDS = 0.0
gate = Gate()
with ScriptedModel([Reply("one two three", gate=gate, gate_at=2)]) as model:
    chat = live.Chat(make_bench(model), open_database(Path(sys.argv[1])))
    turn = chat.ask("c", "Hello?", ["prompt"], make_options())
    chat.attach(turn.id, "page")
    while turn.answers["prompt"].text != "one two":
        chat.wait(turn, turn.version, 30)
    chat._writer.submit(print, "writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(engine: Engine) -> Iterator[subprocess.Popen[str]]:
    """Another process that is in the middle of an answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(engine.url.database), str(Path(__file__).parents[2])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_process_leaves_its_text_marked_interrupted(engine: Engine) -> None:
    with another_process(engine) as process:
        process.kill()
        process.wait()
    with ScriptedModel() as model, chat_over(engine, model) as chat:
        answer = chat.turns("c")[0].answers["prompt"]
    assert (answer.status, answer.text) == ("interrupted", "one two")


def test_a_second_process_leaves_the_answers_of_a_living_one_alone(engine: Engine) -> None:
    with (
        ScriptedModel() as model,
        another_process(engine) as process,
        chat_over(engine, model) as chat,
    ):
        answer = chat.turns("c")[0].answers["prompt"]
        assert answer.status == "streaming"
        with pytest.raises(ChatError, match="still being written"):
            chat.retry(answer.id, make_options())
        process.kill()
        process.wait()
        assert chat.turns("c")[0].answers["prompt"].status == "interrupted"
