"""The fine-tuning page: a shell with one tab for each step from examples to an adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from bot.services import Services
from bot.ui import adapters, curve, examples, server_tuning, state, training

STYLE_SHEET = Path(__file__).with_name("tuning.css")


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of the page.

    Args:
        title: as it is shown, and as the page's address names it (`?tab=Training`).
        draw: draws what the tab holds; called only while the tab is open.
    """

    title: str
    draw: Callable[[Services], None]


TABS = (
    Tab("Examples", examples.tab),
    Tab("Training", training.tab),
    Tab("Adapters", adapters.tab),
    Tab("Learning curve", curve.tab),
    Tab("On a server", server_tuning.tab),
)
"""In the order of the work: Examples, Training, Adapters, Learning curve, On a server."""


def page(services: Services) -> None:
    """Draw the tabs, and what the open one holds."""
    st.html(STYLE_SHEET)
    with st.container(key="tuning_page"):
        st.title("Fine-tune", anchor=False)
        st.markdown("Teach the model what you want it to know, and see whether it learnt it.")
        state.settle_tuning_tab([tab.title for tab in TABS])
        places = st.tabs(
            [tab.title for tab in TABS],
            key=state.TUNING_TAB,
            on_change="rerun",
            bind="query-params",
        )
        for tab, place in zip(TABS, places, strict=True):
            if place.open:
                state.remember_tuning_tab(tab.title)
                with place:
                    tab.draw(services)
