"""Choosing models in the side bar, and their columns on the chat page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from bot.chat.answers import LiveAnswer, LiveTurn
from bot.records.models import ModelRecord
from bot.services import Services
from bot.testing import PROFILE, Gate, Reply, ScriptedModel
from bot.ui import chat
from bot.ui.cards import Actions, Card, dollars
from tests.ui.conftest import PageOver
from tests.ui.test_chat_page import ask, only, shown

PRICED = replace(PROFILE, passages=3, prompt_price_per_million=10.0, answer_price_per_million=100.0)


def small(*replies: Reply, always: Reply | None = None) -> ScriptedModel:
    return ScriptedModel(replies, always, name="small")


def large(*replies: Reply, name: str = "large") -> ScriptedModel:
    return ScriptedModel(replies, profile=PRICED, name=name)


def newest(services: Services) -> LiveTurn:
    return services.chat.turns(services.chat.conversations()[0].id)[-1]


def texts(services: Services) -> dict[str, str]:
    return {key: answer.text for key, answer in newest(services).answers.items()}


def menus(page: AppTest) -> set[str]:
    return {str(one.key) for one in (*page.selectbox, *page.multiselect)}


def test_there_is_no_menu_where_there_is_no_choice(page_over: PageOver) -> None:
    page, _ = page_over(small())
    assert not menus(page) & {"model", "compare"}


def test_another_model_answers_the_next_question_without_a_restart(page_over: PageOver) -> None:
    page, services = page_over(small(Reply("Small.")), large(Reply("Large.")))
    only(page, "prompt")
    ask(page, "How hot?")
    page.selectbox(key="model").set_value("large").run()
    ask(page, "And now?")
    page.selectbox(key="model").set_value("small")
    turns = services.chat.turns(services.chat.conversations()[0].id)
    assert [(t.answers["prompt"].model, t.answers["prompt"].text) for t in turns] == [
        ("small", "Small."),
        ("large", "Large."),
    ]
    assert not page.exception


def test_what_is_being_answered_goes_on_with_its_model(page_over: PageOver) -> None:
    gate = Gate()
    page, services = page_over(small(Reply("One two.", gate=gate, gate_at=1)), large())
    options = {"answer_tokens": 40, "temperature": 0.0, "seed": 7, "passages": 1}
    from bot.chat.columns import Options

    asked = Options(**options, adapter="", models=("small",))  # type: ignore[arg-type]
    turn = services.chat.ask("c", "How hot?", ["prompt"], asked)
    services.chat.attach(turn.id, "test")
    gate.reached.wait()
    page.selectbox(key="model").set_value("large").run()
    assert not turn.answers["prompt"].finished
    gate.release()
    while not turn.done:
        services.chat.wait(turn, turn.version, 30)
    assert (turn.answers["prompt"].model, turn.answers["prompt"].text) == ("small", "One two.")


def test_choosing_a_model_suits_the_passages_to_it(page_over: PageOver) -> None:
    page, _ = page_over(small(), large())
    assert page.slider(key="passages-small").value == 1
    page.selectbox(key="model").set_value("large").run()
    assert page.slider(key="passages-large").value == 3


def test_a_question_sent_with_a_choice_of_model_is_asked_as_that_model_wants_it(
    page_over: PageOver,
) -> None:
    """A quick visitor's browser sends both at once."""
    page, services = page_over(small(), large(Reply("Large."), name="bare"))
    only(page, "prompt", "adapter")
    page.selectbox(key="model").set_value("bare")
    ask(page, "How hot?")
    turn = newest(services)
    assert texts(services) == {"prompt": "Large."}
    assert turn.answers["prompt"].model == "bare"
    assert page.toggle(key="use-adapter").disabled


def test_two_models_answer_side_by_side_and_each_card_names_its_own(page_over: PageOver) -> None:
    page, services = page_over(
        small(Reply("Small."), Reply("Small.")), large(Reply("Large."), Reply("Large."))
    )
    only(page, "prompt", "rag")
    page.multiselect(key="compare").set_value(["large"]).run()
    ask(page, "How hot?")
    assert texts(services) == {
        "prompt": "Small.",
        "prompt@large": "Large.",
        "rag": "According to the documents, Small.",
        "rag@large": "According to the documents, Large.",
    }
    assert shown(page).count(":small[:gray[large]]") == 2
    assert shown(page).count(":small[:gray[small]]") == 2


def test_one_column_fails_and_is_tried_again_on_its_own_model(page_over: PageOver) -> None:
    page, services = page_over(
        small(Reply("Fine.")), large(Reply("It was going well", cut_at=3), Reply("Mended."))
    )
    only(page, "prompt")
    page.multiselect(key="compare").set_value(["large"]).run()
    ask(page, "How hot?")
    failed = newest(services).answers["prompt@large"]
    assert "It was going" in shown(page) and "failed]" in shown(page)
    page.multiselect(key="compare").set_value([]).run()
    page.button(key=f"retry-{failed.id}").click().run()
    assert texts(services) == {"prompt": "Fine.", "prompt@large": "Mended."}
    assert "failed]" not in shown(page)


