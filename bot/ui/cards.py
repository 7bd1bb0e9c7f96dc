"""One card per answer: drawn once, then updated only where something changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.chat.answers import LiveAnswer, LiveTurn
from bot.chat.strategies import STRATEGIES
from bot.chat.trimming import Trimming
from bot.library.retrieve import Evidence
from bot.models.answer import longest
from bot.ui import text, theme

_UNDER_WAY = {"queued", "retrieving", "reading", "streaming"}

_STATUS = {
    "queued": ("gray", ":material/hourglass_empty:", "waiting"),
    "retrieving": ("blue", ":material/search:", "searching"),
    "reading": ("blue", ":material/menu_book:", "reading"),
    "streaming": ("primary", ":material/bolt:", "writing"),
    "complete": ("green", ":material/check:", "done"),
    "stopped": ("gray", ":material/stop:", "stopped"),
    "interrupted": ("orange", ":material/link_off:", "interrupted"),
    "failed": ("red", ":material/error:", "failed"),
}
_WAITING = {
    "queued": "Waiting for the model…",
    "retrieving": "Searching the documents…",
    "reading": "Reading the prompt…",
    "streaming": "…",
}
_RETRIEVING = {one.name for one in STRATEGIES if one.retrieves}
_OFF_TOPIC = "Nothing in the documents matches this question, so the model was not asked."


@dataclass(frozen=True, slots=True)
class Actions:
    """What the buttons of a card do; they receive the answer, its key or its id."""

    stop: Callable[[str], None]
    retry: Callable[[LiveAnswer], None]
    vote: Callable[[str, str], None]
    keep: Callable[[LiveAnswer], None]


class Card:
    """The place of one answer on the page.

    Args:
        key: of its column.
        answer: as it is now; `update` shows what it becomes.
        title: of its strategy.
        model: the title of its model; empty where there is no doubt about it.
        actions: what the buttons do.
        leads_in: the figures in which it leads its turn.
        words_only: as of `update`.
    """

    def __init__(
        self,
        key: str,
        answer: LiveAnswer,
        title: str,
        model: str,
        actions: Actions,
        leads_in: frozenset[str] = frozenset(),
        *,
        words_only: bool = False,
    ) -> None:
        self._key = key
        self._title = title
        self._model = model
        self._actions = actions
        self._shown: dict[str, Hashable] = {}
        self._place = st.container(key=f"card-{answer.strategy}-{answer.id}", height="stretch")
        with self._place:
            self._head = st.empty()
            self._body = st.empty()
        self._origin: DeltaGenerator | None = None
        self.update(answer, leads_in, words_only=words_only)

    def update(
        self,
        answer: LiveAnswer,
        leads_in: frozenset[str] = frozenset(),
        *,
        words_only: bool = False,
    ) -> None:
        """Show the answer as it is now.

        Args:
            leads_in: the figures in which it leads its turn.
            words_only: what accompanies the words of an answer under way can wait.
        """
        under_way = answer.status in _UNDER_WAY
        self._write("head", self._head, _head(answer, self._title, self._model))
        self._write("body", self._body, _body(answer, under_way))
        if under_way and words_only:
            return
        self._draw_once("places", True, lambda: self._draw_places(answer))
        self._draw_once("stop", under_way, lambda: self._draw_stop(answer))
        if slot := self._evidence:
            found = answer.off_topic or bool(answer.evidence)
            self._draw_once("evidence", found, lambda: _draw_evidence(slot, answer))
        notes = (_problem(answer), _figures(answer, leads_in))
        self._write("notes", self._notes, "\n\n".join(note for note in notes if note))
        self._draw_once("prompt", bool(answer.prompt), lambda: self._draw_prompt(answer))
        if not under_way:
            self._draw_once("finished", True, lambda: self._draw_finished(answer))

    def _write(self, name: str, slot: DeltaGenerator, markdown: str) -> None:
        if self._shown.get(name, "") != markdown:
            self._shown[name] = markdown
            if markdown:
                slot.markdown(markdown, anchors=False)
            else:
                slot.empty()

    def _draw_once(self, name: str, ready: bool, draw: Callable[[], None]) -> None:
        if ready and name not in self._shown:
            self._shown[name] = True
            draw()

    def _draw_places(self, answer: LiveAnswer) -> None:
        """Where everything stands that accompanies the words."""
        with self._place:
            self._evidence = st.empty() if answer.strategy in _RETRIEVING else None
            self._notes = st.empty()
            with st.container(key=f"foot-{answer.id}", horizontal=True, gap="xsmall"):
                self._buttons = st.empty()
                self._prompt = st.empty()

    def _draw_stop(self, answer: LiveAnswer) -> None:
        self._buttons.button(
            "Stop",
            key=f"stop-{answer.id}",
            icon=":material/stop_circle:",
            type="tertiary",
            on_click=self._actions.stop,
            args=(self._key,),
        )

    def _draw_finished(self, answer: LiveAnswer) -> None:
        with self._buttons.container(horizontal=True, gap="xsmall", width="content"):
            vote_key = f"vote-{answer.id}"
            st.feedback(
                "thumbs",
                key=vote_key,
                default={1: 1, -1: 0}.get(answer.vote),
                on_change=self._actions.vote,
                args=(answer.id, vote_key),
            )
            written = answer.text.strip()
            if written:
                st.code(written, language=None)
            st.button(
                "Retry",
                key=f"retry-{answer.id}",
                icon=":material/refresh:",
                type="tertiary",
                on_click=self._actions.retry,
                args=(answer,),
            )
            if written:
                st.button(
                    "",
                    key=f"keep-{answer.id}",
                    icon=":material/school:",
                    type="tertiary",
                    help="Use as a training example",
                    on_click=self._actions.keep,
                    args=(answer,),
                )
        if self._origin is not None and answer.fingerprint is not None:
            self._origin.caption(_origin(answer))

    def _draw_prompt(self, answer: LiveAnswer) -> None:
        with self._prompt.popover(
            "Prompt", key=f"prompt-{answer.id}", icon=":material/data_object:", type="tertiary"
        ):
            st.markdown("**The exact prompt that was sent**")
            if note := _trimming_note(answer.trimming):
                st.caption(note)
            st.code(
                "\n\n".join(f"[{message.role}]\n{message.content}" for message in answer.prompt),
                language=None,
                wrap_lines=True,
            )
            self._origin = st.empty()


def _draw_evidence(slot: DeltaGenerator, answer: LiveAnswer) -> None:
    if answer.off_topic:
        slot.markdown(f":gray[:material/search_off: {_OFF_TOPIC}]")
        return
    best, *others = [_quoted(one) for one in answer.evidence]
    if not others:
        slot.markdown(best)
        return
    with slot.container(gap=None):
        st.markdown(best)
        with st.expander(f"{len(others)} more from the documents", type="compact"):
            for quoted in others:
                st.markdown(quoted)


def _head(answer: LiveAnswer, title: str, model: str) -> str:
    look = theme.look(answer.strategy)
    colour, icon, words = _STATUS[answer.status]
    name = f":{look.colour}[{look.icon}] **{text.plain(title)}**"
    head = f"{name} &nbsp; :{colour}-badge[{icon} {words}]"
    return f"{head}  \n:small[:gray[{text.plain(model)}]]" if model else head


def _body(answer: LiveAnswer, under_way: bool) -> str:
    if answer.text.strip():
        return text.safe_markdown(answer.text, streaming=under_way)
    if under_way:
        return f":gray[{_waiting(answer)}]"
    return "" if answer.status == "failed" else ":gray[No text.]"


def _waiting(answer: LiveAnswer) -> str:
    """What a card without text says: at a busy server, the place in line and how long."""
    if answer.status != "queued" or not answer.place:
        return _WAITING[answer.status]
    place = "Next in line" if answer.place == 1 else f"Number {answer.place} in line"
    if answer.wait_seconds is None:
        return f"{place} at the model…"
    return f"{place} at the model, about {max(1, round(answer.wait_seconds))} s…"


def _problem(answer: LiveAnswer) -> str:
    if answer.unsaved:
        kept = "This answer is not saved yet; it is tried again."
        return f":orange[:material/save: {kept}] {text.plain(answer.unsaved)}"
    if answer.status == "interrupted":
        return ":orange[:material/link_off: This answer was cut off. Retry writes it again.]"
    if answer.status != "failed":
        return ""
    cure = f"  \n{text.plain(answer.cure)}" if answer.cure else ""
    return f":red[:material/error: **{text.plain(answer.error)}**]{cure}"


def _quoted(evidence: Evidence) -> str:
    page = f" · page {evidence.page}" if evidence.page is not None else ""
    heading = f" · {text.plain(evidence.heading)}" if evidence.heading else ""
    source = f":material/description: {text.plain(evidence.document)}{heading}{page}"
    return f"> “{text.plain(evidence.quote)}”\n>\n> :gray[{source}]"


def leaders(turn: LiveTurn) -> dict[str, frozenset[str]]:
    """Column → the figures in which it was the fastest of a turn that is done."""
    if not turn.done:
        return {}
    finished = [(key, one) for key, one in turn.answers.items() if one.status == "complete"]
    first = {key: one.first_token_seconds for key, one in finished if one.first_token_seconds}
    speed = {key: one.tokens_per_second for key, one in finished if one.tokens_per_second}
    led: dict[str, frozenset[str]] = {}
    if len(first) > 1:
        led[min(first, key=lambda key: first[key])] = frozenset({"first"})
    if len(speed) > 1:
        fastest = max(speed, key=lambda key: speed[key])
        led[fastest] = led.get(fastest, frozenset()) | {"speed"}
    return led


def _figures(answer: LiveAnswer, leads_in: frozenset[str]) -> str:
    figures = []
    if answer.first_token_seconds is not None:
        colour = "green" if "first" in leads_in else "gray"
        seconds = f"{answer.first_token_seconds:.2f} s first"
        figures.append(f":{colour}-badge[:material/timer: {seconds}]")
    if answer.tokens_per_second is not None:
        colour = "green" if "speed" in leads_in else "gray"
        rate = f"{answer.tokens_per_second:.0f} tokens/s"
        figures.append(f":{colour}-badge[:material/speed: {rate}]")
    if answer.answer_tokens:
        total = f" · {answer.total_seconds:.1f} s" if answer.total_seconds is not None else ""
        unit = "token" if answer.answer_tokens == 1 else "tokens"
        figures.append(f":gray-badge[{answer.answer_tokens} {unit}{total}]")
    if cost := _cost(answer):
        figures.append(f":gray-badge[{cost}]")
    if words := _cut_at_length(answer):
        figures.append(f":gray-badge[:material/straighten: {words}]")
    return " ".join(figures)


def _cost(answer: LiveAnswer) -> str:
    """What the answer cost, in words; empty as long as there is nothing to say."""
    mark = answer.fingerprint
    if mark is None or not answer.answer_tokens:
        return ""
    if answer.cost is None:
        return ":material/payments: price unknown"
    if answer.cost:
        return f":material/payments: {dollars(answer.cost)}"
    return "free, on this machine" if mark.on_this_machine else "free"


def dollars(amount: float) -> str:
    """An amount of US dollars as Markdown; small ones with as many digits as they need."""
    if amount >= 1:
        return f"\\${amount:,.2f}"
    return f"\\${amount:.4f}" if amount >= 0.0001 else "< \\$0.0001"


def _cut_at_length(answer: LiveAnswer) -> str:
    """That an answer ended at its longest, or was cut off long after that; empty for neither."""
    if answer.status != "complete" or answer.fingerprint is None:
        return ""
    max_tokens = int(answer.fingerprint.sampling.get("max_tokens", 0))
    if not max_tokens or answer.answer_tokens < max_tokens:
        return ""
    overlong = answer.answer_tokens > longest(max_tokens)
    return "far beyond the length, cut off" if overlong else "length reached"


def _trimming_note(trimming: Trimming | None) -> str:
    if trimming is None:
        return ""
    parts = [
        f"{count} {word}"
        for count, word in (
            (trimming.dropped_turns, "earlier turn(s)"),
            (trimming.dropped_passages, "passage(s)"),
            (trimming.dropped_question_tokens, "token(s) from the middle of the question"),
        )
        if count
    ]
    return f":material/content_cut: Left out so that it fits the model: {', '.join(parts)}."


def _origin(answer: LiveAnswer) -> str:
    mark = answer.fingerprint
    if mark is None:
        return ""
    adapter = f" · adapter {text.plain(mark.adapter[:12])}" if mark.adapter else ""
    passages = f" · passages {text.plain(', '.join(mark.passage_ids))}"
    return (
        f"{answer.prompt_tokens} prompt tokens · prompt `{mark.prompt_sha256[:12]}`"
        f" · weights {text.plain(mark.weights[:12])}{adapter}"
        f" · temperature {mark.sampling.get('temperature', 0):g} · seed {mark.seed}"
        f"{passages if mark.passage_ids else ''}"
    )
