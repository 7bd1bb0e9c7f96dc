"""How Triptych looks: a colour and an icon per strategy, and the page's style sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

Colour = Literal["red", "orange", "yellow", "blue", "green", "violet", "gray", "primary"]

STATIC = Path(__file__).resolve().parents[2] / "static"
_STYLE_SHEET = Path(__file__).with_name("theme.css")


@dataclass(frozen=True, slots=True)
class Look:
    """What makes a strategy recognisable at a glance.

    Args:
        icon: a Material symbol, as Streamlit writes it.
        colour: a colour of Streamlit's palette; the style sheet has the same one by name.
    """

    icon: str
    colour: Colour


_LOOKS = {
    "prompt": Look(":material/chat_bubble:", "gray"),
    "few-shot": Look(":material/format_list_bulleted:", "orange"),
    "rag": Look(":material/menu_book:", "green"),
    "adapter": Look(":material/tune:", "blue"),
    "hybrid": Look(":material/hub:", "violet"),
}
_UNKNOWN = Look(":material/help:", "gray")


def look(strategy: str) -> Look:
    """The look of a strategy; a neutral one for a name that is no longer known."""
    return _LOOKS.get(strategy, _UNKNOWN)


def dress_page() -> None:
    """Title, icons and style sheet; called once at the start of every run."""
    st.set_page_config(
        page_title="Triptych",
        page_icon=STATIC / "favicon.svg",
        layout="wide",
        initial_sidebar_state="auto",
    )
    st.logo(STATIC / "logo.svg", size="large", icon_image=STATIC / "favicon.svg")
    st.html(_STYLE_SHEET)
