"""The chat page: one question in, one card per strategy, all streaming at once.

Answers are written by a thread that knows nothing of this page. Each run of the script draws
what there is, then drains: it waits for a turn's version to grow and writes what changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.chat.answers import LiveAnswer, LiveTurn
from bot.chat.live import Chat
from bot.chat.strategies import STRATEGIES, strategy
from bot.errors import TriptychError
from bot.models.catalog import EMBEDDED_NAME
from bot.services import Services
from bot.ui import asking, example_keep, notes, sidebar, slots, starters, state, text, theme, thread
from bot.ui.cards import Actions, Card, leaders
from bot.ui.slots import Slots

REPAINT_SECONDS = 0.05
IDLE_SECONDS = 0.25
WORDS_ONLY_SECONDS = 0.25

CARD_WIDTH = 270
"""The least width of a card, in pixels; narrower pages fold."""

_TITLES = {one.name: one.title for one in STRATEGIES}


def page(services: Services) -> None:
    """Draw the page and, while answers are being written, keep drawing them."""
    chat = services.chat
    asking.settle()
    current = _known_conversation(chat)

    asked = _asked_at_once(services, slots.take_up(), current)
    if asked is not None:
        current = asked.conversation_id

    with st.container(key="thread"):
        hero = st.empty()
        turns_place, turns = _drawn_turns(services, chat.turns(current) if current else [])
        arriving = st.container()
    with st.sidebar:
        sidebar.choices(services, partial(_stop_strategy, chat))
        conversations = st.empty()
        indexing = st.empty()
        sidebar.indexing(services, indexing)
        notes.show(services)
    _show_notice()
    with st.bottom:
        stop_all = st.empty()
    laid = Slots(hero, turns_place, conversations, indexing, stop_all)
    _draw_input(services)

    if state.submission() is None and not turns:
        _draw_hero(services, hero)
    only_turns = state.submission() is None and state.reading(current) is None
    if asked is None:
        with arriving:
            asked = asking.ask(services, current)
        if asked is not None:
            current = asked.conversation_id
            with turns_place:
                turns.append(_draw_turn(services, asked))
    _draw_conversations(services, laid, current)
    example_keep.show(services)
    _follow(services, laid, turns)
    if only_turns or asked is not None:
        slots.lay(laid, _choices(services))


@st.fragment(key=asking.FRAGMENT)
def _draw_input(services: Services) -> None:
    """Draw the input and, when a question was just asked with it, its turn to the end."""
    asking.draw_input(services.settings.upload_megabytes, partial(_submitted, services))
    laid = slots.laid()
    if laid is None or laid.asked is None:
        return
    slots.take_up()
    turn, laid.asked = laid.asked, None
    with slots.as_whole_page():
        laid.hero.empty()
        with laid.turns:
            drawn = _draw_turn(services, turn, new=True)
        if laid.newest != turn.conversation_id:
            _draw_conversations(services, laid, turn.conversation_id)
        _follow(services, laid, [drawn], new=True)
    slots.lay(laid, _choices(services))
    if thread.length() >= 2 * state.shown_turns():
        st.rerun()


def _submitted(services: Services) -> None:
    """Take what was sent. A question that needs nothing else is asked at once, and drawn into
    the page as it stands; for everything else the whole page is drawn."""
    asking.take()
    laid = slots.laid()
    if laid is None or services.indexing.active:
        st.rerun()
    laid.asked = _asked_at_once(services, laid, state.conversation_id())
    if laid.asked is None:
        st.rerun()


def _asked_at_once(services: Services, laid: Slots | None, current: str) -> LiveTurn | None:
    """The next question's turn, if the page was drawn with what is chosen now."""
    if laid is None or laid.choices != _choices(services):
        return None
    return asking.ask_at_once(services, current)


def _choices(services: Services) -> state.Choices | None:
    return state.choices(services.settings.seed, services.models.main)


def _draw_conversations(services: Services, laid: Slots, current: str) -> None:
    with laid.conversations.container():
        laid.newest = sidebar.conversations(services, current)


def _follow(services: Services, laid: Slots, turns: Sequence[Drawn], *, new: bool = False) -> None:
    """Keep drawing the answers under way until all are there.

    Args:
        new: they were asked and drawn a moment ago.
    """
    live = [drawn for drawn in turns if drawn.under_way]
    for drawn in live:
        state.reader(services.chat).hold(drawn.turn.id)
    if live:
        _drain(services, live, laid, WORDS_ONLY_SECONDS if new else 0.0)
    laid.stop_all.empty()
    if state.submission() is not None:
        st.rerun()
    if services.indexing.active:
        _follow_indexing(services, laid.indexing)


