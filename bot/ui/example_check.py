"""What is wrong with an example set, each problem with a way to mend it, and what the set holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from bot.errors import TriptychError
from bot.evidence.review import Review
from bot.records.examples import ExampleRow, ExampleSet, delete_rows, example_rows
from bot.services import Services
from bot.tuning.checks import Bin, Problem, Statistics
from bot.tuning.recipe import TrainingRecipe
from bot.ui.library_work import counted
from bot.ui.text import plain

PROBLEMS_SHOWN = 50
MOST_TOKENS: int = TrainingRecipe(system_prompt="", base_sha256="0" * 64).example_tokens

_TITLES = {
    "empty": "Empty",
    "long": "Too long",
    "contradiction": "Contradiction",
    "duplicate": "Duplicate",
    "near-duplicate": "Near-duplicate",
    "leakage": "In the evaluation",
    "few-shot": "In few-shot",
}


def show(services: Services, chosen: ExampleSet) -> None:
    """Draw the problems and the statistics of a set's approved rows."""
    if not chosen.approved:
        st.info("There is nothing to check yet.", icon=":material/checklist:")
        return
    with st.spinner("Checking the examples …"):
        rows = example_rows(services.engine, chosen.id, "approved")
        found = services.review_examples(chosen.id, MOST_TOKENS)
    by_number = dict(enumerate(rows, start=1))
    _summary(found)
    _mend_all(services, found.problems, by_number)
    for place, problem in enumerate(found.problems[:PROBLEMS_SHOWN]):
        _problem(services, problem, place, by_number)
    if (hidden := len(found.problems) - PROBLEMS_SHOWN) > 0:
        st.caption(f"And {hidden:,} more, shown when these are mended.")
    _statistics(found.statistics)


def _summary(found: Review) -> None:
    blocking = len(found.blocking)
    warnings = len(found.problems) - blocking
    if found.uncounted:
        st.warning(
            f"The lengths could not be counted. {plain(found.uncounted)}",
            icon=":material/straighten:",
        )
    if blocking:
        others = f", and {counted(warnings, 'warning')}" if warnings else ""
        st.error(
            f"{counted(blocking, 'problem')} to be mended before training{others}.",
            icon=":material/error:",
        )
    elif warnings:
        st.warning(
            f"Ready to be trained on, with {counted(warnings, 'warning')}.",
            icon=":material/warning:",
        )
    else:
        st.success("Ready to be trained on: nothing was found.", icon=":material/check_circle:")


def _problem(
    services: Services, problem: Problem, place: int, rows: Mapping[int, ExampleRow]
) -> None:
    known = [(number, rows[number]) for number in problem.rows if number in rows]
    with st.container(border=True, key=f"examples_problem_{place}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            icon, colour = (":material/error:", "red") if problem.blocks else (None, "orange")
            st.badge(_TITLES[problem.kind], icon=icon, color=colour)  # type: ignore[arg-type]
            st.markdown(f"**{_numbers(problem.rows)}**", width="stretch")
        st.markdown(f"{problem.reason} :gray[{problem.cure}]")
        if problem.kind == "contradiction":
            _answers(services, known, place)
            return
        if known:
            question = known[0][1].messages[-2].content
            st.caption(plain(_shortened(question)) or "(no question)")
        label, gone = _cure(problem, known)
        if gone:
            st.button(
                label,
                key=f"examples_mend_{place}",
                icon=":material/healing:",
                on_click=_delete,
                args=(services, [row.id for _, row in gone]),
            )


def _cure(
    problem: Problem, known: Sequence[tuple[int, ExampleRow]]
) -> tuple[str, Sequence[tuple[int, ExampleRow]]]:
    """What a button says, and the rows that it deletes."""
    if problem.kind in ("duplicate", "near-duplicate") and known:
        return f"Keep row {known[0][0]}", known[1:]
    return (f"Delete row {known[0][0]}" if known else ""), known


def _answers(services: Services, known: Sequence[tuple[int, ExampleRow]], place: int) -> None:
    """The answers that contradict each other, each with a button that keeps it."""
    if known:
        st.caption(plain(_shortened(known[0][1].messages[-2].content)))
    by_answer: dict[str, list[tuple[int, ExampleRow]]] = {}
    for number, row in known:
        by_answer.setdefault(row.messages[-1].content, []).append((number, row))
    for answer, said in by_answer.items():
        others = [row.id for _, row in known if row.messages[-1].content != answer]
        with st.container(horizontal=True, vertical_alignment="center"):
            numbers = ", ".join(str(number) for number, _ in said)
            st.markdown(f":gray[{numbers}] {plain(_shortened(answer))}", width="stretch")
            st.button(
                "Keep this answer",
                key=f"examples_keep_{place}_{said[0][0]}",
                icon=":material/check:",
                on_click=_delete,
                args=(services, others),
            )


def _mend_all(
    services: Services, problems: Sequence[Problem], rows: Mapping[int, ExampleRow]
) -> None:
    """One button for many duplicates."""
    repeated = [one for one in problems if one.kind == "duplicate"]
    gone = {rows[number].id for one in repeated for number in one.rows[1:] if number in rows}
    if len(repeated) > 1:
        st.button(
            f"Delete {counted(len(gone), 'duplicate')}",
            key="examples_mend_duplicates",
            icon=":material/healing:",
            on_click=_delete,
            args=(services, sorted(gone)),
        )


def _delete(services: Services, row_ids: Sequence[str]) -> None:
    try:
        delete_rows(services.engine, row_ids)
    except TriptychError as error:
        st.toast(plain(error.message), icon=":material/error:")


def _numbers(rows: Sequence[int]) -> str:
    said = [str(row) for row in rows[:8]]
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
    return f"Row {said[0]}" if len(rows) == 1 else f"Rows {', '.join(said)}{more}"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:159]}…"


