"""What was damaged and set aside, told on the page until it is dismissed."""

from __future__ import annotations

import streamlit as st

from bot.damage import dismiss
from bot.services import Services
from bot.ui.text import plain, widget_key


def show(services: Services) -> None:
    """One box for each thing that was set aside, with a button that puts the box away."""
    for note in services.notes():
        key = widget_key(note.path.name)
        with st.container(border=True, key=f"note-{key}"):
            st.markdown(f":material/healing: {plain(note.text)}")
            st.button(
                "Dismiss",
                key=f"dismiss-{key}",
                type="tertiary",
                icon=":material/close:",
                on_click=dismiss,
                args=(note,),
            )
