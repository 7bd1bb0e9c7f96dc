"""Every knob of a recipe as a field: what it means, and in words what is wrong with its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import streamlit as st

from bot.errors import RecipeError
from bot.tuning.recipe import PROJECTIONS, SCHEDULES, TrainingRecipe
from bot.ui.text import plain


@dataclass(frozen=True, slots=True)
class Knob:
    """A field of the recipe, as a person meets it.

    Args:
        name: of the field.
        title: what a person reads.
        meaning: what it does, and when to change it.
        step: of the buttons beside a number.
    """

    name: str
    title: str
    meaning: str
    step: float = 1


GROUPS: Mapping[str, tuple[Knob, ...]] = {
    "How it is measured": (
        Knob(
            "validation_share",
            "Held-out share",
            "This share of the phrasings is not learnt but asked, to see what was understood: "
            "0.1 is a tenth. 0 learns from everything and measures nothing.",
            0.05,
        ),
        Knob(
            "folds",
            "Cross-validation",
            "So many trainings, each of which holds out another part, before the one that is "
            "kept: tells how much the result depends on the examples. 0 means none; 5 takes "
            "about six times as long.",
        ),
        Knob(
            "patience",
            "Patience",
            "Stops early when so many measurements in a row have gained nothing. 0 never does.",
        ),
    ),
    "How long and how fast": (
        Knob("epochs", "Passes", "How often it sees every example."),
        Knob("batch_size", "Batch", "Examples a step. Smaller needs less memory."),
        Knob(
            "learning_rate",
            "Learning rate",
            "The highest one. Higher learns faster, and forgets more of what the model knew.",
            0.0005,
        ),
        Knob("schedule", "Schedule", "How the learning rate falls after the warm-up."),
        Knob("warmup_share", "Warm-up", "Share of all steps in which the rate rises.", 0.05),
        Knob("seed", "Seed", "The same recipe, examples and seed give the same losses."),
    ),
    "What is trained": (
        Knob("rank", "Rank", "Width of the matrices that are learnt: how much fits in."),
        Knob("alpha", "Alpha", "What is learnt counts alpha / rank times."),
        Knob("layers", "Layers", "So many of the last layers are trained; 0 means all."),
        Knob("targets", "Projections", "Which matrices of a layer are trained."),
        Knob(
            "example_tokens",
            "Longest example",
            "In tokens, with the system prompt; a longer one is refused.",
            64,
        ),
    ),
    "Against learning by heart": (
        Knob(
            "hidden_share",
            "Hidden words",
            "This share of each question is hidden, anew at every step, so that a fact is not "
            "tied to one wording.",
            0.05,
        ),
        Knob(
            "grounding",
            "With passages",
            "So many examples with passages of your documents before the question, as a share of "
            "the others: it learns to read as well as to know. 0 means none.",
            0.1,
        ),
        Knob("dropout", "Dropout", "Share of the inputs that is left out at every step.", 0.05),
        Knob("weight_decay", "Weight decay", "Pull of what is learnt towards nothing.", 0.01),
    ),
}

_FOLLOWED = "_knobs_followed"
_WHOLE = frozenset(field.name for field in fields(TrainingRecipe) if field.type == "int")


def key(name: str) -> str:
    """Widget key of a field."""
    return f"knob-{name}"


def names() -> tuple[str, ...]:
    """The fields that there are knobs for, in order."""
    return tuple(knob.name for group in GROUPS.values() for knob in group)


def turn_to(recipe: TrainingRecipe) -> None:
    """Set every knob to what a recipe says; to be called before they are drawn."""
    for name in names():
        _turn(name, recipe)
    st.session_state[_FOLLOWED] = recipe


def follow(recipe: TrainingRecipe) -> None:
    """Let the knobs that nobody turned say what a recipe says, as it is now; to be called before
    they are drawn."""
    before = st.session_state.get(_FOLLOWED)
    if before is None or key(names()[0]) not in st.session_state:
        turn_to(recipe)
    elif before != recipe:
        for name in set(names()) - set(turned(before)):
            _turn(name, recipe)
        st.session_state[_FOLLOWED] = recipe


def _turn(name: str, recipe: TrainingRecipe) -> None:
    value = getattr(recipe, name)
    st.session_state[key(name)] = list(value) if isinstance(value, tuple) else value


def turned(start: TrainingRecipe) -> dict[str, Any]:
    """What the knobs say that `start` does not, whether it is right or wrong."""
    said = {name: _value(name) for name in names() if key(name) in st.session_state}
    return {name: value for name, value in said.items() if value != getattr(start, name)}


def wrong(start: TrainingRecipe, changes: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the values, by field, in a sentence; empty when all are right."""
    faults = {}
    for name, value in changes.items():
        if value is None:
            faults[name] = "Write a number."
            continue
        try:
            replace(start, **{name: value})
        except RecipeError as error:
            faults[name] = error.message
    return faults


def draw(faults: Mapping[str, str]) -> None:
    """Draw the knobs, each with what is wrong with it."""
    for title, knobs in GROUPS.items():
        st.markdown(f"**{title}**")
        with st.grid(3, min_column_width=150, key=f"knobs-{knobs[0].name}"):
            for knob in knobs:
                with st.container(gap="xxsmall"):
                    _field(knob)
                    if knob.name in faults:
                        st.markdown(f":small[:red[:material/error: {plain(faults[knob.name])}]]")


def _field(knob: Knob) -> None:
    if knob.name == "schedule":
        st.selectbox(
            knob.title, SCHEDULES, key=key(knob.name), help=knob.meaning, persist_state="session"
        )
    elif knob.name == "targets":
        st.multiselect(
            knob.title, PROJECTIONS, key=key(knob.name), help=knob.meaning, persist_state="session"
        )
    else:
        st.number_input(
            knob.title,
            value=None,
            step=int(knob.step) if knob.name in _WHOLE else knob.step,
            format="%d" if knob.name in _WHOLE else "%g",
            key=key(knob.name),
            help=knob.meaning,
            persist_state="session",
        )


def _value(name: str) -> Any:
    value = st.session_state[key(name)]
    if name == "targets":
        return tuple(one for one in PROJECTIONS if one in value)
    return value
