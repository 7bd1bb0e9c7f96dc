"""The menu of example sets, which shows the same choice wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from bot.records.examples import ExampleSet
from bot.ui import state


def choose(
    sets: Sequence[ExampleSet],
    key: str,
    *,
    label: str = "Examples",
    title: Callable[[ExampleSet], str] = lambda one: f"{one.name} ({one.approved:,})",
    explained: str | None = None,
    changing: Callable[[ExampleSet, ExampleSet], None] = lambda before, chosen: None,
) -> ExampleSet:
    """Draw the menu; the set that is chosen.

    Args:
        sets: at least one.
        key: of the menu.
        explained: its help.
        changing: called with the set before and the one just chosen.
    """
    by_id = {one.id: one for one in sets}
    if state.example_set() not in by_id:
        state.choose_example_set(sets[0].id)
    st.session_state[key] = state.example_set()

    def changed() -> None:
        chosen = by_id[st.session_state[key]]
        changing(by_id[state.example_set()], chosen)
        state.choose_example_set(chosen.id)

    st.selectbox(
        label,
        list(by_id),
        format_func=lambda set_id: title(by_id[set_id]),
        key=key,
        width="stretch",
        on_change=changed,
        help=explained,
    )
    return by_id[state.example_set()]
