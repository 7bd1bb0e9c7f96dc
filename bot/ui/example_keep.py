"""An answer of the chat kept as a training example: corrected in a dialog, put into a set."""

from __future__ import annotations

import streamlit as st

from bot.errors import TriptychError
from bot.messages import Message
from bot.records.examples import LONGEST_NAME, NewRow, add_rows, create_set, example_sets
from bot.services import Services
from bot.ui import state
from bot.ui.text import plain

SET = "keep_set"
NAME = "keep_name"
QUESTION = "keep_question"
ANSWER = "keep_answer"
DONE = "keep_done"

FIRST_NAME = "From the chat"

_KEEPING = "_keeping"
_NEW = ""


def ask(question: str, answer: str) -> None:
    """Let the next drawing of the page ask how this answer shall be kept."""
    st.session_state[_KEEPING] = (question, answer)
    for key in (SET, NAME, QUESTION, ANSWER):
        st.session_state.pop(key, None)


def show(services: Services) -> None:
    """Draw the dialog, if it was asked for."""
    if (kept := st.session_state.get(_KEEPING)) is not None:
        _dialog(services, *kept)


def _close() -> None:
    st.session_state.pop(_KEEPING, None)


@st.dialog("Use as an example", icon=":material/school:", width="medium", on_dismiss=_close)
def _dialog(services: Services, question: str, answer: str) -> None:
    try:
        names = {one.id: one.name for one in example_sets(services.engine)}
    except TriptychError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    st.caption("Correct what the model shall learn to say. It is trained on the Fine-tune page.")
    options = [*names, _NEW]
    chosen = state.example_set()
    with st.form("keep_form", border=False):
        st.text_area("Question", question, key=QUESTION, height="content")
        st.text_area("Answer", answer, key=ANSWER, height="content")
        st.selectbox(
            "Set of examples",
            options,
            index=options.index(chosen) if chosen in names else 0,
            format_func=lambda set_id: names.get(set_id, "A new set …"),
            key=SET,
        )
        st.text_input(
            "Name, if it is a new set",
            FIRST_NAME if not names else "",
            key=NAME,
            max_chars=LONGEST_NAME,
        )
        if st.form_submit_button("Keep it", key=DONE, type="primary", icon=":material/school:"):
            _keep(services)


def _keep(services: Services) -> None:
    typed = [str(st.session_state[key]).strip() for key in (QUESTION, ANSWER)]
    if not all(typed):
        st.error("A question and an answer are needed.", icon=":material/error:")
        return
    messages = (Message("user", typed[0]), Message("assistant", typed[1]))
    try:
        set_id = st.session_state[SET] or create_set(services.engine, st.session_state[NAME])
        add_rows(services.engine, set_id, [NewRow(messages, "chat")])
    except TriptychError as error:
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        return
    state.choose_example_set(set_id)
    state.notify("Kept as an example.")
    _close()
    st.rerun()
