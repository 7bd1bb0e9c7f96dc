"""Examples that a model drafts from a document: shown as they come, and approved one by one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing, suppress
from threading import Event, Lock, Thread

import streamlit as st
from sqlalchemy import Engine

from bot.chat.drafts import Pair, Tried, as_messages, draft, spread
from bot.errors import TriptychError
from bot.library.ingest import documents, passages
from bot.library.split import Passage
from bot.messages import Message
from bot.models.catalog import Model
from bot.records.examples import (
    ExampleRow,
    ExampleSet,
    NewRow,
    add_rows,
    approve_rows,
    change_row,
    delete_rows,
    example_rows,
)
from bot.services import Services
from bot.ui import model_menu, state
from bot.ui.library_work import counted
from bot.ui.text import plain

logger = logging.getLogger(__name__)

DOCUMENT = "examples_draft_document"
NUMBER = "examples_draft_number"
MODEL = "examples_draft_model"

MOST_DRAFTS = 50
DRAFTS_A_PAGE = 10
TICK_SECONDS = 1.0

_DEFECT = "Drafting stopped by a defect of Triptych; its log says more."


class Drafting:
    """Drafts on their way into one set. Written by its thread, read by any."""

    def __init__(self, set_id: str, document: str, most: int) -> None:
        self.set_id = set_id
        self.document = document
        self.most = most
        self.active = True
        self._ended = Event()
        self.drafted = 0
        self.done = 0
        self.total = 0
        self.error = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def begin(
        self, engine: Engine, model: Model, found: Sequence[Passage], patience: float
    ) -> None:
        """Draft in a thread of its own."""
        Thread(
            target=self._run,
            args=(engine, model, found, patience),
            name="triptych-drafts",
            daemon=True,
        ).start()

    def cancel(self) -> None:
        """Stop; what was drafted stays."""
        self._cancelled = True
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._task.cancel)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it has ended; False when it has not after the timeout."""
        return self._ended.wait(timeout_seconds)

    def _run(self, engine: Engine, model: Model, found: Sequence[Passage], patience: float) -> None:
        async def work() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if self._cancelled:
                return
            drafts = draft(model, found, most=self.most, timeout_seconds=patience)
            async with aclosing(drafts):
                async for one in drafts:
                    self._take(engine, one)

        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(work())
        except TriptychError as error:
            self.error = str(error)
        except Exception:
            logger.exception("Drafting stopped by a defect")
            self.error = _DEFECT
        finally:
            self.active = False
            self._ended.set()

    def _take(self, engine: Engine, one: Pair | Tried) -> None:
        if isinstance(one, Tried):
            self.done, self.total = one.done, one.total
            return
        new = NewRow(as_messages(one), "draft", "draft", one.document)
        add_rows(engine, self.set_id, [new])
        self.drafted += 1


