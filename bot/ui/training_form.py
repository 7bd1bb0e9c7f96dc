"""The form that begins a training: which examples, which name, how thoroughly, and every knob."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import streamlit as st

from bot.chat.prompts import system_prompt
from bot.errors import TriptychError
from bot.records.examples import ExampleSet, example_sets
from bot.services import Services
from bot.tuning import adapters as shelf
from bot.tuning import presets
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.sets import approved_examples
from bot.tuning.split import folds, held_out
from bot.ui import awaited_times, example_menu, recipe_fields, state, training_words
from bot.ui import examples as examples_tab
from bot.ui.library_work import counted
from bot.ui.text import plain

EXAMPLES_TAB = "Examples"

_SET = "training-set"
_READS = "training-reads"


@st.fragment
def draw(services: Services, begun: Callable[[str], None]) -> None:
    """Draw the form, and draw it anew when times were measured.

    Args:
        begun: called with the id of a training that was submitted.
    """
    sets = [one for one in example_sets(services.engine) if one.approved]
    with st.container(key="training_form"):
        if not sets:
            _nothing_to_learn()
            return
        st.subheader("New training", anchor=False)
        with st.grid(2, min_column_width=260, key="training_what"):
            chosen = example_menu.choose(
                sets,
                _SET,
                explained="A set from the Examples tab; only its approved examples are learnt.",
                changing=_rename,
            )
            name_fault = _name(services, chosen)
        examples = approved_examples(services.engine, chosen.id)
        offered = {
            one.name: presets.recipe_for(
                one.name,
                examples=len(examples),
                system_prompt=system_prompt(),
                base_sha256=services.trainee.identity,
            )
            for one in presets.PRESETS
        }
        start = _preset(services, examples, offered)
        _reading()
        recipe = _knobs(start)
        reason = name_fault or _reason(examples, recipe)
        if recipe is not None:
            if not reason:
                st.markdown(_plan(examples, recipe))
            reason = reason or _problems(services, chosen, recipe)
        with st.container(horizontal=True, vertical_alignment="center", key="training_begin"):
            clicked = st.button(
                "Train",
                key="train",
                type="primary",
                icon=":material/model_training:",
                disabled=bool(reason),
            )
            if reason:
                st.markdown(f":orange[{plain(reason)}]", width="stretch")
            elif recipe is not None:
                minutes, fault = _minutes(services, examples, recipe)
                st.markdown(f":gray[{minutes}{fault and '. '}{plain(fault)}]", width="stretch")
        if clicked and recipe is not None and not reason:
            _begin(services, examples, recipe, begun)
        recipes = [*offered.values(), recipe] if recipe else [*offered.values()]
        awaited_times.watch(services, examples, recipes)


def _nothing_to_learn() -> None:
    st.markdown("**There are no examples to learn from yet.**")
    st.markdown(":gray[Upload some, write a few, or let the model draft them from a document.]")
    if st.button("Add examples", key="training_add_examples", icon=":material/add:"):
        _open_examples()


def _open_examples(view: str = "Rows") -> None:
    st.session_state[examples_tab.VIEW] = view
    state.open_tuning_tab(EXAMPLES_TAB)
    st.rerun()


# --- what is trained ---------------------------------------------------------------------------


def _rename(before: ExampleSet, chosen: ExampleSet) -> None:
    """Let a name that was only suggested follow the set."""
    if st.session_state.get(state.ADAPTER_NAME) == _suggestion(before):
        st.session_state[state.ADAPTER_NAME] = _suggestion(chosen)


def _suggestion(chosen: ExampleSet) -> str:
    """A name for an adapter that learns a set."""
    kept = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in chosen.name.lower()
    )
    return "-".join(part for part in kept.split("-") if part)[:48] or "adapter"


def _name(services: Services, chosen: ExampleSet) -> str:
    """The field of the adapter's name; why the name cannot be used, empty when it can."""
    if state.ADAPTER_NAME not in st.session_state:
        st.session_state[state.ADAPTER_NAME] = _suggestion(chosen)
    with st.container(gap="xxsmall"):
        name = st.text_input(
            "Name of the adapter",
            key=state.ADAPTER_NAME,
            max_chars=48,
            live=True,
            help="Under this name it can be chosen in the chat.",
            persist_state="session",
        )
        try:
            shelf.check_name(name or "")
        except TriptychError as error:
            st.markdown(f":small[:red[:material/error: {plain(error.cure)}]]")
            return "The adapter needs a name." if not name else "Mend the name first."
        if note := _who_has_it(services, name or ""):
            st.markdown(f":small[:orange[:material/info: {plain(note)}]]")
    return ""


def _who_has_it(services: Services, name: str) -> str:
    """What becomes of an adapter that has the name already; empty when none has."""
    if any(one.name == name for one in services.trainings.all() if one.active):
        return "A training of this name is under way; the later one replaces the earlier."
    if (services.settings.adapters_dir / name / shelf.MANIFEST_NAME).exists():
        return f"There is an adapter named {name}: it is replaced when the new one is done."
    return ""


# --- how it is trained -------------------------------------------------------------------------


