"""The knowledge page: what is in the library, what each document holds, and how it is searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import streamlit as st

from bot.errors import TriptychError
from bot.library.ingest import add_uploads, documents, passages, rebuild
from bot.library.load import SUFFIXES
from bot.library.split import Passage
from bot.records.documents import DocumentRow
from bot.services import Services
from bot.ui import library_work, notes, try_search
from bot.ui.library_work import counted
from bot.ui.text import plain, plain_lines, widget_key

T = TypeVar("T")

DOCUMENTS_A_PAGE = 25
PASSAGES_A_PAGE = 10

STYLE_SHEET = Path(__file__).with_name("knowledge.css")

_OPENED = "knowledge_opened"
_DELETING = "knowledge_deleting"
_ADDED = "knowledge_added"
_ROUND = "knowledge_upload_round"

_ORDERS: dict[str, tuple[Callable[[DocumentRow], str | int], bool]] = {
    "Name": (lambda row: row.name.lower(), False),
    "Newest first": (lambda row: row.updated_at, True),
    "Largest first": (lambda row: row.size_bytes, True),
    "Problems first": (lambda row: row.status == "ready", False),
}
_KINDS = {
    "txt": ("Text", ":material/notes:"),
    "md": ("Markdown", ":material/article:"),
    "pdf": ("PDF", ":material/picture_as_pdf:"),
    "docx": ("Word", ":material/description:"),
    "html": ("HTML", ":material/language:"),
    "csv": ("CSV", ":material/table:"),
    "json": ("JSON", ":material/data_object:"),
}
_UNKNOWN_KIND = ("File", ":material/draft:")


def page(services: Services) -> None:
    """Draw the page: one opened document, or the whole library."""
    try:
        rows = documents(services.library)
    except TriptychError as error:
        _show_error(error)
        st.button("Try again", key="knowledge_again", icon=":material/refresh:")
        return
    st.html(STYLE_SHEET)
    with st.container(key="knowledge"):
        _library_page(services, rows)


def _library_page(services: Services, rows: Sequence[DocumentRow]) -> None:
    busy = library_work.under_way(services) is not None
    st.title("Knowledge", anchor=False)
    st.markdown(_introduction(services, rows))
    notes.show(services)
    list_tab, search_tab = st.tabs(
        [":material/library_books: Documents", ":material/search: Try a search"],
        key="knowledge_tabs",
    )
    with list_tab:
        _upload(services, busy=busy)
        work_slot = st.empty()
        library_work.show_outcome(on_dismiss=_empty_uploader)
        _list(services, rows, busy=busy)
        _upkeep(services, rows, busy=busy)
    with search_tab:
        try_search.show(services, open_document=open_document)
    opened, deleting = _chosen(rows, _OPENED), _chosen(rows, _DELETING)
    if deleting is not None:
        _confirm_deletion(services, deleting)
    elif opened is not None:
        _show_document(services, opened)
    elif busy:  # an open dialog is not disturbed: work is shown when it is closed
        library_work.watch(work_slot, services)


def _chosen(rows: Sequence[DocumentRow], key: str) -> DocumentRow | None:
    """The document that a dialog is about; somebody else may have deleted it meanwhile."""
    name = st.session_state.get(key)
    row = next((row for row in rows if row.name == name), None)
    if name is not None and row is None:
        st.session_state.pop(key)
        st.toast(f"{plain(name)} is no longer in the library.", icon=":material/info:")
    return row


def open_document(name: str) -> None:
    """Show this document's passages from the next run on, until they are closed."""
    st.session_state[_OPENED] = name


def _close_document() -> None:
    st.session_state.pop(_OPENED, None)


def _introduction(services: Services, rows: Sequence[DocumentRow]) -> str:
    folder = f"`{services.library.knowledge_dir.name}/`"
    if not rows:
        return f"What the rag and hybrid strategies may read. It lives in the folder {folder}."
    ready = [row for row in rows if row.status == "ready"]
    failed = sum(row.status == "failed" for row in rows)
    said = [
        counted(len(ready), "document"),
        counted(sum(row.passages for row in ready), "passage"),
        *([f":red[{failed} could not be read]"] if failed else []),
    ]
    return f"What the rag and hybrid strategies may read: {', '.join(said)}, in {folder}."


