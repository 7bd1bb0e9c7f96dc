"""The rows of an example set as a table that can be edited: every change is stored at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st
from sqlalchemy import Engine

from bot.errors import TriptychError
from bot.messages import Message
from bot.records.examples import (
    ExampleRow,
    ExampleSet,
    NewRow,
    add_rows,
    change_row,
    delete_rows,
    example_rows,
)
from bot.services import Services
from bot.ui.text import plain

if TYPE_CHECKING:  # it takes a while to import, which the first page must not wait for
    import pandas as pd

KEY = "examples_table"
COLUMNS = ("Question", "Answer", "Document")

_SHEET = "_examples_sheet"
_HEIGHT = 420
_ROW_HEIGHT = 38


@dataclass(frozen=True, slots=True)
class Cells:
    """What stands in a row of the table."""

    question: str = ""
    answer: str = ""
    document: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in it yet."""
        return not (self.question or self.answer or self.document)


@dataclass
class Sheet:
    """The table as one visitor sees it: the rows that it was drawn with, and what was changed in
    it since. The table itself stays as it is while somebody types in it.

    Args:
        version: of the set, as far as this visitor has read and written it.
        rows: as they are stored now, None when deleted, by their place in the table.
        added: the rows below, each with its id once it is stored.
    """

    set_id: str
    version: int
    number: int
    rows: list[ExampleRow | None]
    frame: pd.DataFrame
    added: list[tuple[str, Cells]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The table's key: another one for every time that it is drawn anew."""
        return f"{KEY}_{self.number}"


def show(services: Services, chosen: ExampleSet) -> None:
    """Draw the table of a set's approved rows."""
    sheet = _sheet(services, chosen)
    st.data_editor(
        sheet.frame,
        key=sheet.key,
        num_rows="dynamic",
        hide_index=False,
        height=_HEIGHT if len(sheet.frame) > 9 else "auto",
        row_height=_ROW_HEIGHT,
        placeholder="",
        alt="Examples, to be edited",
        disabled=["_index", "Before"],
        column_config={
            "_index": st.column_config.NumberColumn("Row", width=50),
            "Question": st.column_config.TextColumn(width="medium"),
            "Answer": st.column_config.TextColumn(width="large"),
            "Document": st.column_config.TextColumn(
                width="small", help="The document it was made from, if there is one"
            ),
            "Before": st.column_config.NumberColumn(
                "Turns before", width="small", help="Earlier questions of the same chat"
            ),
        },
        on_change=store,
        args=(services.engine,),
    )


def _sheet(services: Services, chosen: ExampleSet) -> Sheet:
    sheet: Sheet | None = st.session_state.get(_SHEET)
    if sheet is None or (sheet.set_id, sheet.version) != (chosen.id, chosen.version):
        rows = example_rows(services.engine, chosen.id, "approved")
        number = 0 if sheet is None else sheet.number + 1
        sheet = Sheet(chosen.id, chosen.version, number, [*rows], _frame(rows))
        st.session_state[_SHEET] = sheet
    return sheet


def _frame(rows: Sequence[ExampleRow]) -> pd.DataFrame:
    import pandas as pd

    cells = [_cells(row) for row in rows]
    columns: dict[str, Any] = {
        "Question": [one.question for one in cells],
        "Answer": [one.answer for one in cells],
        "Document": [one.document for one in cells],
    }
    before = [len(row.messages) // 2 - 1 for row in rows]
    if any(before):
        columns = {"Before": before, **columns}
    frame = pd.DataFrame(columns, index=pd.RangeIndex(1, len(rows) + 1))
    return frame.astype(dict.fromkeys(COLUMNS, "string"))


# --- what was changed --------------------------------------------------------------------------


def store(engine: Engine) -> None:
    """Write what the visitor changed in the table since the last time."""
    sheet: Sheet | None = st.session_state.get(_SHEET)
    edits: Mapping[str, Any] | None = st.session_state.get(sheet.key) if sheet else None
    if sheet is None or edits is None or sheet.version < 0:
        return
    try:
        _store_changed(engine, sheet, edits["edited_rows"])
        _store_added(engine, sheet, [_typed(row) for row in edits["added_rows"]])
        _store_deleted(engine, sheet, edits["deleted_rows"])
    except TriptychError as error:
        sheet.version = -1
        st.toast(f"Not stored: {plain(error.message)}", icon=":material/error:", duration="long")


def _store_changed(engine: Engine, sheet: Sheet, edited: Mapping[int, Mapping[str, Any]]) -> None:
    for place, changes in edited.items():
        row = sheet.rows[int(place)]
        if row is None:
            continue
        cells = _typed({**_as_columns(_cells(row)), **changes})
        if cells == _cells(row):
            continue
        messages = _messages(cells, before=row.messages[:-2])
        if change_row(engine, row.id, messages, cells.document, shown=row):
            sheet.rows[int(place)] = ExampleRow(
                row.id, messages, row.source, row.state, cells.document
            )
            sheet.version += 1
        else:
            _keep_beside(engine, sheet, messages, cells.document)


def _keep_beside(
    engine: Engine, sheet: Sheet, messages: tuple[Message, ...], document: str
) -> None:
    """Somebody else changed or deleted the row meanwhile: both are kept."""
    add_rows(engine, sheet.set_id, [NewRow(messages, "typed", document=document)])
    sheet.version = -1
    st.toast(
        "This row was changed in another window; yours is now the last one.",
        icon=":material/info:",
        duration="long",
    )


def _store_added(engine: Engine, sheet: Sheet, wanted: Sequence[Cells]) -> None:
    """Rows below the table: nothing tells which is which but their order and what is in them."""
    known = sheet.added
    if len(wanted) < len(known):
        left = _still_there(known, wanted)
        gone = {row_id for row_id, _ in known if row_id} - {row_id for row_id, _ in left}
        sheet.version += 1 if delete_rows(engine, gone) else 0
        known = left
    known = [*known, *([("", Cells())] * (len(wanted) - len(known)))]
    sheet.added = known
    for place, (cells, (row_id, before)) in enumerate(zip(wanted, known, strict=True)):
        if cells == before:
            continue
        messages = _messages(cells)
        if not row_id:
            new = NewRow(messages, "typed", document=cells.document)
            (row_id,) = add_rows(engine, sheet.set_id, [new])
        elif not change_row(engine, row_id, messages, cells.document):
            _keep_beside(engine, sheet, messages, cells.document)
            return
        sheet.added[place] = (row_id, cells)
        sheet.version += 1


def _still_there(
    known: Sequence[tuple[str, Cells]], wanted: Sequence[Cells]
) -> list[tuple[str, Cells]]:
    """Those of the rows that were not deleted; rows alike may stand in for each other."""
    left: list[tuple[str, Cells]] = []
    for row in known:
        if len(left) < len(wanted) and row[1] == wanted[len(left)]:
            left.append(row)
    return left


def _store_deleted(engine: Engine, sheet: Sheet, deleted: Sequence[int]) -> None:
    gone = [row for place in deleted if (row := sheet.rows[place]) is not None]
    if gone:
        delete_rows(engine, [row.id for row in gone])
        sheet.version = -1  # the rows behind have other numbers now


def _cells(row: ExampleRow) -> Cells:
    question, answer = (one.content for one in row.messages[-2:])
    return Cells(question, answer, row.document)


def _as_columns(cells: Cells) -> dict[str, str]:
    return dict(zip(COLUMNS, (cells.question, cells.answer, cells.document), strict=True))


def _typed(columns: Mapping[str, Any]) -> Cells:
    return Cells(*(str(columns.get(name) or "").strip() for name in COLUMNS))


def _messages(cells: Cells, before: tuple[Message, ...] = ()) -> tuple[Message, ...]:
    return (*before, Message("user", cells.question), Message("assistant", cells.answer))
