"""The side bar of the chat page: models, strategies, how to answer, conversations, indexing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.chat.strategies import STRATEGIES, Strategy
from bot.errors import TriptychError
from bot.library.names import safe_name
from bot.services import Services
from bot.ui import model_menu, state, text, theme

LOOK_SECONDS = 0.5
_LISTED = 8


def choices(services: Services, switched_off: Callable[[str], None]) -> None:
    """The switches and sliders; they count from the moment they are moved.

    Args:
        switched_off: called with a strategy's name when it was just switched off.
    """
    st.button(
        "New chat",
        key="new-chat",
        icon=":material/add:",
        width="stretch",
        on_click=state.open_conversation,
        args=("",),
    )
    chosen = model_menu.models(services)
    strategies = st.container(key="strategies", gap="xsmall")
    with st.container(key="answers", gap="small"):
        st.markdown("**Next answer**")
        _sliders(services, chosen[0])
        adapters = model_menu.adapters(services, chosen)
    reason = _why_no_adapter(model_menu.title(services, chosen[0]), adapters[chosen[0]])
    with strategies:
        st.markdown("**Strategies**")
        for one in STRATEGIES:
            _switch(one, reason if one.adapted else "", switched_off)
    if None in adapters.values():
        _draw_when_known(services, chosen)


@st.fragment(run_every=LOOK_SECONDS)
def _draw_when_known(services: Services, chosen: tuple[str, ...]) -> None:
    """Draw the page anew as soon as the adapters of slow servers are known."""
    if model_menu.adapters_known(services, chosen):
        st.rerun()


def _switch(one: Strategy, reason: str, switched_off: Callable[[str], None]) -> None:
    """The switch of one strategy; `reason`: why it cannot be used, empty when it can."""
    key = state.strategy_key(one.name)
    look = theme.look(one.name)
    state.suspend_switch(one.name, suspended=bool(reason))
    st.toggle(
        f":{look.colour}[{look.icon}] {one.title}",
        value=True,
        key=key,
        disabled=bool(reason),
        help=f"{one.summary} {reason}".strip(),
        on_change=_toggled,
        args=(one.name, switched_off),
        bind="query-params",
    )


def _why_no_adapter(model: str, adapters: tuple[str, ...] | None) -> str:
    if adapters is None:
        return f"The server of {text.plain(model)} is being asked for its adapters."
    return "" if adapters else f"No adapter is installed for {text.plain(model)}."


def conversations(services: Services, current: str) -> str:
    """The conversations, the newest first, with what can be done to the open one.

    Returns:
        The first one's id; empty when there is none.
    """
    chat = services.chat
    rows = chat.conversations()
    if not rows:
        return ""
    with st.container(key="conversations", gap=None):
        st.markdown("**Conversations**")
        for row in rows[:_LISTED]:
            _conversation(services, row.id, row.title, is_open=row.id == current)
        if len(rows) > _LISTED:
            label = f"{len(rows) - _LISTED} older"
            older = st.expander(label, key="older-conversations", on_change="rerun")
            if older.open:  # closed, hundreds of them would be sent with every question
                with older:
                    for row in rows[_LISTED:]:
                        _conversation(services, row.id, row.title, is_open=row.id == current)
    return rows[0].id


@dataclass(frozen=True, slots=True)
class Reading:
    """What the side bar says of the reading of the knowledge folder: a line, and the share that is
    done while it goes on; nothing when both are empty."""

    line: str = ""
    share: float | None = None


def indexing(services: Services, slot: DeltaGenerator, shown: Reading | None = None) -> Reading:
    """Show what the reading of the knowledge folder is doing, or what went wrong with it.

    Args:
        shown: what the slot shows already; None when that is not known.

    Returns:
        What it shows now.
    """
    reading = _reading(services)
    if reading == shown:
        return reading
    if reading.share is not None:
        slot.progress(reading.share, text=reading.line)
    elif reading.line:
        slot.warning(reading.line, icon=":material/warning:")
    else:
        slot.empty()
    return reading


def _reading(services: Services) -> Reading:
    work = services.indexing
    if work.active:
        done = f"{len(work.results)} read" if work.results else "starting"
        name = f" · {text.plain(work.document)}" if work.document else ""
        share = work.done / work.total if work.total else 0.0
        return Reading(f"Reading the documents ({done}){name}", min(share, 1.0))
    problems = [*services.warm_up_errors.values(), *([work.error] if work.error else [])]
    return Reading("  \n".join(text.plain(one) for one in problems))


def _sliders(services: Services, model: str) -> None:
    settings = services.settings
    st.slider(
        "Answer length",
        min_value=16,
        max_value=max(512, settings.answer_tokens),
        value=settings.answer_tokens,
        step=16,
        format="%d tokens",
        key=state.ANSWER_TOKENS,
        bind="query-params",
    )
    st.slider(
        "Temperature",
        min_value=0.0,
        max_value=2.0,
        value=settings.temperature,
        step=0.05,
        key=state.TEMPERATURE,
        help="0 always takes the likeliest word; higher is more varied.",
        bind="query-params",
    )
    st.slider(
        "Passages",
        min_value=1,
        max_value=8,
        value=services.models.get(model).profile.passages,
        key=state.passages_key(model),
        help="How many passages of your documents RAG and Hybrid read. Each model has its own "
        "number: the small embedded one answers best with one.",
        bind="query-params",
    )


def _conversation(services: Services, row_id: str, title: str, *, is_open: bool) -> None:
    key = f"conversation-{row_id}"
    with st.container(key=f"row-{row_id}", horizontal=True, gap=None, wrap=False):
        st.button(
            text.plain(title) or "Untitled",
            key=key,
            type="secondary" if is_open else "tertiary",
            width="stretch",
            wrap=False,
            on_click=state.open_conversation,
            args=(row_id,),
        )
        if is_open:
            with st.popover(
                "Conversation menu", key=f"menu-{row_id}", icon=":material/more_horiz:"
            ):
                _menu(services, row_id, title)


def _menu(services: Services, row_id: str, title: str) -> None:
    chat = services.chat
    name_key = f"name-{row_id}"
    with st.form(f"rename-{row_id}", border=False):
        st.text_input("Name", value=title, key=name_key, max_chars=120)
        st.form_submit_button(
            "Rename",
            key=f"save-{row_id}",
            icon=":material/edit:",
            on_click=_rename,
            args=(services, row_id, name_key),
        )
    with st.container(horizontal=True, gap="xsmall"):
        for label, suffix, mime, written in (
            ("Markdown", "md", "text/markdown", chat.export_markdown),
            ("JSON", "json", "application/json", chat.export_json),
            ("CSV", "csv", "text/csv", chat.export_csv),
        ):
            st.download_button(
                label,
                data=partial(written, row_id),
                file_name=_file_name(title, suffix),
                mime=mime,
                key=f"{suffix}-{row_id}",
                icon=":material/download:",
                on_click="ignore",
            )
    if not state.delete_to_confirm():
        st.button(
            "Delete",
            key=f"delete-{row_id}",
            icon=":material/delete:",
            on_click=state.confirm_delete,
            args=(True,),
        )
        return
    st.markdown("Delete this conversation for good?")
    with st.container(horizontal=True, gap="xsmall"):
        st.button(
            "Delete it",
            key=f"really-delete-{row_id}",
            type="primary",
            on_click=_delete,
            args=(services, row_id),
        )
        st.button("Keep it", key=f"keep-{row_id}", on_click=state.confirm_delete, args=(False,))


def _toggled(name: str, switched_off: Callable[[str], None]) -> None:
    if not state.switched_on(name):
        switched_off(name)


def _rename(services: Services, row_id: str, name_key: str) -> None:
    title = str(st.session_state[name_key]).strip()
    if not title:
        state.notify("A conversation needs a name.", failed=True)
        return
    try:
        services.chat.rename(row_id, title)
    except TriptychError as error:
        state.notify(str(error), failed=True)


def _delete(services: Services, row_id: str) -> None:
    try:
        services.chat.delete(row_id)
    except TriptychError as error:
        state.notify(str(error), failed=True)
        return
    state.open_conversation("")
    state.notify("The conversation is deleted.")


def _file_name(title: str, suffix: str) -> str:
    """A name for a download that every file system takes, whatever the conversation is called."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    stem = "-".join(part for part in kept.split("-") if part)[:60] or "conversation"
    return safe_name(f"{stem}.{suffix}")