@dataclass(frozen=True)
class Drawn:
    """A turn on the page: its cards by the columns' keys, and whether an answer of it was under
    way when they were drawn (it may have ended since, unseen)."""

    turn: LiveTurn
    cards: dict[str, Card]
    under_way: bool


def _drain(
    services: Services, live: Sequence[Drawn], laid: Slots, words_only_seconds: float
) -> None:
    """Write what changes into the cards until every turn is done. A browser is busy with a new
    turn for a while: at first it is given nothing but words, so that quick ones are seen soon."""
    seen: dict[str, tuple[int, bool]] = {}
    under_way, reading, stop_drawn = list(live), None, False
    words_only_until = time.monotonic() + words_only_seconds
    while under_way:
        began = time.monotonic()
        words_only = began < words_only_until
        for drawn in under_way:
            turn, version = drawn.turn, drawn.turn.version
            if seen.get(turn.id) != (version, words_only):
                seen[turn.id] = (version, words_only)
                led = leaders(turn)
                for key, card in drawn.cards.items():
                    card.update(turn.answers[key], led.get(key, frozenset()), words_only=words_only)
        under_way = [one for one in under_way if not _is_shown(one.turn, seen[one.turn.id][0])]
        if under_way and not (words_only or stop_drawn):
            _draw_stop_all(services.chat, laid.stop_all, [drawn.turn for drawn in live])
            stop_drawn = True
        reading = sidebar.indexing(services, laid.indexing, reading)
        asking.let_streamlit_interrupt()
        if under_way:
            _pace(services, under_way, began)
            turn = under_way[0].turn
            services.chat.wait(turn, seen[turn.id][0], IDLE_SECONDS)


def _is_shown(turn: LiveTurn, seen: int) -> bool:
    return turn.done and turn.version == seen


def _pace(services: Services, under_way: Sequence[Drawn], began: float) -> None:
    """Leave at least `REPAINT_SECONDS` between two repaints: more cannot be seen. One that took
    longer is followed by a rest as long, so that a crowd's repaints do not take all the time.
    Only first words are not kept waiting."""
    silent = [one.turn for one in under_way if not (one.turn.done or _begun(one.turn))]
    repainted = time.monotonic()
    until = max(began + REPAINT_SECONDS, repainted + (repainted - began))
    while (left := until - time.monotonic()) > 0:
        if not silent:
            time.sleep(left)
        else:
            services.chat.wait(silent[0], silent[0].version, left)
            if silent[0].done or _begun(silent[0]):
                return


def _begun(turn: LiveTurn) -> bool:
    return any(answer.text for answer in turn.answers.values())


def _follow_indexing(services: Services, slot: DeltaGenerator) -> None:
    """Show the reading of the knowledge folder until it ends; then draw the page anew."""
    reading = None
    while services.indexing.active:
        reading = sidebar.indexing(services, slot, reading)
        services.indexing.wait(IDLE_SECONDS)
        asking.let_streamlit_interrupt()
    st.rerun()


def _drawn_turns(
    services: Services, turns: Sequence[LiveTurn]
) -> tuple[DeltaGenerator, list[Drawn]]:
    """Draw the newest turns; the container that they are in, and they."""
    hidden = thread.hidden(turns)
    older = st.empty()
    if hidden:
        older.button(
            f"Show older questions ({hidden})",
            key="show-older",
            icon=":material/history:",
            type="tertiary",
            on_click=state.show_older,
        )
    place = thread.place(turns[hidden:])
    with place:
        return place, [_draw_turn(services, turn) for turn in turns[hidden:]]


def _draw_turn(services: Services, turn: LiveTurn, *, new: bool = False) -> Drawn:
    under_way = not turn.done
    actions = Actions(
        stop=partial(_stop, services.chat, turn.id),
        retry=partial(_retry, services),
        vote=partial(_vote, services.chat),
        keep=partial(_keep, turn.question),
    )
    with thread.turn(turn.id):
        with st.container(key=f"asked-{turn.id}", horizontal=True, horizontal_alignment="right"):
            st.markdown(text.plain_lines(turn.question), width="content", anchors=False)
        asking.draw_outcome(turn.id)
        return Drawn(turn, _draw_cards(turn, actions, words_only=new), under_way)


