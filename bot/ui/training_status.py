"""The line on every page that tells of a training under way, and leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from bot.errors import TriptychError
from bot.ui import places
from bot.ui.text import plain

if TYPE_CHECKING:
    from bot.services import Services
    from bot.tuning.trainings import Training

TICK_SECONDS, IDLE_TICK_SECONDS = 2.0, 5.0
"""How often it is looked for a training: while there is one, and otherwise."""

TAB = "Training"


def line(services: Services) -> None:
    """Draw the line; it appears, goes on and disappears by itself."""
    run_every = IDLE_TICK_SECONDS if _current(services) is None else TICK_SECONDS
    st.fragment(_line, run_every=run_every)(services)


def _line(services: Services) -> None:
    training = _current(services)
    if training is None:
        return  # an empty fragment is nothing on the page
    from bot.ui.training_words import in_short

    with st.container(key="training_status"):
        st.page_link(
            places.fine_tune(),
            label=plain(in_short(training)),
            icon=":material/model_training:",
            query_params={"tab": TAB},
        )


def _current(services: Services) -> Training | None:
    try:
        return services.trainings.current()
    except TriptychError:
        return None
