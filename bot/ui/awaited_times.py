"""Draws the page anew as soon as it is known how long a training takes."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from bot.services import Services
from bot.tuning.estimates import Estimate
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe

MEASURING_SECONDS = 2.0


def watch(
    services: Services, examples: Sequence[Example], recipes: Sequence[TrainingRecipe]
) -> None:
    """Look every two seconds whether one of these times became known; nothing when all are.

    In a fragment of its own, and not by an `st.rerun` at once to begin to look: that tells the
    browser once more what fields were set to, perhaps after somebody has turned one.
    """

    def known() -> list[Estimate]:
        return [services.trainings.estimate(examples, one) for one in recipes]

    def look() -> None:
        if known() != drawn:
            st.rerun()

    drawn = known()
    if Estimate() in drawn:
        st.fragment(look, run_every=MEASURING_SECONDS)()