def _draw_cards(turn: LiveTurn, actions: Actions, *, words_only: bool) -> dict[str, Card]:
    """One card per column; where several models answered, those of a strategy stand in one row."""
    models = list(dict.fromkeys(answer.model for answer in turn.answers.values()))
    strategies = dict.fromkeys(answer.strategy for answer in turn.answers.values())
    adapters = {answer.adapter for answer in turn.answers.values() if answer.adapter}
    led = leaders(turn)
    cards: dict[str, Card] = {}

    def draw(strategy: str) -> None:
        for key, answer in turn.answers.items():
            if answer.strategy == strategy:
                doubt = len(models) > 1 or answer.model != EMBEDDED_NAME
                names = [
                    answer.model_title if doubt else "",
                    answer.adapter if len(adapters) > 1 else "",
                ]
                model = " + ".join(name for name in names if name)
                title = _TITLES.get(strategy, strategy)
                leads_in = led.get(key, frozenset())
                cards[key] = Card(
                    key, answer, title, model, actions, leads_in, words_only=words_only
                )

    if len(models) > 1:  # a row for each strategy, in which each model keeps its place
        with st.container(key=f"cards-{turn.id}"):
            for strategy in strategies:
                row = f"columns-{strategy}-{turn.id}"
                with st.grid(len(models), min_column_width=CARD_WIDTH, key=row):
                    draw(strategy)
        return cards
    with st.grid(max(1, len(strategies)), min_column_width=CARD_WIDTH, key=f"cards-{turn.id}"):
        for strategy in strategies:
            draw(strategy)
    return cards


def _draw_hero(services: Services, slot: DeltaGenerator) -> None:
    with slot.container(key="hero", horizontal_alignment="center"):
        st.markdown("# Which strategy answers best?", text_alignment="center", anchors=False)
        badges = " ".join(
            f":{theme.look(one.name).colour}-badge[{theme.look(one.name).icon} {one.title}]"
            for one in STRATEGIES
            if state.switched_on(one.name)
        )
        st.markdown(badges, text_alignment="center")
        st.markdown(
            f":gray[Ask once: every strategy answers at the same time, over {_over(services)}. "
            "Drop a document into the question and it is read first.]",
            text_alignment="center",
        )
        examples = starters.questions(services)
        with st.container(key="starters", horizontal=True, horizontal_alignment="center"):
            for number, question in enumerate(examples):
                st.button(
                    text.plain(question),
                    key=f"starter-{number}",
                    on_click=state.submit,
                    args=(question,),
                )


def _over(services: Services) -> str:
    """How many models answer the next question, in words."""
    count = len(state.models(services.models.main))
    return "one model" if count == 1 else f"{count} models"


def _draw_stop_all(chat: Chat, slot: DeltaGenerator, live: Sequence[LiveTurn]) -> None:
    with slot.container(horizontal=True, horizontal_alignment="center"):
        st.button(
            "Stop answering",
            key="stop-all",
            icon=":material/stop_circle:",
            on_click=_stop_all,
            args=(chat, [turn.id for turn in live]),
        )


def _known_conversation(chat: Chat) -> str:
    """The open conversation, if there is one of that id."""
    wanted = state.conversation_id()
    if wanted and not chat.has(wanted):
        state.open_conversation("")
        return ""
    return wanted


def _show_notice() -> None:
    left = state.notice()
    if left is not None:
        message, failed = left
        icon = ":material/error:" if failed else ":material/check:"
        st.toast(text.plain(message), icon=icon)


def _stop(chat: Chat, turn_id: str, key: str) -> None:
    chat.stop(turn_id, key)


def _stop_all(chat: Chat, turn_ids: Sequence[str]) -> None:
    for turn_id in turn_ids:
        chat.stop(turn_id)


def _stop_strategy(chat: Chat, strategy: str) -> None:
    """Stop a strategy's columns in the open conversation's turn under way: it was switched
    off."""
    current = state.conversation_id()
    turn = chat.under_way(current) if current else None
    for key, answer in turn.answers.items() if turn is not None else ():
        if turn is not None and answer.strategy == strategy:
            chat.stop(turn.id, key)


def _retry(services: Services, answer: LiveAnswer) -> None:
    options = state.options(services.settings.seed, services.models.main)
    try:
        if strategy(answer.strategy).adapted and not options.adapter_of(answer.model):
            adapter = {answer.model: services.default_adapter(answer.model)}
            options = replace(options, other_adapters={**options.other_adapters, **adapter})
        services.chat.retry(answer.id, options)
    except TriptychError as error:
        state.notify(str(error), failed=True)


def _keep(question: str, answer: LiveAnswer) -> None:
    example_keep.ask(question, answer.text.strip())


def _vote(chat: Chat, answer_id: str, key: str) -> None:
    thumb: int | None = st.session_state.get(key)
    vote = 0 if thumb is None else (1 if thumb else -1)
    try:
        chat.vote(answer_id, vote)
    except TriptychError as error:
        state.notify(str(error), failed=True)
