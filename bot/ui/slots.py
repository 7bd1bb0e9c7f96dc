"""Where a new question is drawn, so that the page around it is not drawn and sent again.

A run of Streamlit's script sends the whole page, which takes a browser hundreds of milliseconds.
So a run that drew everything leaves its slots behind, and the next question is drawn into them
by a fragment. A fragment's own buttons would wait until it ends; it writes answers for long, so
it draws `as_whole_page`: a click on what it drew runs the whole script, and at once.

Slots lie ready only while the page stands whole. Whoever draws takes them up first: a run that
the next click cut short leaves none behind, and the whole page is drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

from bot.chat.answers import LiveTurn
from bot.ui.state import Choices

_LAID = "slots"


@dataclass
class Slots:
    """What a run of the whole script left on the page.

    Args:
        hero: what an empty conversation shows.
        turns: the container of the turns.
        conversations: the list of them.
        indexing: what the reading of the knowledge folder does.
        stop_all: the button that stops every answer.
        newest: the conversation that the list shows first.
        choices: those that the page was drawn with; None until it is.
        asked: the turn that is to be drawn next.
    """

    hero: DeltaGenerator
    turns: DeltaGenerator
    conversations: DeltaGenerator
    indexing: DeltaGenerator
    stop_all: DeltaGenerator
    newest: str = ""
    choices: Choices | None = None
    asked: LiveTurn | None = None


def lay(slots: Slots, choices: Choices | None) -> None:
    """Leave slots for the next question: everything is drawn, and only turns stand in the
    thread."""
    slots.choices = choices
    st.session_state[_LAID] = slots


def laid() -> Slots | None:
    """The slots that lie ready; None while the page is being drawn, or when that was cut short."""
    slots: Slots | None = st.session_state.get(_LAID)
    return slots


def take_up() -> Slots | None:
    """The slots that lay ready, which do so no longer."""
    slots: Slots | None = st.session_state.pop(_LAID, None)
    return slots


@contextmanager
def as_whole_page() -> Iterator[None]:
    """What is drawn here belongs to the whole page, though a fragment draws it."""
    with ThreadState.scoped(fragment_id=None):
        yield
