"""The services that all visitors of this process share: opened once, closed at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

import streamlit as st

from bot.errors import TriptychError

if TYPE_CHECKING:
    from bot.services import Services

logger = logging.getLogger(__name__)

_build: Callable[[], Services] | None = None
_opened: Services | None = None


def build_with(build: Callable[[], Services]) -> None:
    """Say how the services are opened; the composition root does this before the first visit."""
    global _build
    _build = build


@st.cache_resource(show_spinner=False)
def services() -> Services:
    """The open services; their heavy parts warm up in the background.

    Raises:
        TriptychError: a setting is wrong, or a part cannot be opened; asked again at next call.
    """
    global _opened
    if _build is None:
        raise RuntimeError("Nobody said how the services are opened; start with app.py.")
    _opened = _build()
    _opened.warm_up()
    return _opened


def secrets() -> dict[str, str]:
    """The plain values among Streamlit's secrets, where keys of model servers may stand."""
    if not st.secrets.load_if_toml_exists():
        return {}
    return {name: value for name, value in st.secrets.items() if isinstance(value, str)}


def open_early() -> None:
    """Begin opening in the background, so that the first visitor waits less."""
    Thread(target=_open_quietly, name="triptych-open", daemon=True).start()


def close() -> None:
    """Close the services if they were opened."""
    if _opened is not None:
        _opened.close()


def _open_quietly() -> None:
    from bot.services import missing_parts  # takes a while to import: not before the server is up

    try:
        if not missing_parts():
            services()
    except TriptychError as error:
        logger.warning("%s", error)  # the page says it to the visitor, too