class Draftings:
    """The last drafting of each set, shared by all visitors of this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_set: dict[str, Drafting] = {}

    def of(self, set_id: str) -> Drafting | None:
        """The last drafting of a set, if there was one."""
        return self._by_set.get(set_id)

    def claim(self, set_id: str, document: str, most: int) -> Drafting | None:
        """A new drafting; nothing while another one of the set is under way."""
        with self._lock:
            last = self._by_set.get(set_id)
            if last is not None and last.active:
                return None
            self._by_set[set_id] = made = Drafting(set_id, document, most)
            return made


@st.cache_resource(show_spinner=False)
def draftings() -> Draftings:
    """The draftings that all visitors of this process share."""
    return Draftings()


def show(services: Services, chosen: ExampleSet) -> None:
    """Draw the form, what is being drafted, and the drafts of a set."""
    _form(services, chosen)
    under_way = draftings().of(chosen.id)
    if under_way is not None and under_way.active:
        st.fragment(_drafts, run_every=TICK_SECONDS)(services, chosen.id, watching=True)
    else:
        _drafts(services, chosen.id, watching=False)


def _form(services: Services, chosen: ExampleSet) -> None:
    ready = [row.name for row in documents(services.library) if row.status == "ready"]
    if not ready:
        st.info("Add documents on the Knowledge page first.", icon=":material/library_books:")
        return
    last = draftings().of(chosen.id)
    busy = last is not None and last.active
    names = services.models.names()
    titles = {name: model_menu.title(services, name) for name in names}
    with st.container(horizontal=True, vertical_alignment="bottom", key="examples_draft_form"):
        document = st.selectbox("Draft from", ready, key=DOCUMENT, disabled=busy)
        most = st.number_input("How many", 1, MOST_DRAFTS, 10, key=NUMBER, width=130, disabled=busy)
        name = st.selectbox(
            "Model",
            names,
            index=names.index(state.models(services.models.main)[0]),
            format_func=titles.__getitem__,
            key=MODEL,
            width=220,
            disabled=busy,
        )
        st.button(
            "Draft",
            key="examples_draft",
            type="primary",
            icon=":material/auto_awesome:",
            disabled=busy,
            on_click=_begin,
            args=(services, chosen.id, document, int(most), name),
        )


def _begin(services: Services, set_id: str, document: str, most: int, name: str) -> None:
    try:
        model = services.models.get(name)
        found = spread(passages(services.library, document))
    except TriptychError as error:
        st.toast(plain(str(error)), icon=":material/error:", duration="long")
        return
    if (work := draftings().claim(set_id, document, most)) is not None:
        work.begin(services.engine, model, found, services.settings.answer_timeout_seconds)


def _drafts(services: Services, set_id: str, *, watching: bool) -> None:
    work = draftings().of(set_id)
    if watching and (work is None or not work.active):
        st.rerun()
    if work is not None:
        _progress(work)
    rows = example_rows(services.engine, set_id, "draft")
    if not rows:
        if work is None or not work.active:
            st.caption("No drafts wait. Nothing is learnt from a draft before you approve it.")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="examples_draft_all"):
        st.markdown(f"**{counted(len(rows), 'draft')}** to approve", width="stretch")
        for label, what, act in (
            ("Approve all", "approve", _approve_all),
            ("Discard all", "discard", _discard_all),
        ):
            st.button(
                label,
                key=f"examples_{what}_all",
                type="tertiary",
                on_click=act,
                args=(services, rows),
            )
    for row in rows[:DRAFTS_A_PAGE]:
        _card(services, row)
    if len(rows) > DRAFTS_A_PAGE:
        st.caption(f"And {len(rows) - DRAFTS_A_PAGE} more, shown when these are done.")


def _progress(work: Drafting) -> None:
    if work.active:
        share = max(work.drafted / work.most, work.done / work.total if work.total else 0.0)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(
                min(share, 1.0),
                text=f"{plain(work.document)}: {counted(work.drafted, 'draft')} so far …",
            )
            st.button("Cancel", key="examples_draft_cancel", on_click=work.cancel)
    elif work.error:
        st.error(plain(work.error), icon=":material/error:")
    elif not work.drafted:
        st.info(
            f"Nothing in {plain(work.document)} gave a usable question.",
            icon=":material/sentiment_neutral:",
        )


def _card(services: Services, row: ExampleRow) -> None:
    question, answer = (one.content for one in row.messages[-2:])
    with st.container(border=True, key=f"examples_card_{row.id}"):
        st.text_input("Question", question, key=_question_key(row))
        st.text_area("Answer", answer, key=_answer_key(row), height="content")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(plain(row.document), width="stretch")
            st.button(
                "Discard",
                key=f"examples_discard_{row.id}",
                type="tertiary",
                icon=":material/close:",
                on_click=_discard_all,
                args=(services, [row]),
            )
            st.button(
                "Approve",
                key=f"examples_approve_{row.id}",
                icon=":material/check:",
                on_click=_approve_all,
                args=(services, [row]),
            )


def _approve_all(services: Services, rows: Sequence[ExampleRow]) -> None:
    """Approve drafts as they stand in their fields; those without a text wait on."""
    try:
        whole = []
        for row in rows:
            question, answer = (one.content for one in row.messages[-2:])
            typed = (
                str(st.session_state.get(_question_key(row), question)).strip(),
                str(st.session_state.get(_answer_key(row), answer)).strip(),
            )
            if not all(typed):
                st.toast("A draft without a question or an answer waits.", icon=":material/info:")
                continue
            if typed != (question, answer):
                messages = (Message("user", typed[0]), Message("assistant", typed[1]))
                change_row(services.engine, row.id, messages, row.document)
            whole.append(row.id)
        approve_rows(services.engine, whole)
    except TriptychError as error:
        st.toast(plain(str(error)), icon=":material/error:", duration="long")


def _discard_all(services: Services, rows: Sequence[ExampleRow]) -> None:
    try:
        delete_rows(services.engine, [row.id for row in rows])
    except TriptychError as error:
        st.toast(plain(str(error)), icon=":material/error:", duration="long")


def _question_key(row: ExampleRow) -> str:
    return f"examples_draft_question_{row.id}"


def _answer_key(row: ExampleRow) -> str:
    return f"examples_draft_answer_{row.id}"
