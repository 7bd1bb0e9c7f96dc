"""Examples from files: what can be used is added at once, the other rows are mended in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from bot.errors import ExamplesError, TriptychError
from bot.messages import Message
from bot.records.examples import ExampleSet, NewRow, add_rows
from bot.services import Services
from bot.tuning.examples import MOST_BYTES, Reading, RowProblem, parse_examples, unit_of
from bot.tuning.sets import add_examples
from bot.ui.library_work import counted
from bot.ui.text import plain

UPLOAD = "examples_upload"
MENDING = "examples_mending"

_ROUND = "_examples_round"
_OUTCOME = "_examples_outcome"
_MOST_MENDED = 200
_COLUMNS = ("Question", "Answer", "Document")


@dataclass
class Outcome:
    """What came of an upload, until it is put aside.

    Args:
        added: how many examples it gave.
        problems: the rows that are none yet.
        error: why the file could not be read at all; empty when it could.
    """

    set_id: str
    name: str
    added: int = 0
    problems: tuple[RowProblem, ...] = ()
    error: str = ""
    round: int = 0


def show(services: Services, chosen: ExampleSet) -> None:
    """Draw the place where files are dropped, and what came of the last ones."""
    files = st.file_uploader(
        "Add examples from files",
        type=["csv", "tsv", "jsonl"],
        accept_multiple_files=True,
        max_upload_size=MOST_BYTES // 1_000_000,
        key=f"{UPLOAD}_{st.session_state.get(_ROUND, 0)}",
        help="CSV with the columns question and answer (a column document may follow), or JSON "
        "Lines with messages, or with prompt and completion.",
    )
    for file in files or []:
        outcomes = st.session_state.setdefault(_OUTCOME, [])
        outcomes.append(_take(services, chosen.id, file.name, file.getvalue()))
    if files:
        st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # it is empty again
        st.rerun()
    outcomes = [one for one in st.session_state.get(_OUTCOME, ()) if one.set_id == chosen.id]
    for place, outcome in enumerate(outcomes):
        _show_outcome(services, outcome, place)


def _take(services: Services, set_id: str, name: str, content: bytes) -> Outcome:
    try:
        reading: Reading = parse_examples(name, content)
        add_examples(services.engine, set_id, reading.examples, "upload")
    except (ExamplesError, TriptychError) as error:
        return Outcome(set_id, name, error=str(error))
    return Outcome(set_id, name, len(reading.examples), reading.problems)


def _show_outcome(services: Services, outcome: Outcome, place: int) -> None:
    with st.container(border=True, key=f"examples_outcome_{place}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(_summary(outcome), width="stretch")
            st.button(
                "Dismiss",
                key=f"examples_dismiss_{place}",
                type="tertiary",
                icon=":material/close:",
                on_click=_dismiss,
                args=(outcome,),
            )
        if outcome.problems:
            _mend(services, outcome, place)


def _summary(outcome: Outcome) -> str:
    name = f"**{plain(outcome.name)}**"
    if outcome.error:
        return f":red[:material/error:] {name}: {plain(outcome.error)}"
    said = f":green[:material/check_circle:] {name}: {counted(outcome.added, 'example')} added"
    if not outcome.problems:
        return f"{said}."
    left = counted(len(outcome.problems), "row")
    return f"{said}; {left} to be mended. Write into the table what is missing, then add them."


def _mend(services: Services, outcome: Outcome, place: int) -> None:
    import pandas as pd

    shown = outcome.problems[:_MOST_MENDED]
    unit = unit_of(outcome.name)
    frame = pd.DataFrame(
        {
            "Problem": [f"{one.reason[:1].upper()}{one.reason[1:]} {one.cure}" for one in shown],
            "Question": [one.question for one in shown],
            "Answer": [one.answer for one in shown],
            "Document": [one.document for one in shown],
        },
        index=[one.line for one in shown],
        dtype="string",
    )
    edited = st.data_editor(
        frame,
        key=f"{MENDING}_{place}_{outcome.round}",
        hide_index=False,
        row_height=56,  # two lines
        placeholder="",
        alt="Rows to be mended",
        disabled=["_index", "Problem"],
        column_config={
            "_index": st.column_config.NumberColumn(unit, width=50),
            "Problem": st.column_config.TextColumn(width="medium"),
            "Question": st.column_config.TextColumn(width="medium"),
            "Answer": st.column_config.TextColumn(width="medium"),
            "Document": st.column_config.TextColumn(width="small"),
        },
    )
    if len(shown) < len(outcome.problems):
        st.caption(f"These are the first {len(shown)} of them.")
    rows = [_texts(row) for row in edited.fillna("").to_dict("records")]
    mended = sum(bool(question and answer) for question, answer, _ in rows)
    if st.button(
        f"Add {counted(mended, 'mended row')}" if mended else "Add the mended rows",
        key=f"examples_add_mended_{place}",
        type="primary",
        icon=":material/playlist_add:",
        disabled=not mended,
    ):
        _add_mended(services, outcome, rows)
        st.rerun()


def _texts(row: Mapping[Any, Any]) -> tuple[str, str, str]:
    question, answer, document = (str(row[name]).strip() for name in _COLUMNS)
    return question, answer, document


def _add_mended(services: Services, outcome: Outcome, rows: Sequence[tuple[str, str, str]]) -> None:
    """Add what is whole now; the others stay to be mended."""
    whole: list[NewRow] = []
    left: list[RowProblem] = []
    for problem, (question, answer, document) in zip(outcome.problems, rows, strict=False):
        if question and answer:
            messages = (Message("user", question), Message("assistant", answer))
            whole.append(NewRow(messages, "upload", document=document))
        else:
            left.append(replace(problem, question=question, answer=answer, document=document))
    try:
        add_rows(services.engine, outcome.set_id, whole)
    except TriptychError as error:
        outcome.error = str(error)
        return
    outcome.added += len(whole)
    outcome.problems = (*left, *outcome.problems[len(rows) :])
    outcome.round += 1


def _dismiss(outcome: Outcome) -> None:
    st.session_state[_OUTCOME].remove(outcome)
