"""The pages by their addresses, so that one page can lead to another."""

from __future__ import annotations

from typing import NoReturn

import streamlit as st
from streamlit.navigation.page import Page

FINE_TUNE = "fine-tune"


def chat() -> Page:
    """The chat page, to be switched or linked to."""
    return st.Page(_elsewhere, title="Chat", default=True)


def open_chat() -> NoReturn:
    """Go to the chat page at once, without what the address says of the page that is left.

    Streamlit refuses to drop what a widget keeps in the address unless it is told what to keep.
    """
    st.switch_page(chat(), query_params={})


def fine_tune() -> Page:
    """The fine-tuning page, to be switched or linked to."""
    return st.Page(_elsewhere, title="Fine-tune", url_path=FINE_TUNE)


def _elsewhere() -> None:
    """A page is told by its address alone; what it draws is said in `main`."""
