"""The training tab of the fine-tuning page: what is under way, a new training, earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import streamlit as st

from bot.errors import TriptychError
from bot.evidence.offers import Offer
from bot.services import Services
from bot.tuning.trainings import Training
from bot.ui import places, state, training_form, training_words
from bot.ui.text import plain
from bot.ui.training_card import Actions, card

TICK_SECONDS = 1.0
LISTED, OTHERS = 20, 12

_WATCHED = "_trainings_watched"
_SAID = "_training_said"


def tab(services: Services) -> None:
    """Draw the tab."""
    try:
        known = services.trainings.all()
        _watch(one.id for one in known if one.active)
        shown = [one for one in reversed(known) if one.id in _watched()]
        _shown(services, shown)
        training_form.draw(services, begun=_begun)
        _earlier(services, [one for one in known if one.id not in _watched()])
    except TriptychError as error:
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        st.button("Try again", key="trainings_again", icon=":material/refresh:")


# --- what this visitor watches -----------------------------------------------------------------


def _watched() -> frozenset[str]:
    """The trainings at the top of the page: those that this visitor saw under way."""
    return frozenset(st.session_state.get(_WATCHED, ()))


def _watch(ids: Iterable[str]) -> None:
    st.session_state[_WATCHED] = _watched() | set(ids)


def _begun(training_id: str) -> None:
    _watch([training_id])


def _put_aside(training: Training) -> None:
    st.session_state[_WATCHED] = _watched() - {training.id}
    st.rerun()


def _shown(services: Services, shown: Sequence[Training]) -> None:
    """The cards at the top, drawn anew every second while one of them is under way."""
    if not shown:
        return
    drawn = [(one.id, one.state) for one in shown]
    ticking = any(one.active for one in shown)

    def draw() -> None:
        try:
            now = [services.trainings.get(training_id) for training_id, _ in drawn]
        except TriptychError:  # somebody else removed one
            st.rerun()
        if [(one.id, one.state) for one in now] != drawn:
            st.rerun()
        for one in now:
            card(one, _actions(services, _put_aside), _said(one))

    st.fragment(draw, run_every=TICK_SECONDS if ticking else None)()


def _earlier(services: Services, earlier: Sequence[Training]) -> None:
    """Trainings of the past, each drawn when it is opened."""
    if not earlier:
        return
    st.subheader("Earlier trainings", anchor=False)
    for one in earlier[:LISTED]:
        label = f"{plain(one.name)} {training_words.badge(one)} :gray[{_when(one)}]"
        place = st.expander(label, key=f"training_earlier_{one.id}", on_change="rerun")
        if place.open:
            with place:
                card(one, _actions(services, None), _said(one), has_heading=False)


def _when(training: Training) -> str:
    return training_words.moment(training.created_at)


# --- what the buttons do -----------------------------------------------------------------------


def _actions(services: Services, put_aside: Callable[[Training], None] | None) -> Actions:
    def tried(does: Callable[[str], None]) -> Callable[[Training], None]:
        def act(training: Training) -> None:
            try:
                does(training.id)
                _say(training, "")
            except TriptychError as error:
                _say(training, f"{error.message} {error.cure}")
            st.rerun()

        return act

    return Actions(
        cancel=tried(services.trainings.cancel),
        resume=tried(services.trainings.resume),
        remove=tried(services.trainings.remove),
        ask=_ask,
        compare=_compare,
        others=lambda training: _others(services, training),
        put_aside=put_aside,
        offer=lambda training: _offer(services, training),
    )


def _ask(training: Training) -> None:
    """Open the chat with this adapter chosen."""
    state.choose_adapters(training.name)
    places.open_chat()


def _compare(training: Training, other: str) -> None:
    """Open the chat with two adapters side by side."""
    state.choose_adapters(training.name, other)
    places.open_chat()


def _others(services: Services, training: Training) -> list[str]:
    offered = (one.name for one in services.gate.offers() if one.state == "offered")
    return [name for name in offered if name != training.name][:OTHERS]


def _offer(services: Services, training: Training) -> Offer | None:
    """The adapter of a training's name, as it is now."""
    return next((one for one in services.gate.offers() if one.name == training.name), None)


def _say(training: Training, sentence: str) -> None:
    """Leave a sentence at a training's card; empty takes it away."""
    st.session_state[_SAID] = {**st.session_state.get(_SAID, {}), training.id: sentence}


def _said(training: Training) -> str:
    return str(st.session_state.get(_SAID, {}).get(training.id, ""))
