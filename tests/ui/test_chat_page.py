"""The chat page in Streamlit's test harness, over a scripted model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from bot.chat.answers import LiveAnswer
from bot.chat.fingerprint import Fingerprint
from bot.records.examples import example_sets
from bot.services import Services
from bot.testing import Reply, ScriptedModel
from bot.tuning.sets import approved_examples
from bot.ui import cards, starters, state
from tests.scripted_services import ScriptedServices
from tests.ui.conftest import PageOver

STRATEGIES = ("prompt", "few-shot", "rag", "adapter", "hybrid")


def ask(page: AppTest, question: str) -> AppTest:
    return page.chat_input(key="question").set_value(question).run()


def shown(page: AppTest) -> str:
    return "\n".join(element.value for element in page.markdown)


def only(page: AppTest, *names: str) -> None:
    """Switch on these strategies and no others."""
    for name in STRATEGIES:
        page.toggle(key=f"use-{name}").set_value(name in names)


def newest(services: Services, page: AppTest) -> dict[str, str]:
    """Text of the newest turn's answers by strategy, as recorded."""
    conversation = services.chat.conversations()[0].id
    return {
        name: answer.text for name, answer in services.chat.turns(conversation)[-1].answers.items()
    }


def test_every_strategy_that_is_switched_on_answers(page_over: PageOver) -> None:
    replies = [Reply(f"Answer number {number}.") for number in range(5)]
    page, services = page_over(ScriptedModel(replies))
    ask(page, "How hot?")
    assert not page.exception
    assert set(newest(services, page)) == set(STRATEGIES)
    for number in range(5):
        assert f"Answer number {number}." in shown(page)
    assert shown(page).count(":green-badge[:material/check: done]") == 5


def test_only_the_strategies_that_are_switched_on_answer(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel([Reply("One."), Reply("Two.")]))
    only(page, "prompt", "rag")
    ask(page, "How hot?")
    assert set(newest(services, page)) == {"prompt", "rag"}


def test_a_card_tells_an_answer_that_was_cut_off_from_one_that_ended_at_its_length() -> None:
    mark = Fingerprint("w", None, "p", (), {"temperature": 0.0, "max_tokens": 16}, 7)
    words = {}
    for tokens in (15, 16, 33):
        answer = LiveAnswer("id", "prompt", status="complete", text="…", answer_tokens=tokens)
        answer.fingerprint = mark
        words[tokens] = cards._figures(answer, frozenset())
    assert "length" not in words[15]
    assert "length reached" in words[16]
    assert "far beyond the length, cut off" in words[33]


def test_no_strategy_switched_on_is_said_so(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel())
    only(page)
    ask(page, "How hot?")
    assert "No strategy is switched on" in page.error[0].value
    assert services.chat.conversations() == []


def test_the_sliders_count_for_the_next_question(page_over: PageOver) -> None:
    model = ScriptedModel([Reply("One.")])
    page, _ = page_over(model)
    only(page, "prompt")
    page.slider(key="length").set_value(64)
    page.slider(key="temperature").set_value(0.5)
    ask(page, "How hot?")
    assert (model.requests[0].max_tokens, model.requests[0].temperature) == (64, 0.5)


def test_after_an_error_the_whole_page_is_drawn(page_over: PageOver) -> None:
    page, _ = page_over(ScriptedModel(always=Reply("Yes.")))
    only(page)
    ask(page, "How hot?")
    assert page.error
    only(page, "prompt")
    page.run()
    page.chat_input(key="question").set_value("How hot now?").run()
    assert not page.error
    assert "Yes." in shown(page)


def test_evidence_is_quoted_with_its_place_and_cannot_act(page_over: PageOver) -> None:
    page, _ = page_over(ScriptedModel([Reply("Hot.")]))
    only(page, "rag")
    ask(page, "How hot?")
    quote = next(text for text in (one.value for one in page.markdown) if text.startswith("> “"))
    assert "\\!\\[leak\\]" in quote
    assert "kilns \\<b\\>list\\<\\/b\\>\\.html · Heron 7 · page 3" in quote


def test_the_exact_prompt_and_its_origin_are_on_the_card(page_over: PageOver) -> None:
    model = ScriptedModel([Reply("Hot.")])
    page, _ = page_over(model)
    only(page, "prompt")
    ask(page, "How hot, in :red[numbers]?")
    sent = [f"[{one.role}]\n{one.content}" for one in model.requests[0].messages]
    assert "\n\n".join(sent) in {block.value for block in page.code}
    assert any("seed 7" in caption.value for caption in page.caption)


def test_a_failure_is_a_sentence_with_a_cure_and_keeps_the_text(page_over: PageOver) -> None:
    page, services = page_over(
        ScriptedModel([Reply("It was going so well", cut_at=3), Reply("Now it works.")])
    )
    only(page, "prompt")
    ask(page, "How hot?")
    assert "It was going" in shown(page)
    assert ":red-badge[:material/error: failed]" in shown(page)
    answer = services.chat.turns(services.chat.conversations()[0].id)[0].answers["prompt"]
    assert answer.error
    assert answer.cure
    page.button(key=f"retry-{answer.id}").click().run()
    assert "Now it works." in shown(page)
    assert "failed]" not in shown(page)


def test_a_vote_is_kept(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel([Reply("Hot.")]))
    only(page, "prompt")
    ask(page, "How hot?")
    conversation = services.chat.conversations()[0].id
    answer = services.chat.turns(conversation)[0].answers["prompt"]
    page.feedback(key=f"vote-{answer.id}").set_value(0).run()
    assert services.chat.turns(conversation)[0].answers["prompt"].vote == -1


