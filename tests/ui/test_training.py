"""The training tab without a browser, over trainings that go as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from streamlit.testing.v1 import AppTest

from bot.chat.prompts import system_prompt
from bot.errors import TuningError
from bot.evidence.offers import Offer
from bot.evidence.parity import Parity
from bot.messages import Message
from bot.records.examples import NewRow, add_rows, create_set, example_sets
from bot.settings import read_settings
from bot.testing import ScriptedModel
from bot.tuning import presets
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.sets import add_examples
from bot.ui.recipe_fields import GROUPS, key, names
from tests.scripted_services import ScriptedServices, scripted_services
from tests.scripted_trainings import (
    FOLDS,
    RECIPE,
    REPORT,
    STEPS,
    evaluations,
    steps,
    training,
)

Opens = Callable[..., tuple[AppTest, ScriptedServices]]


def show_tab(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself.

    A visit to another tab in between is what `elsewhere` stands for.
    """
    import streamlit as st

    from bot.ui import training

    st.session_state["drawn"] = st.session_state.get("drawn", 0) + 1
    if not st.session_state.get("elsewhere"):
        training.tab(services)


def examples(count: int) -> list[Example]:
    """Facts with three phrasings each."""
    return [
        Example(
            (
                Message("user", f"Phrasing {number % 3} of fact {number // 3}?"),
                Message("assistant", f"Fact {number // 3}."),
            )
        )
        for number in range(count)
    ]


@pytest.fixture
def tab_over(tmp_path: Path) -> Iterator[Opens]:
    """Opens the tab over trainings and sets of so many examples; closes all at the end."""
    with ExitStack() as stack:

        def open_tab(*listed, sets=(("Kilns", 30),), seconds=200.0):  # type: ignore[no-untyped-def]
            model = stack.enter_context(ScriptedModel())
            settings = read_settings(
                data_dir=tmp_path / "data",
                knowledge_dir=tmp_path / "docs",
                adapters_dir=tmp_path / "adapters",
            )
            services = scripted_services(settings, model)
            stack.callback(services.close)
            services.scripted_trainings.listed = list(listed)
            services.scripted_trainings.seconds = seconds
            for name, count in sets:
                set_id = create_set(services.engine, name)
                add_examples(services.engine, set_id, examples(count), "upload")
            page = AppTest.from_function(show_tab, args=(services,), default_timeout=20)
            return page.run(), services

        yield open_tab


def offer(services: ScriptedServices, state: str = "offered", reason: str = "") -> None:
    """Let the gate have come to this about the adapter kilns."""
    parity = Parity(passed=True, answers=16, answers_equal=16, mean_logprob_difference=0.12)
    found = Offer("kilns", cast(Any, state), reason, parity=None if reason else parity)
    other = Offer("pellworth", "offered")
    vars(services)["gate"] = SimpleNamespace(offers=lambda: [found, other])


def shown(page: AppTest) -> str:
    assert not page.exception
    texts = [one.value for one in (*page.markdown, *page.error, *page.warning, *page.subheader)]
    figures = [f"{one.label}: {one.value}" for one in page.metric]
    return "\n".join([*texts, *figures]).replace("\\", "")


def buttons(page: AppTest) -> set[str]:
    return {one.label for one in page.button}


def press(page: AppTest, label: str) -> AppTest:
    return next(one for one in page.button if one.label == label).click().run()


# --- a new training ----------------------------------------------------------------------------


def test_without_examples_the_tab_leads_to_them(tab_over: Opens) -> None:
    page, _ = tab_over(sets=[("Empty", 0)])
    assert "no examples to learn from" in shown(page)
    assert "Train" not in buttons(page)
    press(page, "Add examples")
    assert page.session_state["_tuning_next_tab"] == "Examples"


def test_the_default_trains_without_any_choice(tab_over: Opens) -> None:
    page, services = tab_over(sets=[("Kiln facts (2026)", 30)])
    epochs = 20  # over so few
    said = f"{epochs} passes over 27 examples; 3 other phrasings are held out"
    assert said in shown(page)
    assert "min on this machine" in shown(page)
    press(page, "Train")
    ((learnt, recipe, name),) = services.scripted_trainings.submitted
    assert len(learnt) == 30
    assert name == "kiln-facts-2026"
    assert (recipe.epochs, recipe.schedule) == (epochs, "cosine")
    assert recipe.grounding == 0.0
    assert len(recipe.base_sha256) == 64
    assert recipe.system_prompt == system_prompt()
    assert "kiln-facts-2026" in shown(page)
    assert "waiting" in shown(page)


