"""The examples tab of the fine-tuning page: sets of examples made, filled, mended and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from bot.errors import TriptychError
from bot.records.examples import (
    LONGEST_NAME,
    ExampleSet,
    create_set,
    delete_set,
    example_sets,
    rename_set,
)
from bot.services import Services
from bot.tuning.examples import Example, as_csv, as_json_lines, read_examples
from bot.tuning.sets import add_examples, approved_examples
from bot.ui import (
    example_check,
    example_drafts,
    example_menu,
    example_table,
    example_upload,
    state,
)
from bot.ui.library_work import counted
from bot.ui.text import plain

CHOSEN = "examples_set"
VIEW = "examples_view"
NAME = "examples_name"
SAMPLE_NAME = "Pellworth sample"

STYLE_SHEET = Path(__file__).with_name("examples.css")

_DIALOG = "_examples_dialog"
_ROWS, _DRAFTS, _CHECK = "Rows", "Drafts", "Check"


def tab(services: Services) -> None:
    """Draw the tab."""
    try:
        _tab(services)
    except TriptychError as error:
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        st.button("Try again", key="examples_again", icon=":material/refresh:")


def _tab(services: Services) -> None:
    example_table.store(services.engine)
    sets = example_sets(services.engine)
    st.html(STYLE_SHEET)
    with st.container(key="examples"):
        if not sets:
            _no_sets(services)
        else:
            chosen = _choice(services, sets)
            _set(services, chosen)
    _dialogs(services, sets)


def _no_sets(services: Services) -> None:
    state.choose_example_set("")
    with st.container(border=True, key="examples_none", horizontal_alignment="center"):
        st.markdown("### :material/school: No examples yet", text_alignment="center")
        st.markdown(
            "A model learns from questions with the answers that you want. A few dozen are a "
            "start, several phrasings of each question are better.",
            text_alignment="center",
        )
        with st.container(horizontal=True, horizontal_alignment="center"):
            _new_button(primary=True)
            _sample_button(services)


def _choice(services: Services, sets: Sequence[ExampleSet]) -> ExampleSet:
    """The menu of sets, and what can be done with the chosen one."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="examples_bar"):
        chosen = example_menu.choose(sets, CHOSEN, label="Set of examples", title=_title)
        _new_button()
        for label, icon, what in (
            ("Rename", ":material/edit:", "rename"),
            ("Delete", ":material/delete:", "delete"),
        ):
            st.button(
                label,
                key=f"examples_{what}",
                icon=icon,
                on_click=_open,
                args=(what,),
            )
        if SAMPLE_NAME not in {one.name for one in sets}:
            _sample_button(services)
    return chosen


def _title(one: ExampleSet) -> str:
    drafts = f", {counted(one.drafts, 'draft')}" if one.drafts else ""
    return f"{one.name} ({counted(one.approved, 'example')}{drafts})"


def _new_button(*, primary: bool = False) -> None:
    st.button(
        "New set",
        key="examples_new",
        icon=":material/add:",
        type="primary" if primary else "secondary",
        on_click=_open,
        args=("new",),
    )


def _sample_button(services: Services) -> None:
    if services.sample_examples.exists():
        st.button(
            "Load the sample",
            key="examples_sample",
            icon=":material/science:",
            on_click=_load_sample,
            args=(services,),
            help="The examples that the shipped adapter was made from",
        )


def _load_sample(services: Services) -> None:
    def load() -> None:
        examples = read_examples(services.sample_examples)
        set_id = create_set(services.engine, SAMPLE_NAME)
        add_examples(services.engine, set_id, examples, "sample")
        state.choose_example_set(set_id)

    _carefully(load)


