"""The adapters tab of the fine-tuning page: what there is, two compared, one from elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from bot.errors import AdapterError, TriptychError
from bot.evidence.offers import Offer
from bot.services import Services
from bot.tuning.export import CONFIG_NAME, WEIGHTS_NAME
from bot.tuning.imports import MOST_WEIGHT_BYTES
from bot.tuning.parcel import Kind, file_name
from bot.ui import places, state
from bot.ui.adapter_card import Actions, card, differences, numbers
from bot.ui.text import plain

TICK_SECONDS = 1.0

_ASKED = "_adapter_asked"
_FILES = "adapter_files"
_NAME = "adapter_import_name"
_COMPARED = "adapters_compared"


def tab(services: Services) -> None:
    """Draw the tab."""
    if asked := st.session_state.pop(_ASKED, ()):
        state.choose_adapters(*asked)
        places.open_chat()
    try:
        known = services.gate.offers()
        if not known:
            st.info("There is no adapter yet: train one, or import it.", icon=":material/tune:")
        _listed(services, known)
        _compare([one for one in known if one.adapter])
        _import(services)
    except TriptychError as error:
        st.error(plain(str(error)), icon=":material/error:")


# --- the list ----------------------------------------------------------------------------------


def _listed(services: Services, known: Sequence[Offer]) -> None:
    """A card each; looked at again every second while one is being checked."""
    checking = any(one.state == "checking" for one in known)
    drawn = [(one.name, one.state) for one in known]

    def draw() -> None:
        now = services.gate.offers()
        if _ASKED in st.session_state or [(one.name, one.state) for one in now] != drawn:
            st.rerun()
        _show_notice()
        for one in now:
            card(one, _actions(services))

    if checking:
        st.fragment(draw, run_every=TICK_SECONDS)()
    else:
        draw()


def _show_notice() -> None:
    """What came of the last click."""
    if left := state.notice():
        message, failed = left
        if failed:
            st.error(plain(message), icon=":material/error:")
        else:
            st.toast(plain(message))


def _actions(services: Services) -> Actions:
    return Actions(
        ask=_ask,
        check=_tried(services.begin_check),
        delete=_tried(services.delete_adapter, said="The adapter is deleted."),
        download=lambda name, kind: _download(services, name, kind),
    )


def _ask(*names: str) -> None:
    """Open the chat with these adapters chosen; a callback cannot leave the page itself."""
    st.session_state[_ASKED] = names


def _tried(does: Callable[[str], object], said: str = "") -> Callable[[str], None]:
    def act(name: str) -> None:
        try:
            does(name)
        except TriptychError as error:
            state.notify(str(error), failed=True)
        else:
            if said:
                state.notify(said)

    return act


def _download(services: Services, name: str, kind: Kind) -> Callable[[], bytes]:
    """Makes the file when somebody clicks, not before."""

    def make() -> bytes:
        services.settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=services.settings.data_dir) as folder:
            path = services.export_adapter(name, kind, Path(folder) / file_name(name, kind))
            return path.read_bytes()

    return make


# --- two beside each other ---------------------------------------------------------------------


def _compare(known: Sequence[Offer]) -> None:
    """Recipes and numbers side by side, and both asked at once."""
    if len(known) < 2:
        return
    by_name = {one.name: one for one in known}
    with st.container(key="adapters_compare"):
        st.subheader("Compare", anchor=False)
        kept = [name for name in st.session_state.get(_COMPARED, ()) if name in by_name]
        if kept != st.session_state.get(_COMPARED, kept):
            st.session_state[_COMPARED] = kept
        chosen = st.multiselect(
            "Adapters to compare",
            list(by_name),
            key=_COMPARED,
            max_selections=4,
            placeholder="Choose two or more",
            label_visibility="collapsed",
            persist_state="session",
        )
        if len(chosen) < 2:
            return
        found = [one.adapter for one in (by_name[name] for name in chosen) if one.adapter]
        measured = {one.name: numbers(one) for one in found}
        rows = [
            {"": label, **{name: shown[label] for name, shown in measured.items()}}
            for label in next(iter(measured.values()))
        ]
        st.dataframe([*rows, *differences(found)], hide_index=True, key="adapters_differences")
        offered = [name for name in chosen if by_name[name].state == "offered"]
        st.button(
            "Ask both" if len(chosen) == 2 else "Ask them all",
            key="adapters_ask",
            icon=":material/forum:",
            type="primary",
            disabled=offered != chosen,
            help="Opens the chat with a column for each of them."
            if offered == chosen
            else "One of them does not answer.",
            on_click=_ask,
            args=tuple(chosen),
        )


# --- one from elsewhere ------------------------------------------------------------------------


def _import(services: Services) -> None:
    with st.container(key="adapter_import"):
        st.subheader("Import", anchor=False)
        st.markdown(
            ":small[:gray[A LoRA of PEFT that was made for this model: its folder in a zip, or "
            f"{WEIGHTS_NAME} with {CONFIG_NAME}. It is checked before it answers.]]"
        )
        with st.form("adapter_import_form", border=False, clear_on_submit=False):
            st.file_uploader(
                "Files",
                type=["zip", "safetensors", "json"],
                accept_multiple_files=True,
                max_upload_size=min(200, MOST_WEIGHT_BYTES // 1_000_000),
                key=_FILES,
                label_visibility="collapsed",
            )
            st.text_input(
                "Name", key=_NAME, max_chars=48, placeholder="small letters, digits, - and _"
            )
            st.form_submit_button(
                "Import",
                key="adapter_import_go",
                icon=":material/upload:",
                on_click=_take_in,
                args=(services,),
            )


def _take_in(services: Services) -> None:
    """Bring the uploaded files under names of ours into a folder, and from there to the shelf."""
    uploads: list[Any] = list(st.session_state.get(_FILES) or ())
    name = str(st.session_state.get(_NAME, "")).strip()
    if not uploads:
        state.notify("Choose the files of the adapter first.", failed=True)
        return
    try:
        with tempfile.TemporaryDirectory(dir=services.settings.data_dir) as folder:
            paths = [_kept(upload, Path(folder), number) for number, upload in enumerate(uploads)]
            services.import_adapter(paths, name)
        services.begin_check(name)
    except TriptychError as error:
        state.notify(str(error), failed=True)
    except OSError as error:
        state.notify(
            f"The upload cannot be kept: {error.strerror or 'the disk failed'}.", failed=True
        )
    else:
        state.notify(f"{name} is here, and is being checked.")


def _kept(upload: Any, folder: Path, number: int) -> Path:
    """An upload as a file of ours: only the end of its name says what it is."""
    told = str(upload.name).replace("\\", "/").rpartition("/")[2]
    ours = {WEIGHTS_NAME, CONFIG_NAME, "recipe.json"}
    suffix = Path(told).suffix.lower()
    if told not in ours and suffix not in (".zip", ".safetensors", ".json"):
        raise AdapterError("This file is none of an adapter.", cure="Bring a zip of PEFT's folder.")
    path = folder / (told if told in ours else f"upload-{number}{suffix}")
    path.write_bytes(upload.getbuffer())
    return path