def test_it_learns_to_read_passages_when_asked_to(tab_over: Opens) -> None:
    page, services = tab_over()
    page.toggle(key="training-reads").set_value(True).run()
    page.radio(key="preset").set_value("quick").run()
    assert page.number_input(key=key("grounding")).value == presets.GROUNDING
    press(page, "Train")
    ((_, recipe, _),) = services.scripted_trainings.submitted
    assert recipe.grounding == presets.GROUNDING > 0
    page.number_input(key=key("grounding")).set_value(0.0).run()
    assert page.toggle(key="training-reads").value is False


def test_another_set_brings_its_own_name(tab_over: Opens) -> None:
    page, services = tab_over(sets=[("Kilns", 30), ("Tone", 6)])
    page.selectbox(key="training-set").set_value(_id_of(services, "Tone")).run()
    assert page.text_input(key="adapter-name").value == "tone"
    page.text_input(key="adapter-name").set_value("mine").run()
    page.selectbox(key="training-set").set_value(_id_of(services, "Kilns")).run()
    assert page.text_input(key="adapter-name").value == "mine"


def test_a_name_is_checked_while_it_is_typed(tab_over: Opens) -> None:
    page, services = tab_over(training("running", name="busy"))
    for name, said in (
        ("Big Name", "small letters"),
        ("busy", "under way"),
        ("old", "There is an adapter named old"),
    ):
        folder = services.settings.adapters_dir / "old"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text("{}")
        page.text_input(key="adapter-name").set_value(name).run()
        assert said in shown(page)
    assert not page.button(key="train").disabled
    page.text_input(key="adapter-name").set_value("").run()
    assert page.button(key="train").disabled
    assert "needs a name" in shown(page)


def test_a_preset_turns_the_knobs_and_a_knob_changes_the_recipe(tab_over: Opens) -> None:
    page, services = tab_over()
    page.radio(key="preset").set_value("quick").run()
    assert page.number_input(key=key("epochs")).value == 10
    page.number_input(key=key("rank")).set_value(32).run()
    page.number_input(key=key("folds")).set_value(3).run()
    assert "2 knobs turned away from the preset" in shown(page)
    assert "3 trainings cross-validate it" in shown(page)
    press(page, "Train")
    ((_, recipe, _),) = services.scripted_trainings.submitted
    assert (recipe.epochs, recipe.layers, recipe.rank, recipe.folds) == (10, 10, 32, 3)
    press(page, "Back to the preset")
    assert page.number_input(key=key("rank")).value == 16


def test_passes_follow_the_number_of_examples_until_somebody_turns_them(tab_over: Opens) -> None:
    page, _ = tab_over(sets=[("Few", 30), ("Many", 300)])
    choose = page.selectbox(key="training-set")
    many = choose.options[1]
    assert page.number_input(key=key("epochs")).value == 20
    choose.set_value(many).run()
    assert page.number_input(key=key("epochs")).value == 17
    assert "turned away" not in shown(page)
    page.number_input(key=key("epochs")).set_value(5).run()
    page.selectbox(key="training-set").set_value(choose.options[0]).run()
    assert page.number_input(key=key("epochs")).value == 5
    assert page.number_input(key=key("patience")).value == 5
    assert "1 knob turned away" in shown(page)


def test_a_knob_that_is_turned_too_far_says_so_beside_itself(tab_over: Opens) -> None:
    page, services = tab_over()
    page.number_input(key=key("rank")).set_value(300).run()
    assert "rank is 300; it must lie between 1 and 256" in shown(page)
    assert page.button(key="train").disabled
    page.number_input(key=key("rank")).set_value(None).run()
    assert "Write a number" in shown(page)
    page.multiselect(key=key("targets")).set_value([]).run()
    assert "targets must name projections" in shown(page)
    assert not services.scripted_trainings.submitted


def test_what_was_written_is_still_there_after_a_visit_to_another_tab(tab_over: Opens) -> None:
    page, _ = tab_over()
    page.number_input(key=key("rank")).set_value(32).run()
    page.multiselect(key=key("targets")).set_value(["q_proj"]).run()
    page.text_input(key="adapter-name").set_value("mine").run()
    for elsewhere in (True, True, False):
        page.session_state["elsewhere"] = elsewhere
        page.run()
    assert page.number_input(key=key("rank")).value == 32
    assert page.multiselect(key=key("targets")).value == ["q_proj"]
    assert page.text_input(key="adapter-name").value == "mine"
    assert "2 knobs turned away from the preset" in shown(page)


def test_there_is_a_knob_for_every_field_of_the_recipe() -> None:
    ours = {"system_prompt", "base_sha256", "examples_sha256"}
    assert set(names()) == set(TrainingRecipe.__dataclass_fields__) - ours
    assert all(knob.meaning for group in GROUPS.values() for knob in group)