def test_conversations_are_new_reopened_renamed_and_deleted(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel([Reply("One."), Reply("Two.")]))
    only(page, "prompt")
    ask(page, "First topic")
    first = services.chat.conversations()[0].id
    assert page.query_params["c"] == first
    page.button(key="new-chat").click().run()
    assert "c" not in page.query_params
    ask(page, "Second topic")
    assert "First topic" not in shown(page)

    page.button(key=f"conversation-{first}").click().run()
    assert "First topic" in shown(page)
    page.text_input(key=f"name-{first}").set_value("Renamed")
    page.button(key=f"save-{first}").click().run()
    assert page.button(key=f"conversation-{first}").label == "Renamed"

    page.button(key=f"delete-{first}").click().run()
    page.button(key=f"keep-{first}").click().run()
    assert len(services.chat.conversations()) == 2
    page.button(key=f"delete-{first}").click().run()
    page.button(key=f"really-delete-{first}").click().run()
    assert [row.title for row in services.chat.conversations()] == ["Second topic"]
    assert "First topic" not in shown(page)


def test_one_of_several_adapters_is_chosen_in_the_side_bar(
    page_over: PageOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [SimpleNamespace(name=name, base_sha256="0" * 64) for name in ("glazes", "pellworth")]
    monkeypatch.setattr(ScriptedServices, "adapters", lambda _self: two)
    model = ScriptedModel([Reply("One."), Reply("Two.")])
    page, _ = page_over(model)
    assert page.selectbox(key="adapter").value == "pellworth"
    only(page, "adapter")
    ask(page, "How hot?")
    page.selectbox(key="adapter").set_value("glazes")
    ask(page, "How hot?")
    assert [one.model for one in model.requests] == ["scripted+pellworth", "scripted+glazes"]


def test_several_adapters_answer_side_by_side(
    page_over: PageOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("glazes", "pellworth", "studio")
    three = [SimpleNamespace(name=name, base_sha256="0" * 64) for name in names]
    monkeypatch.setattr(ScriptedServices, "adapters", lambda _self: three)
    model = ScriptedModel(always=Reply("One."))
    page, services = page_over(model)
    only(page, "adapter")
    compared = page.multiselect(key="more-adapters")
    assert compared.options == ["glazes", "studio"]
    compared.set_value(["studio"])
    ask(page, "How hot?")
    assert set(newest(services, page)) == {"adapter", "adapter+studio"}
    assert "pellworth" in shown(page)
    page.selectbox(key="adapter").set_value("studio").run()
    assert page.multiselect(key="more-adapters").value == []


def test_without_an_adapter_its_strategies_are_off_and_say_why(
    page_over: PageOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedServices, "adapters", lambda _self: [])
    page, services = page_over(ScriptedModel([Reply("Yes.")] * 3))
    for name in ("adapter", "hybrid"):
        assert page.toggle(key=f"use-{name}").disabled
        assert "No adapter is installed" in page.toggle(key=f"use-{name}").help
    ask(page, "How hot?")
    assert set(newest(services, page)) == {"prompt", "few-shot", "rag"}


def test_example_questions_are_offered_while_the_sample_is_there(
    page_over: PageOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _ = page_over(ScriptedModel([Reply("1,300 °C.")]))
    assert not any(str(button.key).startswith("starter-") for button in page.button)
    monkeypatch.setattr(
        starters, "documents", lambda _library: [SimpleNamespace(name="kilns.html", status="ready")]
    )
    page.run()
    only(page, "prompt")
    question = page.button(key="starter-0").label
    page.button(key="starter-0").click().run()
    assert question in shown(page)
    assert "1,300 °C" in shown(page)
    assert "Which strategy answers best?" not in shown(page)


def test_an_address_of_a_conversation_that_is_gone_opens_a_new_one(page_over: PageOver) -> None:
    page, _ = page_over(ScriptedModel())
    page.query_params["c"] = "0" * 32
    page.run()
    assert not page.exception
    assert "Which strategy answers best?" in shown(page)


def test_the_last_six_turns_are_shown_and_older_ones_on_request(page_over: PageOver) -> None:
    page, _ = page_over(ScriptedModel(always=Reply("Yes.")))
    only(page, "prompt")
    for number in range(8):
        ask(page, f"Question {number}x")
    page.run()
    assert "Question 1x" not in shown(page)
    assert "Question 2x" in shown(page)
    page.button(key="show-older").click().run()
    assert "Question 0x" in shown(page)


def test_older_conversations_are_sent_only_when_they_are_looked_at(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel(always=Reply("Yes.")))
    only(page, "prompt")
    for number in range(10):
        page.button(key="new-chat").click().run()
        ask(page, f"Question {number}x")
    page.run()

    def listed() -> set[str]:
        keys = {str(button.key) for button in page.button}
        return {key for key in keys if key.startswith("conversation-")}

    assert len(listed()) == 8
    page.session_state["older-conversations"] = True
    page.run()
    assert not page.exception
    assert len(listed()) == len(services.chat.conversations()) == 10


def test_an_answer_is_kept_as_an_example_with_a_correction(page_over: PageOver) -> None:
    page, services = page_over(ScriptedModel(always=Reply("It costs nothing.")))
    ask(page, "What does it cost?")
    page.run()
    keep = next(one for one in page.button if str(one.key).startswith("keep-"))
    keep.click().run()
    assert page.text_area(key="keep_question").value == "What does it cost?"
    assert page.text_area(key="keep_answer").value == "It costs nothing."
    page.text_area(key="keep_answer").input("It costs £2.")
    page.button(key="keep_done").click().run()
    (made,) = example_sets(services.engine)
    (example,) = approved_examples(services.engine, made.id)
    assert made.name == "From the chat"
    assert [one.content for one in example.messages] == ["What does it cost?", "It costs £2."]
    assert page.session_state[state.EXAMPLE_SET] == made.id
    assert not page.exception