# --- adding ------------------------------------------------------------------------------------


def _upload(services: Services, *, busy: bool) -> None:
    files = st.file_uploader(
        "Add documents",
        type=sorted(suffix.lstrip(".") for suffix in SUFFIXES),
        accept_multiple_files=True,
        max_upload_size=services.settings.upload_megabytes,
        key=f"knowledge_upload_{st.session_state.get(_ROUND, 0)}",
        help="Several at once. A changed file replaces the one of the same name.",
        disabled=busy,
    )
    added: set[str] = st.session_state.setdefault(_ADDED, set())
    fresh = [file for file in files or [] if file.file_id not in added]
    if not fresh or busy:
        return
    added.update(file.file_id for file in fresh)
    uploads = [(file.name, file.getvalue()) for file in fresh]
    library_work.begin(add_uploads(services.library, uploads))
    st.rerun()


def _empty_uploader() -> None:
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1


# --- the list ----------------------------------------------------------------------------------


def _list(services: Services, rows: Sequence[DocumentRow], *, busy: bool) -> None:
    if not rows:
        _empty_library(services, busy=busy)
        return
    shown = _filtered(rows)
    if not shown:
        st.info("No document has that in its name.", icon=":material/filter_alt_off:")
    on_page = _one_page(shown, DOCUMENTS_A_PAGE, key="documents_page")
    with st.container(key="documents"):
        for row in on_page:
            _row(services, row, busy=busy)


def _empty_library(services: Services, *, busy: bool) -> None:
    if busy:
        return
    with st.container(border=True, key="knowledge_empty", horizontal_alignment="center"):
        st.markdown("### :material/library_add: Nothing here yet", text_alignment="center")
        st.markdown(
            "Drop documents above, or put files into the folder "
            f"`{services.library.knowledge_dir.name}/` and read it again.",
            text_alignment="center",
        )


def _filtered(rows: Sequence[DocumentRow]) -> list[DocumentRow]:
    with st.container(horizontal=True, vertical_alignment="bottom", key="documents_bar"):
        wanted = st.text_input(
            "Filter by name",
            key="documents_filter",
            type="search",
            placeholder="Filter by name",
            icon=":material/filter_alt:",
            label_visibility="collapsed",
            live=True,
            persist_state="session",
        )
        order = st.selectbox(
            "Order",
            list(_ORDERS),
            key="documents_order",
            label_visibility="collapsed",
            width=180,
            persist_state="session",
        )
    needle = (wanted or "").strip().lower()
    key, backwards = _ORDERS[order]
    found = [row for row in rows if needle in f"{row.name} {row.title}".lower()]
    return sorted(found, key=key, reverse=backwards)


def _row(services: Services, row: DocumentRow, *, busy: bool) -> None:
    key = widget_key(row.name)
    with st.container(
        horizontal=True, vertical_alignment="center", key=f"document_row_{key}", gap="small"
    ):
        with st.container(gap=None, key=f"document_text_{key}"):
            _, icon = _KINDS.get(row.kind, _UNKNOWN_KIND)
            st.markdown(f":gray[{icon}] **{plain(row.name)}**")
            st.caption(_details(row))
            if row.status != "ready" and row.error:
                st.markdown(f":small[{plain(row.error)}]")
        _status(row)
        st.button(
            "Open",
            key=f"open_{key}",
            icon=":material/visibility:",
            type="tertiary",
            on_click=open_document,
            args=(row.name,),
            disabled=not row.passages,
            help="Show its passages",
        )
        st.button(
            "Delete",
            key=f"delete_{key}",
            icon=":material/delete:",
            type="tertiary",
            on_click=_ask_deletion,
            args=(row.name,),
            disabled=busy,
            help="Delete the file and its passages",
        )


