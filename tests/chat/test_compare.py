"""Several strategies at once: together, apart, stopped, failing, closed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace

import pytest

from bot.chat import prompts
from bot.chat.compare import Comparison, compare
from bot.chat.events import Event, Failed, Finished, InLine, Prompted, Queued, Retrieved, TextDelta
from bot.chat.question import Question, Turn
from bot.chat.strategies import STRATEGIES, strategy
from bot.chat.trimming import Trimming
from bot.errors import VectorStoreError
from bot.library.retrieve import Retrieval
from bot.testing import PROFILE, Gate, Reply, ScriptedModel
from tests.chat.scene import (
    ALL,
    FOUND,
    NOTHING,
    collect,
    finished,
    make_bench,
    make_options,
    make_passage,
)

BASE, ADAPTED = "scripted", "scripted+kilns"
QUESTION = Question("What does the K30 cost?")


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def start(model: ScriptedModel, *names: str, **changes: object) -> Comparison:
    chosen = [strategy(name) for name in names or ALL]
    return compare(make_bench(model), QUESTION, chosen, make_options(**changes))


def test_who_waits_at_a_busy_server_is_told_and_then_served() -> None:
    gate = Gate()
    script = [Reply("First answer.", gate=gate), Reply("Second answer.")]

    async def follow(comparison: Comparison) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        async with aclosing(aiter(comparison)) as events:
            async for key, event in events:
                found.setdefault(key, []).append(event)
                if isinstance(event, InLine) and event.place:
                    gate.release()
        return found

    with ScriptedModel(script, places=1) as model:
        found = asyncio.run(follow(start(model, "prompt", "few-shot")))
    lines = {key: [one for one in found[key] if isinstance(one, InLine)] for key in found}
    assert sorted(lines.values(), key=len) == [[], [InLine(1, None), InLine(0, None)]]
    assert [type(found[key][-1]) for key in ("prompt", "few-shot")] == [Finished, Finished]


def test_all_five_answer_at_the_same_time() -> None:
    """Each answer waits in its middle until the last one has begun."""
    gates = [Gate() for _ in ALL]

    def release_when_all_have_begun() -> None:
        for gate in gates:
            gate.reached.wait()
        for gate in gates:
            gate.release()

    with ScriptedModel([Reply("one two three", gate=gate, gate_at=1) for gate in gates]) as model:
        releasing = threading.Thread(target=release_when_all_have_begun, daemon=True)
        releasing.start()
        events = collect(start(model))
        releasing.join()
    assert set(events) == set(ALL)
    assert all(finished(own).reason == "stop" for own in events.values())


@pytest.mark.parametrize("one", STRATEGIES, ids=lambda one: one.name)
def test_every_strategy_tells_the_same_story(one: prompts.Strategy) -> None:
    with ScriptedModel([Reply("Nine hundred euros.")]) as model:
        events = collect(start(model, one.name))[one.name]
        asked = model.requests[0]
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds == [Queued, *([Retrieved] if one.retrieves else []), Prompted, Finished]
    end = finished(events)
    prompted = next(event for event in events if isinstance(event, Prompted))
    assert prompted.messages == asked.messages
    assert end.prompt_tokens > 0
    assert end.text == text_of(events)
    assert end.text.endswith("Nine hundred euros.")
    assert end.answer_tokens == 3
    assert end.first_token_seconds is not None
    assert 0 < end.first_token_seconds <= end.total_seconds
    assert asked.model == (ADAPTED if one.adapted else BASE)
    assert (asked.max_tokens, asked.temperature, asked.seed) == (40, 0.0, 7)


def test_the_opening_is_sent_and_is_part_of_the_answer() -> None:
    with ScriptedModel([Reply("the K30 costs 900 euros.")]) as model:
        events = collect(start(model, "rag"))["rag"]
        assert model.requests[0].messages[-1].content == PROFILE.opening
    assert finished(events).text == "According to the documents, the K30 costs 900 euros."
    assert finished(events).text == text_of(events)


def test_an_answer_at_its_longest_length_says_so() -> None:
    with ScriptedModel([Reply("one two three four")]) as model:
        end = finished(collect(start(model, "prompt", answer_tokens=3))["prompt"])
    assert (end.reason, end.text, end.answer_tokens) == ("length", "one two three", 3)


def test_retrieval_is_done_once_and_shared() -> None:
    searched = []

    def retrieve(question: str, passages: int) -> Retrieval:
        searched.append((question, passages))
        return FOUND

    with ScriptedModel([Reply("a"), Reply("b")]) as model:
        bench = make_bench(model, retrieve=retrieve)
        chosen = [strategy("rag"), strategy("hybrid")]
        events = collect(compare(bench, QUESTION, chosen, make_options(passages=3)))
    assert searched == [(QUESTION.text, 3)]
    retrieved = [next(one for one in own if isinstance(one, Retrieved)) for own in events.values()]
    assert retrieved[0] == retrieved[1]
    assert retrieved[0].evidence == FOUND.evidence


def test_nothing_is_searched_when_nobody_retrieves() -> None:
    def retrieve(_question: str, _passages: int) -> Retrieval:
        raise AssertionError("searched")

    with ScriptedModel([Reply("a")]) as model:
        bench = make_bench(model, retrieve=retrieve)
        finished(collect(compare(bench, QUESTION, [strategy("prompt")], make_options()))["prompt"])


def test_off_topic_questions_are_answered_by_the_gate_without_the_model() -> None:
    with ScriptedModel([Reply("hello", model=BASE)]) as model:
        bench = make_bench(model, retrieve=lambda _question, _passages: NOTHING)
        chosen = [strategy(name) for name in ("prompt", "rag", "hybrid")]
        events = collect(compare(bench, QUESTION, chosen, make_options()))
    assert finished(events["prompt"]).text == "hello"
    for name in ("rag", "hybrid"):
        end = finished(events[name])
        assert [type(event) for event in events[name]] == [Queued, Retrieved, TextDelta, Finished]
        assert end.text == prompts.abstention()
        assert (end.answer_tokens, end.first_token_seconds) == (0, None)
        assert (end.fingerprint.prompt_sha256, end.fingerprint.passage_ids) == ("", ())


def test_every_strategy_sees_only_its_own_history() -> None:
    question = Question("And the K40?", {name: (Turn("K30?", f"said {name}"),) for name in ALL})
    with ScriptedModel([Reply("ok") for _ in ALL]) as model:
        chosen = list(STRATEGIES)
        events = collect(compare(make_bench(model), question, chosen, make_options()))
    for name, own in events.items():
        prompted = next(event for event in own if isinstance(event, Prompted))
        said = [one.content for one in prompted.messages if one.content.startswith("said ")]
        assert said == [f"said {name}"]


def test_a_prompt_too_long_is_trimmed_and_shown_so() -> None:
    history = tuple(Turn(f"question {n} " + "q " * 40, "a " * 40) for n in range(6))
    question = Question("What now?", {"prompt": history})
    profile = replace(PROFILE, context_tokens=300)
    with ScriptedModel([Reply("ok")], profile=profile) as model:
        bench = make_bench(model)
        events = collect(compare(bench, question, [strategy("prompt")], make_options()))["prompt"]
        sent = model.requests[0].messages
    prompted = next(event for event in events if isinstance(event, Prompted))
    assert prompted.trimming == Trimming(dropped_turns=4)
    assert prompted.prompt_tokens <= 300 - 40
    assert [one.content.split()[1] for one in sent if one.content.startswith("question")] == [
        "4",
        "5",
    ]


def test_room_for_the_prompt_is_kept_when_answers_may_be_longer_than_the_context() -> None:
    profile = replace(PROFILE, context_tokens=200)
    with ScriptedModel([Reply("ok")], profile=profile) as model:
        finished(collect(start(model, "prompt", answer_tokens=5000))["prompt"])
        assert model.requests[0].max_tokens == 100


def test_passages_that_do_not_fit_are_neither_sent_nor_in_the_fingerprint() -> None:
    passages = tuple(make_passage(n, "word " * 60) for n in range(3))
    profile = replace(PROFILE, context_tokens=200)
    with ScriptedModel([Reply("ok")], profile=profile) as model:
        bench = make_bench(model, retrieve=lambda _q, _p: replace(FOUND, passages=passages))
        events = collect(compare(bench, QUESTION, [strategy("hybrid")], make_options()))["hybrid"]
    kept = finished(events).fingerprint.passage_ids
    prompted = next(event for event in events if isinstance(event, Prompted))
    assert prompted.trimming == Trimming(dropped_passages=3 - len(kept))
    assert kept == tuple(one.id for one in passages[: len(kept)])
    assert 0 < len(kept) < 3


# --- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        Reply("out of memory", model=ADAPTED, status=500),
        Reply("one two three", model=ADAPTED, cut_at=2),
        Reply(model=ADAPTED, garbage=True),
        Reply("busy", model=ADAPTED, status=503),
    ],
    ids=["status 500", "cut", "garbage", "status 503"],
)
def test_one_failing_strategy_spares_the_rest(broken: Reply) -> None:
    healthy = [Reply("fine", model=BASE) for _ in range(3)]
    with ScriptedModel([*healthy, broken]) as model:
        events = collect(start(model, "prompt", "few-shot", "rag", "adapter"))
    failed = events["adapter"][-1]
    assert isinstance(failed, Failed)
    assert failed.message
    assert failed.text == ("one two" if broken.cut_at == 2 else "")
    for name in ("prompt", "few-shot", "rag"):
        assert finished(events[name]).text.endswith("fine")


def test_a_failing_library_spares_who_does_not_need_it() -> None:
    def retrieve(_question: str, _passages: int) -> Retrieval:
        raise VectorStoreError("Chroma is away.", cure="Try again.")

    with ScriptedModel([Reply("a"), Reply("b"), Reply("c")]) as model:
        events = collect(
            compare(make_bench(model, retrieve=retrieve), QUESTION, STRATEGIES, make_options())
        )
    for name in ("rag", "hybrid"):
        assert events[name] == [Queued(), Failed("Chroma is away.", "Try again.", "")]
    for name in ("prompt", "few-shot", "adapter"):
        finished(events[name])


def test_without_an_adapter_only_those_who_need_one_fail() -> None:
    with ScriptedModel([Reply("a"), Reply("b"), Reply("c")]) as model:
        events = collect(start(model, adapter=""))
    for name in ("adapter", "hybrid"):
        failed = events[name][-1]
        assert isinstance(failed, Failed)
        assert "adapter" in failed.message and "train" in failed.cure
    assert {name for name in ALL if isinstance(events[name][-1], Finished)} == {
        "prompt",
        "few-shot",
        "rag",
    }


def test_a_defect_of_ours_is_logged_and_told_in_plain_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def retrieve(_question: str, _passages: int) -> Retrieval:
        raise ZeroDivisionError("secret detail")

    with ScriptedModel([Reply("a")]) as model:
        bench = make_bench(model, retrieve=retrieve)
        chosen = [strategy("prompt"), strategy("rag")]
        events = collect(compare(bench, QUESTION, chosen, make_options()))
    failed = events["rag"][-1]
    assert isinstance(failed, Failed)
    assert "secret" not in failed.message + failed.cure
    assert "secret detail" in caplog.text
    finished(events["prompt"])


def test_no_server_at_all_fails_in_words() -> None:
    with ScriptedModel() as model:
        pass  # its port is closed again
    failed = collect(start(model, "prompt"))["prompt"][-1]
    assert isinstance(failed, Failed)
    assert "not running" in failed.message and failed.cure


# --- stopping ---------------------------------------------------------------------------------


def follow_and_stop(
    comparison: Comparison, stop_when: tuple[str, str], stopped: str | None, gates: list[Gate]
) -> dict[str, list[Event]]:
    """Iterate; stop when a strategy has written a text, then open all gates."""

    async def run() -> dict[str, list[Event]]:
        events: dict[str, list[Event]] = {}
        async with aclosing(aiter(comparison)) as pairs:
            async for name, event in pairs:
                own = events.setdefault(name, [])
                own.append(event)
                if (name, text_of(own)) == stop_when and isinstance(event, TextDelta):
                    comparison.stop(stopped)
                    for gate in gates:
                        gate.release()
        return events

    return asyncio.run(run())


def test_one_strategy_can_be_stopped_and_the_others_go_on() -> None:
    held, other = Gate(), Gate()
    script = [
        Reply("one two three four", model=ADAPTED, gate=held, gate_at=2),
        Reply("five six", model=BASE, gate=other, gate_at=1),
    ]
    with ScriptedModel(script) as model:
        comparison = start(model, "prompt", "adapter")
        events = follow_and_stop(comparison, ("adapter", "one two"), "adapter", [other])
        assert [request.model for request in model.wait_for_cancelled(1)] == [ADAPTED]
    end = finished(events["adapter"])
    assert (end.reason, end.text) == ("stopped", "one two")
    assert end.fingerprint.prompt_sha256
    assert (finished(events["prompt"]).reason, finished(events["prompt"]).text) == (
        "stop",
        "five six",
    )


def test_all_can_be_stopped_at_once() -> None:
    gates = [Gate() for _ in ALL]
    script = [Reply("one two three", gate=gate, gate_at=1) for gate in gates]

    async def run(comparison: Comparison) -> dict[str, Event]:
        last: dict[str, Event] = {}
        begun = set()
        async with aclosing(aiter(comparison)) as pairs:
            async for name, event in pairs:
                last[name] = event
                begun |= {name} if isinstance(event, TextDelta) else set()
                if begun == set(ALL):
                    comparison.stop()
        return last

    with ScriptedModel(script) as model:
        last = asyncio.run(run(start(model)))
        assert len(model.wait_for_cancelled(5)) == 5
    assert {finished([event]).reason for event in last.values()} == {"stopped"}


def test_what_is_stopped_before_it_began_never_begins() -> None:
    with ScriptedModel([Reply("fine", model=BASE)]) as model:
        comparison = start(model, "prompt", "adapter")
        comparison.stop("adapter")
        events = collect(comparison)
        assert [request.model for request in model.requests] == [BASE]
    assert [type(event) for event in events["adapter"]] == [Finished]
    assert finished(events["adapter"]).reason == "stopped"


def test_stopping_while_the_library_is_searched_leaves_the_search_to_the_other() -> None:
    searching, go_on = threading.Event(), threading.Event()

    def retrieve(_question: str, _passages: int) -> Retrieval:
        searching.set()
        go_on.wait()
        return FOUND

    async def run(comparison: Comparison) -> dict[str, Event]:
        last: dict[str, Event] = {}
        async for name, event in comparison:
            last[name] = event
            if name == "hybrid" and isinstance(event, Queued):
                await asyncio.to_thread(searching.wait)
                comparison.stop("hybrid")
            if name == "hybrid" and isinstance(event, Finished):
                go_on.set()
        return last

    with ScriptedModel([Reply("fine", model=BASE)]) as model:
        chosen = [strategy("rag"), strategy("hybrid")]
        last = asyncio.run(
            run(compare(make_bench(model, retrieve=retrieve), QUESTION, chosen, make_options()))
        )
    assert finished([last["hybrid"]]).reason == "stopped"
    assert finished([last["rag"]]).reason == "stop"


def test_stopping_what_has_ended_or_was_never_asked_changes_nothing() -> None:
    async def run(comparison: Comparison) -> list[Event]:
        ends = []
        async for _name, event in comparison:
            if isinstance(event, Finished):
                ends.append(event)
                comparison.stop("prompt")
                comparison.stop("rag")
        return ends

    with ScriptedModel([Reply("fine")]) as model:
        ends = asyncio.run(run(start(model, "prompt")))
    assert [finished([end]).reason for end in ends] == ["stop"]


def test_closing_the_iterator_cancels_every_request() -> None:
    gates = [Gate() for _ in ALL]

    async def run(comparison: Comparison) -> int:
        begun = set()
        async with aclosing(aiter(comparison)) as pairs:
            async for name, event in pairs:
                begun |= {name} if isinstance(event, TextDelta) else set()
                if begun == set(ALL):
                    break
        return len(asyncio.all_tasks()) - 1

    with ScriptedModel([Reply("one two", gate=gate, gate_at=1) for gate in gates]) as model:
        assert asyncio.run(run(start(model))) == 0
        assert len(model.wait_for_cancelled(5)) == 5


def test_a_server_that_knows_better_gets_a_shorter_prompt() -> None:
    said = "This model's maximum context length is 300 tokens, your request has 900 tokens."
    question = " ".join(f"word{number}" for number in range(600))
    script = [Reply(said, status=400), Reply("Short enough.")]
    with ScriptedModel(script) as model:
        asked = make_options(models=(model.name,), answer_tokens=40)
        comparison = compare(make_bench(model), Question(question, {}), [strategy("prompt")], asked)
        events = collect(comparison)["prompt"]
        first, second = (len(one.messages[-1].content) for one in model.requests)

    assert finished(events).text == "Short enough."
    assert second < first / 2


def test_a_server_that_says_no_number_is_not_asked_again() -> None:
    with ScriptedModel([Reply("the context length is exceeded", status=400)]) as model:
        asked = make_options(models=(model.name,))
        comparison = compare(make_bench(model), Question("Hi", {}), [strategy("prompt")], asked)
        events = collect(comparison)["prompt"]

    assert isinstance(events[-1], Failed)
