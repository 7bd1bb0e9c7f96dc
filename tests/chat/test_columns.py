"""Several models side by side: each strategy has a column on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bot.chat.columns import column_key
from bot.chat.compare import compare
from bot.chat.events import Failed, Finished, Prompted, Retrieved
from bot.chat.live import Chat, LiveTurn
from bot.chat.question import Question
from bot.chat.strategies import STRATEGIES, strategy
from bot.errors import ChatError
from bot.library.retrieve import Retrieval
from bot.models.catalog import AdapterWeights
from bot.records.database import open_database
from bot.testing import PROFILE, Gate, Reply, ScriptedModel
from tests.chat.scene import FOUND, collect, finished, make_bench, make_options

QUESTION = Question("What does the K30 cost?")
PRICED = replace(PROFILE, prompt_price_per_million=1_000_000, answer_price_per_million=2_000_000)
BOTH = ("small", "large")


def small(*replies: Reply, always: Reply | None = None) -> ScriptedModel:
    return ScriptedModel(replies, name="small", always=always)


def large(*replies: Reply) -> ScriptedModel:
    return ScriptedModel(replies, name="large", profile=PRICED)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "triptych.db")
    yield engine
    engine.dispose()


def ask(chat: Chat, text: str, names: tuple[str, ...], *models: str, **options: object) -> LiveTurn:
    """Ask in the one conversation of the test, and wait for all answers."""
    turn = chat.ask("c", text, names, make_options(models=models, **options))
    return done(chat, turn)


def done(chat: Chat, turn: LiveTurn) -> LiveTurn:
    chat.attach(turn.id, "test")
    while not turn.done:
        chat.wait(turn, turn.version, 30)
    return turn


def test_the_columns_of_a_strategy_stand_together() -> None:
    columns = make_options(models=BOTH).columns([strategy("prompt"), strategy("rag")])
    assert [one.key for one in columns] == ["prompt", "prompt@large", "rag", "rag@large"]
    assert [one.model for one in columns] == ["small", "large"] * 2
    assert column_key("rag", "large", "small") == "rag@large"


def test_a_model_named_twice_has_one_column() -> None:
    columns = make_options(models=("small", "small")).columns([strategy("prompt")])
    assert [one.key for one in columns] == ["prompt"]


def test_a_further_model_without_an_adapter_has_no_column_that_needs_one() -> None:
    chosen = [strategy("prompt"), strategy("adapter")]
    keys = [one.key for one in make_options(models=BOTH).columns(chosen)]
    assert keys == ["prompt", "prompt@large", "adapter"]
    options = make_options(models=BOTH, other_adapters={"large": "kilns"})
    assert [one.key for one in options.columns(chosen)][-1] == "adapter@large"


def test_further_adapters_have_columns_beside_the_first() -> None:
    options = make_options(models=BOTH, more_adapters=("glazes", "kilns", "glazes"))
    columns = options.columns([strategy("prompt"), strategy("adapter")])
    assert [(one.key, one.adapter) for one in columns] == [
        ("prompt", ""),
        ("prompt@large", ""),
        ("adapter", "kilns"),
        ("adapter+glazes", "glazes"),
    ]


def test_several_adapters_answer_side_by_side_and_are_written_with_their_names(
    engine: Engine,
) -> None:
    names = ("adapter", "hybrid")
    with small(always=Reply("so it is")) as model:
        bench = replace(make_bench(model), adapter=lambda _model, name: weights_of(name))
        with closing(Chat(bench, engine)) as chat:
            first = ask(chat, "A?", names, "small", more_adapters=("glazes",))
            keys = ["adapter", "adapter+glazes", "hybrid", "hybrid+glazes"]
            assert list(first.answers) == keys
            assert [one.adapter for one in first.answers.values()] == ["kilns", "glazes"] * 2
            # The first adapter changes places: each goes on with what it said itself.
            second = ask(chat, "B?", names[:1], "small", adapter="glazes", more_adapters=("kilns",))
            asked = [one.model for one in model.requests]
            again = done(chat, chat.retry(second.answers["adapter+kilns"].id, make_options()))
            assert model.requests[-1].model == "small+kilns"
            exported = chat.export_markdown("c"), chat.export_csv("c")
            stored = chat.turns("c")
    assert sorted(asked) == ["small+glazes"] * 3 + ["small+kilns"] * 3
    assert [list(turn.answers) for turn in stored] == [keys, ["adapter", "adapter+kilns"]]
    assert again.answers["adapter+kilns"].adapter == "kilns"
    for answer in stored[1].answers.values():
        said = [message.content for message in answer.prompt if message.role == "assistant"]
        assert said == ["so it is"]
    assert "### Adapter + glazes (complete)" in exported[0]
    assert '"glazes"' in exported[1]


def weights_of(name: str) -> AdapterWeights:
    return AdapterWeights(name, Path("a.gguf"), "ad" * 32)


def test_an_adapter_is_known_to_answer_while_it_does(engine: Engine) -> None:
    gate = Gate()
    with (
        small(Reply("slowly", gate=gate)) as model,
        closing(Chat(make_bench(model), engine)) as chat,
    ):
        turn = chat.ask("c", "A?", ("adapter",), make_options(models=("small",)))
        assert gate.reached.wait(30)
        assert chat.answers_with("kilns")
        assert not chat.answers_with("glazes")
        gate.release()
        done(chat, turn)
        assert not chat.answers_with("kilns")


def test_without_a_model_nothing_is_asked() -> None:
    with pytest.raises(ChatError, match="No model"):
        compare(make_bench(), QUESTION, STRATEGIES, make_options(models=()))


def test_every_model_answers_every_strategy_and_the_library_is_searched_once() -> None:
    searched = []

    def retrieve(question: str, passages: int) -> Retrieval:
        searched.append(question)
        return FOUND

    with small(*[Reply("by small")] * 5) as one, large(*[Reply("by large")] * 5) as other:
        bench = make_bench(one, other, retrieve=retrieve)
        options = make_options(models=BOTH, other_adapters={"large": "kilns"})
        events = collect(compare(bench, QUESTION, STRATEGIES, options))
        asked = {model.name: sorted(r.model for r in model.requests) for model in (one, other)}
    assert len(events) == 10
    for key, own in events.items():
        assert finished(own).text.endswith("by large" if "@large" in key else "by small"), key
    assert searched == [QUESTION.text]
    assert len([e for own in events.values() for e in own if isinstance(e, Retrieved)]) == 4
    assert asked == {name: [name] * 3 + [f"{name}+kilns"] * 2 for name in BOTH}


def test_each_model_is_told_what_its_own_profile_says() -> None:
    profile = replace(PROFILE, opening="Well,", context_tokens=60)
    with small(Reply("fine")) as one, ScriptedModel([Reply("so")], None, profile) as other:
        other.name = "large"
        bench = make_bench(one, other)
        chosen = [strategy("rag")]
        events = collect(compare(bench, QUESTION, chosen, make_options(models=BOTH)))
        assert (one.requests[0].max_tokens, other.requests[0].max_tokens) == (40, 30)
    assert finished(events["rag"]).text == "According to the documents, fine"
    assert finished(events["rag@large"]).text == "Well, so"


def test_one_model_that_fails_spares_the_columns_of_the_other() -> None:
    broken = Reply("one two three", cut_at=2)
    with small(Reply("fine"), Reply("fine")) as one, large(broken, broken) as other:
        chosen = [strategy("prompt"), strategy("few-shot")]
        events = collect(
            compare(make_bench(one, other), QUESTION, chosen, make_options(models=BOTH))
        )
    for name in ("prompt", "few-shot"):
        assert finished(events[name]).text == "fine"
        failed = events[f"{name}@large"][-1]
        assert isinstance(failed, Failed) and failed.text == "one two"


def test_a_model_that_is_not_configured_fails_in_its_own_columns() -> None:
    with small(Reply("fine"), Reply("fine")) as one:
        options = make_options(models=("small", "gone"))
        chosen = [strategy("prompt"), strategy("rag")]
        events = collect(compare(make_bench(one), QUESTION, chosen, options))
    assert finished(events["prompt"]).text == "fine"
    for key in ("prompt@gone", "rag@gone"):
        failed = events[key][-1]
        assert isinstance(failed, Failed) and "no model gone" in failed.message


def test_one_column_is_stopped_alone() -> None:
    gate = Gate()
    with (
        small(Reply("one two", gate=gate, gate_at=1)) as one,
        large(Reply("three four", gate=Gate(), gate_at=1)) as other,
    ):
        options = make_options(models=BOTH)
        comparison = compare(make_bench(one, other), QUESTION, [strategy("prompt")], options)
        comparison.stop("prompt@large")
        gate.release()
        events = collect(comparison)
        other._left.clear()  # it was never asked
    assert finished(events["prompt"]).reason == "stop"
    assert finished(events["prompt@large"]).reason == "stopped"


# --- cost and origin --------------------------------------------------------------------------


def test_an_answer_costs_its_tokens_at_the_prices_of_its_model() -> None:
    with small(Reply("one two")) as one, large(Reply("one two")) as other:
        bench, options = make_bench(one, other), make_options(models=BOTH)
        events = collect(compare(bench, QUESTION, [strategy("prompt")], options))
    end = finished(events["prompt@large"])
    assert end.cost == pytest.approx(end.prompt_tokens * 1 + 2 * 2)
    assert finished(events["prompt"]).cost == 0.0


def test_the_cost_is_unknown_when_a_price_is() -> None:
    profile = replace(PRICED, answer_price_per_million=None)
    with ScriptedModel([Reply("one")], profile=profile) as model:
        events = collect(compare(make_bench(model), QUESTION, [strategy("prompt")], make_options()))
    assert finished(events["prompt"]).cost is None


def test_a_fingerprint_names_the_model_that_answered() -> None:
    with small(Reply("a")) as one, large(Reply("a")) as other:
        other.weights = replace(other.weights, sha256="large@example.org")
        bench, options = make_bench(one, other), make_options(models=BOTH)
        events = collect(compare(bench, QUESTION, [strategy("prompt")], options))
    marks = [finished(events[key]).fingerprint for key in ("prompt", "prompt@large")]
    assert [mark.weights for mark in marks] == ["0" * 64, "large@example.org"]
    assert marks[0].prompt_sha256 == marks[1].prompt_sha256


# --- in conversations -------------------------------------------------------------------------


def test_columns_are_kept_with_model_title_and_cost(engine: Engine) -> None:
    with small(Reply("small says")) as one, large(Reply("large says")) as other:
        with closing(Chat(make_bench(one, other), engine)) as chat:
            live = ask(chat, "Hello?", ("prompt",), *BOTH).answers
        with closing(Chat(make_bench(one, other), engine)) as chat:
            kept = chat.turns("c")[0].answers
            exported = chat.export_markdown("c")
    assert list(kept) == ["prompt", "prompt@large"]
    for key in kept:
        for field in ("text", "model", "model_title", "cost", "fingerprint"):
            assert getattr(kept[key], field) == getattr(live[key], field)
    assert (kept["prompt@large"].model, kept["prompt@large"].text) == ("large", "large says")
    assert kept["prompt@large"].cost and kept["prompt"].cost == 0.0
    assert "### Prompt, small (complete)" in exported
    assert "### Prompt, large (complete)" in exported


def said_before(model: ScriptedModel) -> list[list[str]]:
    """What each request to a model quoted of earlier answers."""
    return [[m.content for m in r.messages if m.role == "assistant"] for r in model.requests]


def test_every_column_remembers_its_own_answers_only(engine: Engine) -> None:
    with (
        small(Reply("small one"), Reply("small two")) as one,
        large(Reply("large one"), Reply("large two")) as other,
        closing(Chat(make_bench(one, other), engine)) as chat,
    ):
        ask(chat, "First?", ("prompt",), *BOTH)
        ask(chat, "Second?", ("prompt",), *BOTH)
        assert said_before(one)[-1] == ["small one"]
        assert said_before(other)[-1] == ["large one"]


def test_changing_places_does_not_mix_what_was_said(engine: Engine) -> None:
    with (
        small(Reply("small one"), Reply("small two")) as one,
        large(Reply("large one"), Reply("large two")) as other,
        closing(Chat(make_bench(one, other), engine)) as chat,
    ):
        ask(chat, "First?", ("prompt",), "small", "large")
        turn = ask(chat, "Second?", ("prompt",), "large", "small")
        assert [answer.model for answer in turn.answers.values()] == ["large", "small"]
        assert said_before(one)[-1] == ["small one"]
        assert said_before(other)[-1] == ["large one"]


def test_a_conversation_goes_on_with_another_model(engine: Engine) -> None:
    with (
        small(Reply("small one")) as one,
        large(Reply("large two")) as other,
        closing(Chat(make_bench(one, other), engine)) as chat,
    ):
        ask(chat, "First?", ("prompt",), "small")
        turn = ask(chat, "Second?", ("prompt",), "large")
        assert said_before(other) == [["small one"]]
    assert list(turn.answers) == ["prompt"]


def test_a_retry_answers_with_the_same_model_and_leaves_the_other_columns(engine: Engine) -> None:
    with (
        small(Reply("fine")) as one,
        large(Reply("bro ken", cut_at=1), Reply("mended")) as other,
        closing(Chat(make_bench(one, other), engine)) as chat,
    ):
        turn = ask(chat, "Hello?", ("prompt",), *BOTH)
        failed = turn.answers["prompt@large"]
        assert (failed.status, failed.text, failed.cost) == ("failed", "bro", None)
        again = done(chat, chat.retry(failed.id, make_options(models=("small",))))
        kept = chat.turns("c")[0].answers
    assert {key: one.text for key, one in kept.items()} == {
        "prompt": "fine",
        "prompt@large": "mended",
    }
    assert again.answers["prompt@large"].model == "large"


def test_a_retry_with_an_adapter_uses_one_of_the_same_model(engine: Engine) -> None:
    with (
        small(Reply("fine")) as one,
        large(Reply("no", status=500), Reply("yes")) as other,
        closing(Chat(make_bench(one, other), engine)) as chat,
    ):
        options = {"other_adapters": {"large": "kilns"}}
        turn = ask(chat, "Hello?", ("adapter",), *BOTH, **options)
        retried = make_options(models=("small",), adapter="", **options)
        done(chat, chat.retry(turn.answers["adapter@large"].id, retried))
        assert [request.model for request in other.requests] == ["large+kilns"] * 2


def test_what_runs_goes_on_with_its_model_while_another_is_chosen(engine: Engine) -> None:
    gate = Gate()
    with (
        small(Reply("one two", gate=gate, gate_at=1)) as one,
        large(Reply("other")) as other,
        closing(Chat(make_bench(one, other), engine)) as chat,
    ):
        first = chat.ask("c", "First?", ["prompt"], make_options(models=("small",)))
        chat.attach(first.id, "test")
        gate.reached.wait()
        second = chat.ask("other", "Second?", ["prompt"], make_options(models=("large",)))
        done(chat, second)
        gate.release()
        done(chat, first)
    assert [turn.answers["prompt"].model for turn in (first, second)] == ["small", "large"]


def test_the_prompt_of_every_column_is_on_record(engine: Engine) -> None:
    with small(Reply("a")) as one, large(Reply("b")) as other:
        bench, options = make_bench(one, other), make_options(models=BOTH)
        events = collect(compare(bench, QUESTION, [strategy("prompt")], options))
    sent = [next(e for e in own if isinstance(e, Prompted)).messages for own in events.values()]
    assert sent[0] == sent[1]
    assert all(isinstance(own[-1], Finished) for own in events.values())
