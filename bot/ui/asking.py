"""From what a visitor sends to a turn under way: documents are read first, then it is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import streamlit as st
from streamlit.delta_generator_singletons import get_dg_singleton_instance
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from bot.chat.answers import LiveTurn
from bot.errors import TriptychError
from bot.library.ingest import Ingested, add_uploads
from bot.library.load import SUFFIXES
from bot.services import Indexing, Services
from bot.ui import state, text

FRAGMENT = "asked"
"""Key of the fragment that has the input: a question runs it, and not the whole page."""

LONGEST_QUESTION = 8000
TICK_SECONDS = 0.1


def draw_input(upload_megabytes: int, submitted: Callable[[], None]) -> None:
    """The one input of the page: a question, documents, or both.

    Args:
        submitted: called when something was sent; it begins with `take`.
    """
    with get_dg_singleton_instance().main_dg:  # in a container it would not stay at the bottom
        st.chat_input(
            "Ask all strategies…",
            key=state.QUESTION,
            accept_file="multiple",
            file_type=sorted(SUFFIXES),
            max_upload_size=upload_megabytes,
            max_chars=LONGEST_QUESTION,
            on_submit=submitted,
        )


def take() -> None:
    """Put what was sent on its way."""
    sent = st.session_state[state.QUESTION]
    files = tuple((file.name, file.getvalue()) for file in sent.files)
    state.submit(sent.text.strip(), files)


def let_streamlit_interrupt() -> None:
    """A cheap point at which this run can end in favour of a click or of the next question.

    A click runs the whole page and ends what is running by itself. A question runs a fragment,
    for which Streamlit waits until this run has ended; so the whole page is run for it.
    """
    st.session_state.get(state.QUESTION)
    context = get_script_run_ctx()
    if context is None or context.script_requests is None:
        return
    requests = context.script_requests
    ours = context.fragment_storage.resolve_target(FRAGMENT)
    if requests._state is ScriptRequestType.RERUN and any(
        one in requests._rerun_data.fragment_id_queue for one in ours
    ):
        st.rerun()


def settle() -> None:
    """Finish what a run that was cut short had begun: its question is asked already."""
    waiting = state.submission()
    if waiting is not None and waiting.turn is not None:
        state.open_conversation(waiting.turn.conversation_id)
        state.submission_done()


def ask_at_once(services: Services, conversation_id: str) -> LiveTurn | None:
    """Ask the next question before anything is drawn, when nothing has to be read for it first:
    the models begin while the page is still being drawn. What cannot be asked is left to `ask`.
    The page must have been drawn with what is chosen now: the side bar answers a choice with
    others, such as the adapters that fit a model.

    Args:
        conversation_id: the open conversation; empty to begin one.
    """
    waiting = state.submission()
    if waiting is None or waiting.files or not waiting.question:
        return None
    if conversation_id and services.chat.under_way(conversation_id) is not None:
        return None
    with suppress(TriptychError):
        _put(services, waiting, conversation_id)
        settle()
    return waiting.turn


def ask(services: Services, conversation_id: str) -> LiveTurn | None:
    """Read the documents of the next question, then ask it; nothing when none can be asked.

    Args:
        conversation_id: the open conversation; empty to begin one.
    """
    waiting = state.submission()
    if waiting is None:
        draw_outcome(conversation_id)
        return None
    if conversation_id and services.chat.under_way(conversation_id) is not None:
        st.caption(":material/schedule: The next question waits until this one is answered.")
        return None
    if waiting.files:
        _read_documents(services, waiting)
    if not waiting.question:
        state.remember_reading(conversation_id, waiting.reading)
        state.submission_done()
        draw_outcome(conversation_id)
        return None
    try:
        _put(services, waiting, conversation_id)
    except TriptychError as error:
        st.error(text.plain(str(error)), icon=":material/error:")
        state.submission_done()
        return None
    settle()
    return waiting.turn


def draw_outcome(place: str) -> None:
    """What came of the documents read for a turn, or in a conversation without a question."""
    work = state.reading(place)
    if work is not None:
        lines = [_line(result) for result in work.results]
        if work.error:
            lines.append(f":red[:material/error: {text.plain(work.error)}]")
        with st.container(key=f"read-{place}"):
            st.markdown("  \n".join(lines))


def _put(services: Services, waiting: state.Submission, conversation_id: str) -> None:
    """Ask, and note at once that it was asked: from here on a cut-short run loses nothing."""
    options = state.options(services.settings.seed, services.models.main)
    conversation = conversation_id or services.chat.create()
    waiting.turn = services.chat.ask(conversation, waiting.question, state.strategies(), options)
    state.remember_reading(waiting.turn.id, waiting.reading)
    state.remember_reading(conversation_id, None)


def _read_documents(services: Services, waiting: state.Submission) -> None:
    """Show the documents being read, in a thread that a click does not interrupt."""
    if waiting.reading is None:
        waiting.reading = _reading(services, waiting)
    work = waiting.reading
    slot = st.empty()
    with slot.container():
        if waiting.question:
            with st.container(
                key=f"asked-{waiting.id}", horizontal=True, horizontal_alignment="right"
            ):
                st.markdown(text.plain_lines(waiting.question), width="content", anchors=False)
        progress = st.empty()
        while work.active:
            share = work.done / work.total if work.total else 0.0
            name = text.plain(work.document) or "the documents"
            progress.progress(min(share, 1.0), text=f"{name}: {work.stage or 'waiting'}…")
            work.wait(TICK_SECONDS)
            let_streamlit_interrupt()
    slot.empty()


def _reading(services: Services, waiting: state.Submission) -> Indexing:
    work = Indexing()
    work.begin()
    events = add_uploads(services.library, waiting.files)
    Thread(target=work.follow, args=(events,), name="triptych-reading", daemon=True).start()
    return work


def _line(result: Ingested) -> str:
    name = text.plain(result.name)
    match result.status:
        case "ready":
            count = f"{result.passages} passage{'' if result.passages == 1 else 's'}"
            return f":green[:material/check_circle:] **{name}** is in the library: {count}."
        case "failed":
            why = text.plain(result.error or f"{result.name} could not be read.")
            return f":red[:material/error: {why}]"
        case _:
            return f":gray[:material/check_circle:] **{name}** was in the library already."