def test_strategies_with_an_adapter_rest_while_the_model_has_none(page_over: PageOver) -> None:
    page, services = page_over(small(), large(Reply("Yes."), name="bare"))
    only(page, "prompt", "adapter")
    page.run()
    page.selectbox(key="model").set_value("bare").run()
    for name in ("adapter", "hybrid"):
        assert page.toggle(key=f"use-{name}").disabled
        assert "No adapter is installed for bare" in page.toggle(key=f"use-{name}").help
    ask(page, "How hot?")
    assert texts(services) == {"prompt": "Yes."}
    page.selectbox(key="model").set_value("small").run()
    assert [page.toggle(key=f"use-{name}").value for name in ("prompt", "adapter", "hybrid")] == [
        True,
        True,
        False,
    ]


def test_a_retry_of_an_adapter_answer_finds_an_adapter_of_its_model(page_over: PageOver) -> None:
    other = ScriptedModel([Reply("no", status=500), Reply("Yes.")], name="large")
    page, services = page_over(small(Reply("Fine.")), other)
    only(page, "adapter")
    page.multiselect(key="compare").set_value(["large"]).run()
    ask(page, "How hot?")
    failed = newest(services).answers["adapter@large"]
    page.multiselect(key="compare").set_value([]).run()
    page.button(key=f"retry-{failed.id}").click().run()
    assert texts(services)["adapter@large"] == "Yes."
    assert {request.model for request in other.requests} == {"large+pellworth"}


def test_a_model_that_was_removed_while_chosen_is_forgotten(page_over: PageOver) -> None:
    page, services = page_over(small(Reply("Small.")))
    record = ModelRecord(name="mine", base_url="http://127.0.0.1:9/v1", model="m")
    services.models.add(record)
    page.run()
    page.selectbox(key="model").set_value("mine").run()
    services.models.remove("mine")
    page.run()
    assert not page.exception
    assert "model" not in menus(page)
    only(page, "prompt")
    ask(page, "How hot?")
    assert texts(services) == {"prompt": "Small."}


def test_an_answer_that_ends_while_its_card_is_drawn_is_shown_whole(
    page_over: PageOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    page, services = page_over(small(Reply("One two three.", gate=gate, gate_at=1)))
    draw = chat._draw_cards

    def draw_and_end(turn: LiveTurn, actions: Actions, *, words_only: bool) -> dict[str, Card]:
        cards = draw(turn, actions, words_only=words_only)
        gate.release()
        while not turn.done:
            services.chat.wait(turn, turn.version, 30)
        return cards

    monkeypatch.setattr(chat, "_draw_cards", draw_and_end)
    only(page, "prompt")
    ask(page, "How hot?")
    assert "One two three." in shown(page)


# --- cost -------------------------------------------------------------------------------------


def test_the_cost_stands_under_every_answer(page_over: PageOver) -> None:
    unknown = ScriptedModel(
        [Reply("One two.")],
        profile=replace(PROFILE, answer_price_per_million=None),
        name="unknown",
    )
    page, services = page_over(small(Reply("One two.")), large(Reply("One two.")), unknown)
    only(page, "prompt")
    page.multiselect(key="compare").set_value(["large", "unknown"]).run()
    ask(page, "How hot?")
    answer = newest(services).answers["prompt@large"]
    assert answer.cost == pytest.approx((answer.prompt_tokens * 10 + 2 * 100) / 1_000_000)
    assert dollars(answer.cost) in shown(page)
    assert "free, on this machine" in shown(page)
    assert "price unknown" in shown(page)


def test_an_answer_that_asked_no_model_has_no_cost(page_over: PageOver) -> None:
    page, _ = page_over(small())
    only(page, "rag")
    ask(page, "This is off topic")
    assert "free" not in shown(page)


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0.00001, "< \\$0.0001"), (0.00124, "\\$0.0012"), (0.5, "\\$0.5000"), (12.345, "\\$12.35")],
)
def test_amounts_have_as_many_digits_as_they_need(amount: float, words: str) -> None:
    assert dollars(amount) == words


def test_an_answer_is_free_elsewhere_and_free_here_in_other_words() -> None:
    from bot.chat.fingerprint import Fingerprint

    def mark(weights: str) -> Fingerprint:
        return Fingerprint(weights, None, "", (), {}, 7)

    here = ("ab" * 32, "llama3.2@127.0.0.1:11434", "m@localhost", "m@[::1]:8000")
    assert all(mark(weights).on_this_machine for weights in here)
    assert not mark("gpt-4.1@api.openai.com").on_this_machine
    assert LiveAnswer("a", "prompt").cost is None