def _details(row: DocumentRow) -> str:
    kind, _ = _KINDS.get(row.kind, _UNKNOWN_KIND)
    said = [
        kind,
        _size(row.size_bytes),
        counted(row.passages, "passage"),
        _when(row.updated_at),
    ]
    return " · ".join(said)


def _status(row: DocumentRow) -> None:
    match row.status:
        case "ready":
            st.badge("ready", icon=":material/check:", color="green")
        case "failed":
            st.badge("failed", icon=":material/error:", color="red")
        case "duplicate":
            st.badge("duplicate", icon=":material/content_copy:", color="gray")
        case _:
            st.badge(row.status, icon=":material/hourglass_top:", color="orange")


def _ask_deletion(name: str) -> None:
    st.session_state[_DELETING] = name


def _do_not_delete() -> None:
    st.session_state.pop(_DELETING, None)


@st.dialog("Delete this document?", icon=":material/delete:", on_dismiss=_do_not_delete)
def _confirm_deletion(services: Services, row: DocumentRow) -> None:
    st.markdown(
        f"**{plain(row.name)}** goes for good: the file in "
        f"`{services.library.knowledge_dir.name}/`, its passages and their vectors. "
        "Answers already given keep what they quoted."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        kept = st.button("Keep it", key="delete_no")
        deleted = st.button("Delete", key="delete_yes", type="primary", icon=":material/delete:")
    if deleted:
        library_work.begin(library_work.forgetting(services.library, row.name))
    if kept or deleted:
        _do_not_delete()
        st.rerun()


# --- one document ------------------------------------------------------------------------------


def _show_document(services: Services, row: DocumentRow) -> None:
    dialog = st.dialog(plain(row.title or row.name), width="large", on_dismiss=_close_document)
    dialog(_document)(services, row)


def _document(services: Services, row: DocumentRow) -> None:
    try:
        found = passages(services.library, row.name)
    except TriptychError as error:
        _show_error(error)
        return
    with st.container(horizontal=True, vertical_alignment="center", key="document_head"):
        st.caption(f"{plain(row.name)} · {_details(row)}", width="content")
        _status(row)
    for passage in _one_page(found, PASSAGES_A_PAGE, key=f"passages_page_{widget_key(row.name)}"):
        _passage(passage, of=len(found))


def _passage(passage: Passage, *, of: int) -> None:
    with st.container(border=True, key=f"passage_{widget_key(passage.id)}"):
        where = [f"passage {passage.number + 1} of {of}"]
        if passage.page is not None:
            where.append(f"page {passage.page}")
        st.caption(" · ".join(where))
        if passage.heading:
            st.markdown(f"**{plain(passage.heading)}**")
        st.markdown(plain_lines(passage.text))


# --- upkeep ------------------------------------------------------------------------------------


def _upkeep(services: Services, rows: Sequence[DocumentRow], *, busy: bool) -> None:
    with st.container(horizontal=True, key="knowledge_upkeep"):
        if st.button(
            "Read the folder again",
            key="knowledge_reread",
            icon=":material/sync:",
            help="Takes up files that were added, changed or deleted in the folder",
            disabled=busy,
        ):
            library_work.begin_reading_folder(services)
            st.rerun()
        if st.button(
            "Rebuild the index",
            key="knowledge_rebuild",
            icon=":material/construction:",
            help="Makes the search index anew from the stored passages; nothing is lost",
            disabled=busy or not rows,
        ):
            library_work.begin(rebuild(services.library))
            st.rerun()


# --- small things ------------------------------------------------------------------------------


def _one_page(items: Sequence[T], size: int, *, key: str) -> Sequence[T]:
    pages = -(-len(items) // size)
    if pages <= 1:
        return items
    number = st.pagination(pages, key=f"{key}_{pages}")
    return items[(number - 1) * size : number * size]


def _show_error(error: TriptychError) -> None:
    st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")


def _size(size_bytes: int) -> str:
    if size_bytes < 1_000:
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1_000:.0f} KB"
    return f"{size_bytes / 1_000_000:.1f} MB"


def _when(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%d %b %Y, %H:%M")
    except ValueError:
        return plain(moment)