# --- statistics --------------------------------------------------------------------------------


def _statistics(found: Statistics) -> None:
    st.markdown("#### What the set holds")
    with st.container(horizontal=True, key="examples_metrics"):
        st.metric("Examples", f"{found.examples:,}")
        st.metric("Different answers", f"{found.answers:,}")
        if found.tokens:
            shortest, middle, longest = found.tokens
            st.metric("Tokens", f"{middle:,}", help="The middle example, system prompt included")
            st.metric("Shortest to longest", f"{shortest:,} – {longest:,}")
    lengths, coverage = st.columns(2, gap="large")
    with lengths:
        if found.histogram:
            st.caption("Examples by length, in tokens")
            _histogram(found)
    with coverage:
        st.caption("Examples by document")
        _coverage(found)


def _histogram(found: Statistics) -> None:
    import altair
    import pandas as pd

    frame = pd.DataFrame(
        {
            "tokens": [_span(one) for one in found.histogram],
            "examples": [one.examples for one in found.histogram],
        }
    )
    chart = (
        altair.Chart(frame)
        .mark_bar(cornerRadiusTopLeft=3, cornerRadiusTopRight=3, color="#6366f1")
        .encode(
            x=altair.X("tokens:O", sort=None, title=None, axis=altair.Axis(labelAngle=0)),
            y=altair.Y("examples:Q", title=None, axis=altair.Axis(tickMinStep=1)),
            tooltip=["tokens:O", "examples:Q"],
        )
        .properties(height=220)
    )
    st.altair_chart(chart)


def _span(one: Bin) -> str:
    last = one.high - 1
    return f"{one.low}" if last == one.low else f"{one.low}–{last}"


def _coverage(found: Statistics) -> None:
    import pandas as pd

    counts = [*found.documents, *((name, 0) for name in found.uncovered)]
    if not counts:
        st.caption("There is no document in the library yet.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Document": [name for name, _ in counts],
                "Examples": [number for _, number in counts],
            }
        ),
        hide_index=True,
        height=220 if len(counts) > 5 else "auto",
        column_config={
            "Examples": st.column_config.ProgressColumn(
                format="%d", max_value=max([number for _, number in counts], default=1) or 1
            )
        },
        key="examples_coverage",
    )
    if found.uncovered:
        names = ", ".join(plain(name) for name in found.uncovered[:12])
        more = f" and {len(found.uncovered) - 12} more" if len(found.uncovered) > 12 else ""
        st.caption(f"No example yet: {names}{more}.")
    if found.unknown:
        st.caption(f"Of {counted(found.unknown, 'example')} the document is not known.")
