"""Work on the library that takes a while: done in a thread, shown on the page as it goes on.

A click, a reload or another page does not interrupt it: the page only watches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from threading import Lock, Thread

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.library.ingest import Ingested, Progress, forget
from bot.library.library import Library
from bot.services import Indexing, Services
from bot.ui.text import plain

TICK_SECONDS = 0.1

_WORK = "library_work"
_BEGINNING = Lock()
_SHARE_OF_STAGE = {"reading": 0.0, "splitting": 0.05, "embedding": 0.1, "storing": 0.9}
_ICONS = {
    "ready": ":green[:material/check_circle:]",
    "unchanged": ":gray[:material/check_circle:]",
    "duplicate": ":gray[:material/content_copy:]",
    "removed": ":gray[:material/delete:]",
    "failed": ":red[:material/error:]",
}
_SUMMED = {
    "ready": "added or renewed",
    "unchanged": "unchanged",
    "duplicate": "already there",
    "removed": "removed",
    "failed": "failed",
}


def begin(events: Iterable[Progress | Ingested]) -> None:
    """Start work of this visitor in a thread; the page shows it from now on, to all visitors."""
    work = Indexing()
    work.active = True
    st.session_state[_WORK] = work
    with _BEGINNING:
        begun = _everybodys_work()
        begun[:] = [other for other in begun if other.active] + [work]
    Thread(target=work.follow, args=(events,), name="triptych-library", daemon=True).start()


def begin_reading_folder(services: Services) -> None:
    """Start reading the knowledge folder, or join the reading that is under way."""
    services.sync()
    st.session_state[_WORK] = services.indexing


def forgetting(library: Library, name: str) -> Iterator[Progress | Ingested]:
    """`forget` as work: one event when it is done."""
    yield Progress(document=name, stage="storing", done=0, total=0)
    forget(library, name)
    yield Ingested(name=name, status="removed", passages=0, error=None)


@st.cache_resource(show_spinner=False)
def _everybodys_work() -> list[Indexing]:
    """What visitors of this process have begun: a reload or another window shows it, too."""
    return []


def under_way(services: Services) -> Indexing | None:
    """What is being done now: this visitor's work before that of others."""
    candidates = (last(), services.indexing, *_everybodys_work())
    return next((work for work in candidates if work is not None and work.active), None)


def last() -> Indexing | None:
    """The visitor's last work, until it is dismissed."""
    work: Indexing | None = st.session_state.get(_WORK)
    return work


def watch(slot: DeltaGenerator, services: Services) -> None:
    """Show work in the slot until none is under way, then draw the page anew.

    To be called whenever the page was drawn as busy, even if the work has ended since.
    """
    work = under_way(services)
    with slot.container(border=True, key="library_progress"):
        bar, results = st.empty(), st.empty()
    while work is not None:
        seen = work.version
        fraction, words = _progress(work)
        bar.progress(fraction, text=words)
        results.markdown("  \n".join(_lines(work.results)))
        while work.active and work.version == seen:
            work.wait(TICK_SECONDS)
            _ = st.session_state.get(_WORK)  # here Streamlit may end this run for a click
        work = under_way(services)
    st.rerun()


def show_outcome(on_dismiss: Callable[[], None]) -> None:
    """What came of the visitor's last work, in sentences, with a way to put it aside.

    Args:
        on_dismiss: called when the visitor puts it aside.
    """

    def dismiss() -> None:
        st.session_state.pop(_WORK, None)
        on_dismiss()

    work = last()
    if work is None or work.active:
        return
    with st.container(border=True, key="library_outcome"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{_summary(work.results)}**", width="stretch")
            st.button(
                "Dismiss",
                key="library_dismiss",
                type="tertiary",
                icon=":material/close:",
                on_click=dismiss,
            )
        st.markdown("  \n".join(_lines(work.results)))
        if work.error:
            st.error(plain(work.error), icon=":material/error:")


def _progress(work: Indexing) -> tuple[float, str]:
    """How full the bar is (0 to 1) and what it says."""
    if not work.document:
        return 0.0, "Looking at the documents …"
    stage = f"{work.stage} …"
    if work.total and work.stage in ("embedding", "storing"):
        stage = f"{work.stage} passage {work.done} of {work.total}"
    return _fraction(work), f"{plain(work.document)} — {stage}"


def _fraction(work: Indexing) -> float:
    """How far the document is, over all stages: embedding takes nearly all the time."""
    start = _SHARE_OF_STAGE.get(work.stage, 0.0)
    if work.stage != "embedding" or not work.total:
        return start
    return start + (_SHARE_OF_STAGE["storing"] - start) * min(work.done / work.total, 1.0)


def _lines(results: Iterable[Ingested]) -> list[str]:
    return [f"{_ICONS[r.status]} {_sentence(r)}" for r in results if r.status != "unchanged"]


def _sentence(result: Ingested) -> str:
    name = f"**{plain(result.name)}**"
    match result.status:
        case "ready":
            return f"{name} is in the library: {counted(result.passages, 'passage')}."
        case "unchanged":
            return f"{name} has not changed."
        case "removed":
            return f"{name} is no longer in the library."
        case "duplicate":
            return f"{name} was not added. {plain(result.error or '')}"
        case _:  # the sentence of an error begins with the name
            reason = (result.error or "could not be read.").removeprefix(result.name)
            return f"{name} {plain(reason)}"


def _summary(results: Iterable[Ingested]) -> str:
    by_status = Counter[str](result.status for result in results)
    said = [f"{by_status[status]} {_SUMMED[status]}" for status in _SUMMED if by_status[status]]
    return f"Done: {', '.join(said)}." if said else "Done: nothing to do."


def counted(number: int, noun: str) -> str:
    """The number with its noun: "1 passage", "12 passages"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