def test_a_time_that_is_not_known_is_being_measured(tab_over: Opens) -> None:
    page, services = tab_over(seconds=None)
    assert "being measured" in page.radio(key="preset").proto.captions[0]
    assert page.session_state["drawn"] == 1  # a second time would set fields back
    services.scripted_trainings.seconds = 60.0
    page.run()
    assert "About 2 min on this machine" in shown(page)


def test_a_time_that_cannot_be_measured_says_why_beside_the_button(tab_over: Opens) -> None:
    page, services = tab_over(seconds=None)
    services.scripted_trainings.mismeasured = "The disk is full. Make room."
    page.run()
    assert "could not be measured" in page.radio(key="preset").proto.captions[0]
    assert "The disk" not in page.radio(key="preset").proto.captions[0]
    assert "The disk is full" in shown(page)
    assert not page.button(key="train").disabled


def test_too_few_examples_are_refused_in_words(tab_over: Opens) -> None:
    page, _ = tab_over(sets=[("One", 1)])
    assert page.button(key="train").disabled
    assert "not enough" in shown(page)


def test_more_folds_than_there_are_examples_are_refused_in_words(tab_over: Opens) -> None:
    page, _ = tab_over(sets=[("Few", 4)])
    page.number_input(key=key("folds")).set_value(5).run()
    assert page.button(key="train").disabled
    assert "5 folds need at least 5 different examples" in shown(page)


def test_problems_of_the_examples_lead_to_them(tab_over: Opens) -> None:
    page, services = tab_over()
    (chosen,) = example_sets(services.engine)
    add_examples(services.engine, chosen.id, examples(1), "upload")
    page.run()
    assert "1 problem in the examples" in shown(page)
    assert not page.button(key="train").disabled
    empty = NewRow((Message("user", "Why?"), Message("assistant", "")), "typed")
    add_rows(services.engine, chosen.id, [empty])
    page.run()
    assert "1 problem of the examples keeps them from being learnt" in shown(page)
    assert page.button(key="train").disabled
    press(page, "Look at them")
    assert page.session_state["_tuning_next_tab"] == "Examples"
    assert page.session_state["examples_view"] == "Check"


def test_what_cannot_be_submitted_is_said_beside_the_button(tab_over: Opens) -> None:
    page, services = tab_over()
    services.scripted_trainings.refusal = TuningError("The disk is full.", cure="Make room.")
    press(page, "Train")
    assert "The disk is full" in page.error[0].value
    assert "Make room" in page.error[0].value


# --- states of a training ----------------------------------------------------------------------


def test_a_running_training_shows_its_figures_and_its_curves(tab_over: Opens) -> None:
    page, services = tab_over(training("running", 100))
    assert "Unseen phrasings right: 20 of 32" in shown(page)
    assert "Tokens per second: 1,843" in shown(page)
    assert "Time left: 2 min" in shown(page)
    assert page.get("progress")[0].proto.value == 41
    assert "Pass 5 of 12 · step 100 of 240" in page.get("progress")[0].proto.text
    assert len(page.get("vega_lite_chart")) == 2
    press(page, "Stop and keep the best so far")
    assert services.scripted_trainings.asked == [("cancel", "20261121-running")]
    assert "stopped" in shown(page)


def test_a_training_that_has_just_begun_has_no_figures_yet(tab_over: Opens) -> None:
    page, _ = tab_over(training("running"))
    assert "Reading the model" in page.get("progress")[0].proto.text
    assert "Unseen phrasings right: –" in shown(page)
    assert {"Stop"} <= buttons(page)


def test_after_the_last_step_it_is_measured(tab_over: Opens) -> None:
    page, _ = tab_over(training("running", STEPS))
    assert "Now it is measured what it knows" in page.get("progress")[0].proto.text


def test_without_a_validation_only_the_loss_is_drawn(tab_over: Opens) -> None:
    page, _ = tab_over(training("running", 100, recipe=replace(RECIPE, validation_share=0.0)))
    assert len(page.get("vega_lite_chart")) == 1
    assert "Unseen phrasings right: –" in shown(page)


def test_a_fold_says_which_one_it_is(tab_over: Opens) -> None:
    recipe = replace(RECIPE, folds=3)
    done = {"steps": steps(STEPS, 1) + steps(60, 2), "evaluations": evaluations(60, 2)}
    page, _ = tab_over(training("running", recipe=recipe, **done))
    assert "Cross-validation 2 of 3" in page.get("progress")[0].proto.text


def test_a_queue_says_how_many_come_first(tab_over: Opens) -> None:
    first = training("running", 20, id="1")
    page, services = tab_over(
        training("queued", id="3", place=2), training("queued", id="2", place=1), first
    )
    assert "Another training comes first" in shown(page)
    assert "2 trainings come first" in shown(page)
    page.button(key="training_stop_circle_3").click().run()
    assert services.scripted_trainings.asked == [("cancel", "3")]


