"""Which turns of a conversation stand on the page, and where.

What a run does not draw anew stays on the page until the run ends, and a run that follows answers
takes long. So a turn keeps its place from run to run; where that cannot be, the place of all turns
changes, and the old one is emptied at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.chat.answers import LiveTurn
from bot.ui import state

_DRAWN = "_drawn_turns"
_SECOND_PLACE = "_second_place"


def hidden(turns: Sequence[LiveTurn]) -> int:
    """How many of a conversation's turns, the oldest, are not shown. As long as an answer is being
    written, none that was shown is hidden."""
    older = max(0, len(turns) - state.shown_turns())
    ids, drawn = _ids(turns), _drawn()
    if _under_way(turns) and drawn and drawn[0] in ids:
        return min(older, ids.index(drawn[0]))
    return older


def place(shown: Sequence[LiveTurn]) -> DeltaGenerator:
    """Draw the container in which the turns stand, each as its own `turn`."""
    ids, drawn = _ids(shown), _drawn()
    moves = ids[: len(drawn)] != drawn
    if moves and (_under_way(shown) or not set(ids) & set(drawn)):
        st.session_state[_SECOND_PLACE] = not st.session_state.get(_SECOND_PLACE, False)
    st.session_state[_DRAWN] = ()
    if st.session_state.get(_SECOND_PLACE, False):
        st.empty()
        return st.container(key="turns")
    turns = st.container(key="turns")
    st.empty()
    return turns


def length() -> int:
    """How many turns stand on the page."""
    return len(_drawn())


@contextmanager
def turn(turn_id: str) -> Iterator[None]:
    """What is drawn here is the next turn; in the container that `place` drew."""
    st.session_state[_DRAWN] = (*_drawn(), turn_id)
    with st.container(key=f"turn-{turn_id}"):
        yield


def _ids(turns: Sequence[LiveTurn]) -> tuple[str, ...]:
    return tuple(one.id for one in turns)


def _drawn() -> tuple[str, ...]:
    drawn: tuple[str, ...] = st.session_state.get(_DRAWN, ())
    return drawn


def _under_way(turns: Sequence[LiveTurn]) -> bool:
    return any(not one.done for one in turns)
