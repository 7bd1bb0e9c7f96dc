"""The training tab of the fine-tuning page: from a set of examples to a training under way."""

from __future__ import annotations

import streamlit as st

from bot.services import Services
from bot.ui import state


def tab(services: Services) -> None:
    """Draw the tab."""
    if not state.example_set():
        st.info("Choose a set of examples first.", icon=":material/checklist:")