def _set(services: Services, chosen: ExampleSet) -> None:
    view = st.segmented_control(
        "View",
        [_ROWS, _DRAFTS, _CHECK],
        key=VIEW,
        default=_ROWS,
        required=True,
        label_visibility="collapsed",
        persist_state="session",
    )
    if view == _CHECK:
        example_check.show(services, chosen)
        return
    if view == _DRAFTS:
        example_drafts.show(services, chosen)
        return
    if not chosen.approved:
        st.caption("Type examples into the table, add some from a file, or let a model draft some.")
    example_table.show(services, chosen)
    example_upload.show(services, chosen)
    if chosen.approved:
        _downloads(services, chosen)


def _downloads(services: Services, chosen: ExampleSet) -> None:
    def made(form: Callable[[Sequence[Example]], str]) -> Callable[[], str]:
        return lambda: form(approved_examples(services.engine, chosen.id))

    longer = sum(len(one.messages) > 2 for one in approved_examples(services.engine, chosen.id))
    without = f"Without {counted(longer, 'chat')} of several turns: a row has no place for them."
    with st.container(horizontal=True, key="examples_downloads"):
        for label, ending, mime, form, note in (
            ("JSON Lines", "jsonl", "application/jsonl", as_json_lines, None),
            ("CSV", "csv", "text/csv", as_csv, without if longer else None),
        ):
            st.download_button(
                label,
                made(form),
                file_name=f"{_file_name(chosen.name)}.{ending}",
                mime=mime,
                key=f"examples_download_{ending}",
                icon=":material/download:",
                type="tertiary",
                on_click="ignore",
                help=note,
            )


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    return kept or "examples"


# --- dialogs -----------------------------------------------------------------------------------


def _open(what: str) -> None:
    st.session_state[_DIALOG] = what
    st.session_state.pop(NAME, None)


def _close() -> None:
    st.session_state.pop(_DIALOG, None)


def _dialogs(services: Services, sets: Sequence[ExampleSet]) -> None:
    what = st.session_state.get(_DIALOG)
    chosen = next((one for one in sets if one.id == state.example_set()), None)
    if what == "new":
        _new(services)
    elif what == "rename" and chosen is not None:
        _rename(services, chosen)
    elif what == "delete" and chosen is not None:
        _confirm_deletion(services, chosen)


@st.dialog("New set of examples", icon=":material/add:", on_dismiss=_close)
def _new(services: Services) -> None:
    def create(name: str) -> None:
        state.choose_example_set(create_set(services.engine, name))

    _name_form("Make it", create)


@st.dialog("Rename this set", icon=":material/edit:", on_dismiss=_close)
def _rename(services: Services, chosen: ExampleSet) -> None:
    _name_form(
        "Rename", lambda name: rename_set(services.engine, chosen.id, name), value=chosen.name
    )


def _name_form(label: str, act: Callable[[str], object], value: str = "") -> None:
    with st.form("examples_name_form", border=False):
        name = st.text_input("Name", value, key=NAME, max_chars=LONGEST_NAME)
        if st.form_submit_button(label, key="examples_name_done", type="primary"):
            try:
                act(name)
            except TriptychError as error:
                st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
                return
            _close()
            st.rerun()


@st.dialog("Delete this set?", icon=":material/delete:", on_dismiss=_close)
def _confirm_deletion(services: Services, chosen: ExampleSet) -> None:
    rows = counted(chosen.approved + chosen.drafts, "row")
    st.markdown(
        f"**{plain(chosen.name)}** goes for good, with its {rows}. Adapters that were made from "
        "it stay."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        kept = st.button("Keep it", key="examples_delete_no")
        deleted = st.button(
            "Delete", key="examples_delete_yes", type="primary", icon=":material/delete:"
        )
    if deleted:
        _carefully(lambda: delete_set(services.engine, chosen.id))
    if kept or deleted:
        _close()
        st.rerun()


def _carefully(act: Callable[[], object]) -> None:
    try:
        act()
    except TriptychError as error:
        st.toast(plain(f"{error.message} {error.cure}"), icon=":material/error:", duration="long")