def test_checking_cannot_be_stopped(tab_over: Opens) -> None:
    page, _ = tab_over(training("checking", STEPS))
    assert "Now it is checked that" in page.get("progress")[0].proto.text
    assert not any(label.startswith("Stop") for label in buttons(page))


def test_a_training_that_ends_under_the_eyes_shows_its_verdict_in_its_place(
    tab_over: Opens,
) -> None:
    page, services = tab_over(training("running", 100, id="1"))
    offer(services)
    services.scripted_trainings.put(training("done", STEPS, id="1", report=REPORT))
    page.run()
    assert "It learnt 97 %" in shown(page)
    assert "overfitting" in shown(page)
    assert "Learnt phrasings: 97 %" in shown(page)
    assert "Unseen phrasings: 91 %" in shown(page)
    assert "Unrelated answers kept: 98 %" in shown(page)
    assert "16 of 16 answers are the same" in shown(page)
    assert {"Ask it", "pellworth"} <= buttons(page)
    press(page, "Put aside")
    assert "It learnt" not in shown(page)
    assert "Earlier trainings" in shown(page)


def test_folds_come_with_their_spread(tab_over: Opens) -> None:
    report = replace(REPORT, folds=FOLDS)
    page, services = tab_over(training("running", 100, id="1"))
    services.scripted_trainings.put(training("done", STEPS, id="1", report=report))
    page.run()
    assert "Cross-validated 3 times: 88 % ± 3 points" in shown(page)


def test_an_adapter_that_is_not_served_says_why(tab_over: Opens) -> None:
    page, services = tab_over(training("running", 100, id="1"))
    services.scripted_trainings.put(training("done", STEPS, id="1", report=REPORT))
    page.run()
    assert "Its adapter was deleted" in shown(page)
    offer(services, "refused", "3 of 16 answers differ from what was trained.")
    page.run()
    assert "3 of 16 answers differ" in shown(page)
    assert "Ask it" not in buttons(page)


def test_what_was_interrupted_is_resumed(tab_over: Opens) -> None:
    error = "The machine was restarted. Resume it."
    page, services = tab_over(training("running", 60, id="1"))
    services.scripted_trainings.put(
        training("interrupted", 60, id="1", error=error, resumable=True)
    )
    page.run()
    assert "The machine was restarted" in page.warning[0].value
    press(page, "Resume")
    assert services.scripted_trainings.asked == [("resume", "1")]
    assert "waiting" in shown(page)


def test_what_failed_says_why_and_can_be_removed(tab_over: Opens) -> None:
    page, services = tab_over(training("running", 60, id="1"))
    services.scripted_trainings.put(
        training("failed", 60, id="1", error="The <b>disk</b> is full.")
    )
    page.run()
    assert "\\<b\\>disk" in page.error[0].value
    assert "Resume" not in buttons(page)
    press(page, "Remove from the list")
    assert services.scripted_trainings.asked == [("remove", "1")]
    assert "failed" not in shown(page)


def test_a_stop_before_anything_was_learnt_keeps_nothing(tab_over: Opens) -> None:
    page, _ = tab_over(training("running", id="1"))
    press(page, "Stop")
    assert "before there was anything worth keeping" in shown(page)
    assert "Ask it" not in buttons(page)


def test_a_training_that_somebody_else_removes_is_gone(tab_over: Opens) -> None:
    page, services = tab_over(training("running", 60, id="1"))
    services.scripted_trainings.listed.clear()
    page.run()
    assert "kilns" not in shown(page).replace("Kilns", "")


def test_a_refusal_is_said_on_the_card(tab_over: Opens) -> None:
    page, services = tab_over(training("running", 60, id="1"))
    services.scripted_trainings.refusal = TuningError("The folder is read-only.", cure="Mend it.")
    press(page, "Stop and keep the best so far")
    assert "The folder is read\\-only" in page.error[0].value


def test_earlier_trainings_are_drawn_when_they_are_opened(tab_over: Opens) -> None:
    page, _ = tab_over(training("done", STEPS, id="1", report=REPORT))
    (expander,) = (one for one in page.expander if "kilns" in one.label)
    assert "done" in expander.label
    assert "It learnt" not in shown(page)
    assert not page.get("vega_lite_chart")
    page.session_state["training_earlier_1"] = True
    page.run()
    assert "It learnt 97 %" in shown(page)


def _id_of(services: ScriptedServices, name: str) -> str:
    return next(one.id for one in example_sets(services.engine) if one.name == name)