def _preset(
    services: Services, examples: Sequence[Example], offered: Mapping[str, TrainingRecipe]
) -> TrainingRecipe:
    """The cards of the presets; the recipe of the one that is chosen."""
    if st.session_state.get(state.PRESET) not in offered:
        st.session_state[state.PRESET] = presets.DEFAULT
    captions = [
        f"{one.summary}  \n**{_minutes(services, examples, offered[one.name])[0]}**"
        for one in presets.PRESETS
    ]
    st.radio(
        "How thoroughly",
        list(offered),
        format_func=lambda name: presets.preset(name).title,
        captions=captions,
        horizontal=True,
        key=state.PRESET,
        on_change=_preset_chosen,
        args=(offered,),
        width="stretch",
        persist_state="session",
    )
    start = offered[st.session_state[state.PRESET]]
    recipe_fields.follow(start)
    return start


def _preset_chosen(offered: Mapping[str, TrainingRecipe]) -> None:
    """Turn the knobs to the preset; the switch stays as it is."""
    reads = st.session_state.get(recipe_fields.key("grounding")) or 0.0
    recipe_fields.turn_to(offered[st.session_state[state.PRESET]])
    st.session_state[recipe_fields.key("grounding")] = reads


def _reading() -> None:
    """The switch of training with passages; it turns a knob."""
    knob = recipe_fields.key("grounding")
    st.session_state[_READS] = bool(st.session_state.get(knob))

    def turn() -> None:
        st.session_state[knob] = presets.GROUNDING if st.session_state[_READS] else 0.0

    st.toggle(
        "Also learn to read passages of my documents",
        key=_READS,
        on_change=turn,
        help="For the hybrid strategy: examples are asked after passages as well, right ones and "
        "misleading ones, so that it uses what is retrieved and not only its memory. Takes "
        "two to three times as long.",
    )


def _knobs(start: TrainingRecipe) -> TrainingRecipe | None:
    """The knobs of the recipe; None while one of them is turned too far."""
    with st.expander("Every knob", key="training_knobs", icon=":material/tune:"):
        slot = st.container()
        recipe_fields.draw(recipe_fields.wrong(start, recipe_fields.turned(start)))
    changes = recipe_fields.turned(start)
    if changes:
        with slot.container(horizontal=True, vertical_alignment="center"):
            count = counted(len(changes), "knob")
            st.markdown(f":gray[{count} turned away from the preset.]", width="stretch")
            st.button(
                "Back to the preset",
                key="training_knobs_back",
                icon=":material/undo:",
                type="tertiary",
                on_click=recipe_fields.turn_to,
                args=(start,),
            )
    return None if recipe_fields.wrong(start, changes) else replace(start, **changes)


def _reason(examples: Sequence[Example], recipe: TrainingRecipe | None) -> str:
    """Why it cannot be trained; empty when it can."""
    if recipe is None:
        return "A knob is turned too far: see there."
    if len(examples) < 2:
        return "One example is not enough to learn from."
    if recipe.folds:
        try:
            folds(examples, recipe.folds, recipe.seed)
        except TriptychError as error:
            return str(error)
    return ""


def _problems(services: Services, chosen: ExampleSet, recipe: TrainingRecipe) -> str:
    """How many problems the examples have, with the way to them; why they keep the set from being
    learnt, empty when they do not."""
    with st.spinner("Looking at the examples …"):
        review = services.review_examples(chosen.id, recipe.example_tokens)
    if not review.problems:
        return ""
    blocking = len(review.blocking)
    count = counted(len(review.problems), "problem")
    with st.container(horizontal=True, vertical_alignment="center", key="training_problems"):
        st.markdown(f":orange[:material/warning: {count} in the examples.]", width="content")
        if st.button(
            "Look at them",
            key="training_see_problems",
            icon=":material/checklist:",
            type="tertiary",
        ):
            _open_examples("Check")
    if not blocking:
        return ""
    verb = "keeps" if blocking == 1 else "keep"
    return f"{counted(blocking, 'problem')} of the examples {verb} them from being learnt."


def _plan(examples: Sequence[Example], recipe: TrainingRecipe) -> str:
    """What the recipe will do with these examples, in a sentence."""
    learning, asked = held_out(examples, recipe.validation_share, recipe.seed)
    passes = "1 pass" if recipe.epochs == 1 else f"{recipe.epochs} passes"
    said = f"{passes} over {counted(len(learning), 'example')}"
    if not recipe.validation_share:
        said += "; none is held out, so nothing will tell what it understood"
    else:
        phrasings = "other phrasing is" if len(asked) == 1 else "other phrasings are"
        said += f"; {len(asked):,} {phrasings} held out to see what it understood"
        if recipe.patience:
            said += (
                f", and it stops early when {recipe.patience} measurements in a row gain nothing"
            )
    if recipe.folds:
        said += f". Before that, {recipe.folds} trainings cross-validate it"
    return f"{said}."


def _minutes(
    services: Services, examples: Sequence[Example], recipe: TrainingRecipe
) -> tuple[str, str]:
    """How long it takes, in a few words, and why that is not known; empty when it is."""
    found = services.trainings.estimate(examples, recipe)
    if found.error:
        return "Its time could not be measured", found.error
    if found.seconds is not None:
        return f"About {training_words.duration(found.seconds)} on this machine", ""
    if services.trainings.current() is not None:
        return "Its time is measured when no training runs", ""
    return "Its time is being measured …", ""


def _begin(
    services: Services,
    examples: Sequence[Example],
    recipe: TrainingRecipe,
    begun: Callable[[str], None],
) -> None:
    name = str(st.session_state[state.ADAPTER_NAME])
    try:
        with st.spinner("Looking up passages …" if recipe.grounding else "Queuing …"):
            training_id = services.trainings.submit(examples, recipe, name)
    except TriptychError as error:
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        return
    begun(training_id)
    st.rerun()
