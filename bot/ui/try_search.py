"""Try a search: the passages a question finds, with their scores and the reason for them."""

from __future__ import annotations

import re
from collections.abc import Callable

import streamlit as st

from bot.errors import TriptychError
from bot.library.retrieve import ScoredPassage, retrieve, search
from bot.services import Services
from bot.ui.text import plain, plain_lines, widget_key

CLOSE_COSINE = 0.4  # from here on, a passage is said to be close in meaning
_TOPS = (3, 5, 10)


def show(services: Services, *, open_document: Callable[[str], None]) -> None:
    """The search box and what it found.

    Args:
        open_document: called with a document's name when the visitor wants to read it.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", key="search_bar"):
        query = st.text_input(
            "Question or words",
            key="search_query",
            type="search",
            icon=":material/search:",
            placeholder="Ask as you would ask in the chat",
            persist_state="session",
        )
        top = st.segmented_control(
            "Results",
            _TOPS,
            key="search_top",
            default=5,
            required=True,
            width="content",
            persist_state="session",
        )
    if not (query or "").strip():
        st.caption(
            "Shows what retrieval would hand to the rag and hybrid strategies, and why: "
            "closeness in meaning (dense), shared words (keyword), and both together (fused)."
        )
        return
    try:
        with st.spinner("Searching …", show_time=False):
            found = services.mended(lambda: search(services.library, query.strip(), top=top or 5))
            off_topic = retrieve(services.library, query.strip(), passages=1).off_topic
    except TriptychError as error:
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        return
    _show_verdict(found, off_topic=off_topic)
    for rank, scored in enumerate(found, start=1):
        _show_passage(rank, scored, open_document)


def _show_verdict(found: list[ScoredPassage], *, off_topic: bool) -> None:
    if not found:
        st.info("Nothing was found.", icon=":material/search_off:")
    elif off_topic:
        st.markdown(
            ":orange[:material/block: **Off topic.**] In the chat nothing of this would be shown "
            "to the model: no passage is close enough to the question."
        )
    else:
        st.markdown(
            ":green[:material/check_circle: **On topic.**] In the chat the first of these would "
            "be shown to the model."
        )


def _show_passage(rank: int, scored: ScoredPassage, open_document: Callable[[str], None]) -> None:
    passage = scored.passage
    key = widget_key(passage.id)
    with st.container(border=True, key=f"found_{key}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            page = f" · page {passage.page}" if passage.page is not None else ""
            st.markdown(
                f"**{rank}. {plain(passage.document)}**  \n"
                f":small[{plain(passage.heading or passage.title)}{page}]",
                width="stretch",
            )
            st.button(
                "Open",
                key=f"found_open_{key}",
                icon=":material/visibility:",
                type="tertiary",
                on_click=open_document,
                args=(passage.document,),
            )
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.badge(f"fused {scored.score:.2f}", color="violet")
            st.badge(f"dense {scored.dense_score:.2f}", color="blue")
            st.badge(f"keyword {scored.keyword_score:.2f}", color="orange")
            st.caption(_reason(scored), width="content")
        st.markdown(highlighted(passage.text, scored.quote))


def _reason(scored: ScoredPassage) -> str:
    near, words = scored.dense_score >= CLOSE_COSINE, scored.keyword_score > 0
    if near and words:
        return "close in meaning, and shares words"
    if near:
        return "close in meaning"
    return "shares words" if words else "a distant match"


def highlighted(text: str, quote: str) -> str:
    """The passage as safe Markdown, with the quoted sentences marked where they stand.

    Nothing of the text is taken as Markdown or HTML. White space does not matter for finding
    the quote; one that is not in the text leaves the text unmarked.
    """
    words = [re.escape(word) for word in quote.split()]
    found = re.search(r"\s+".join(words), text) if words else None
    if found is None:
        return plain_lines(text)
    before, after = text[: found.start()].lstrip(), text[found.end() :].rstrip()
    lines = [line for line in found[0].split("\n") if line.strip()]
    marked = "  \n".join(f":primary-background[{plain(line)}]" for line in lines)
    return f"{_lines(before)}{_gap(before[-1:])}{marked}{_gap(after[:1])}{_lines(after)}"


def _lines(text: str) -> str:
    return plain_lines(text) if text.strip() else ""


def _gap(neighbour: str) -> str:
    """What stands between the quote and the text beside it: what stood there before."""
    return "  \n" if neighbour == "\n" else neighbour if neighbour == " " else ""
