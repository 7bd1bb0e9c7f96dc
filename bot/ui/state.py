"""What one visitor is doing: typed access to session state and the page's address.

Widget keys are spelled here once; code and tests find widgets by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from uuid import uuid4

import streamlit as st

from bot.chat.answers import LiveTurn
from bot.chat.compare import Options
from bot.chat.live import Chat
from bot.chat.strategies import STRATEGIES
from bot.errors import ChatError
from bot.services import Indexing

ADDRESS_KEY = "c"
QUESTION = "question"
ANSWER_TOKENS = "length"
TEMPERATURE = "temperature"
ADAPTER = "adapter"
MORE_ADAPTERS = "more-adapters"
MODEL = "model"
COMPARED = "compare"
TUNING_TAB = "tab"
EXAMPLE_SET = "_example_set"
ADAPTER_NAME = "adapter-name"
PRESET = "preset"

_OTHER_ADAPTERS = "_other_adapters"
_CONVERSATION = "_conversation"
_SUBMISSIONS = "_submissions"
_SHOWN_TURNS = "_shown_turns"
_READINGS = "_readings"
_NOTICE = "_notice"
_CONFIRM = "_confirm_delete"
_OPEN_TAB = "_tuning_tab"
_NEXT_TAB = "_tuning_next_tab"

TURNS_SHOWN = 6


@dataclass
class Submission:
    """A question on its way, with the documents that must be in the library first.

    `reading` is the work of bringing them there; `turn` is set in the moment it is asked.
    """

    question: str
    files: tuple[tuple[str, bytes], ...] = ()
    reading: Indexing | None = None
    turn: LiveTurn | None = None
    id: str = field(default_factory=lambda: uuid4().hex)


class Reader:
    """One visitor's hold on the answers under way.

    As long as somebody reads an answer, it is written to its end; when the visitor's session is
    gone, the hold is let go of and the answer is cancelled after a grace period.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._owner = uuid4().hex
        self._turns: set[str] = set()
        self._gone = False
        self._lock = Lock()

    def hold(self, turn_id: str) -> None:
        """Keep a turn alive; nothing happens when the session is already gone."""
        with self._lock:
            if not self._gone:
                self._turns.add(turn_id)
                self._chat.attach(turn_id, self._owner)

    def let_go(self) -> None:
        """The session is gone: nobody reads these turns here any more."""
        with self._lock:
            self._gone = True
            with suppress(ChatError):  # the chat was closed first
                for turn_id in self._turns:
                    self._chat.detach(turn_id, self._owner)
            self._turns.clear()


@st.cache_resource(
    scope="session", show_spinner=False, on_release=Reader.let_go, hash_funcs={Chat: id}
)
def reader(chat: Chat) -> Reader:
    """This session's reader; released by Streamlit when the visitor's connection ends."""
    return Reader(chat)


def strategy_key(name: str) -> str:
    """Key of the switch of a strategy."""
    return f"use-{name}"


def switched_on(name: str) -> bool:
    """Whether the visitor wants this strategy to answer."""
    return bool(st.session_state.get(strategy_key(name), False))


def suspend_switch(name: str, *, suspended: bool) -> None:
    """Switch a strategy off as long as it cannot be used, and on again afterwards."""
    key, wish = strategy_key(name), f"_wish-{name}"
    if suspended:
        if st.session_state.get(key, st.query_params.get(key) != "false"):
            st.session_state[wish] = True
        st.session_state[key] = False
    elif st.session_state.pop(wish, False):
        st.session_state[key] = True


def models(main: str) -> tuple[str, ...]:
    """The models that answer the next question, the one chosen first.

    Args:
        main: the one that answers when there is nothing to choose from.
    """
    first = str(st.session_state.get(MODEL) or main)
    return tuple(dict.fromkeys((first, *st.session_state.get(COMPARED, ()))))


def choose_adapters(first: str, *more: str) -> None:
    """Let these adapters of the main model answer the next question, side by side."""
    st.session_state[ADAPTER] = first
    st.session_state[MORE_ADAPTERS] = list(more)


def remember_adapters(other: Mapping[str, str]) -> None:
    """Keep which adapter answers on which model, the first one aside."""
    st.session_state[_OTHER_ADAPTERS] = dict(other)


def strategies() -> list[str]:
    """The names of the strategies that are switched on."""
    return [one.name for one in STRATEGIES if switched_on(one.name)]


@dataclass(frozen=True)
class Choices:
    """What decides how the page looks and how the next question is answered.

    Args:
        conversation_id: the open conversation; empty for a new one.
        strategies: the names of those switched on.
        compared: the models in the menu of those that answer as well. The main one is among
            them as long as a browser has not heard that it was taken out.
        options: what the side bar says.
    """

    conversation_id: str
    strategies: tuple[str, ...]
    compared: tuple[str, ...]
    options: Options


def passages_key(model: str) -> str:
    """Key of how many passages a model reads: several help a large one and confuse a small one."""
    return f"passages-{model}"


def choices(seed: int, main_model: str) -> Choices | None:
    """What is chosen now; None as long as the side bar was not drawn."""
    drawn = (ANSWER_TOKENS, TEMPERATURE, passages_key(models(main_model)[0]))
    if any(key not in st.session_state for key in drawn):
        return None
    compared = tuple(st.session_state.get(COMPARED, ()))
    return Choices(conversation_id(), tuple(strategies()), compared, options(seed, main_model))


def options(seed: int, main_model: str) -> Options:
    """What the side bar says about the next answer."""
    answering = models(main_model)
    return Options(
        answer_tokens=int(st.session_state[ANSWER_TOKENS]),
        temperature=float(st.session_state[TEMPERATURE]),
        seed=seed,
        passages=int(st.session_state[passages_key(answering[0])]),
        adapter=str(st.session_state.get(ADAPTER) or ""),
        models=answering,
        other_adapters=st.session_state.get(_OTHER_ADAPTERS, {}),
        more_adapters=tuple(st.session_state.get(MORE_ADAPTERS) or ()),
    )


def conversation_id() -> str:
    """The open conversation; empty for a new one. The page's address wins, so that a reload
    and a link reopen it; the session remembers it across a visit to another page."""
    asked = st.query_params.get(ADDRESS_KEY, "")
    if asked:
        open_conversation(asked)
    elif remembered := st.session_state.get(_CONVERSATION, ""):
        st.query_params[ADDRESS_KEY] = remembered
    return str(st.session_state.get(_CONVERSATION, ""))


def open_conversation(conversation_id: str) -> None:
    """Make a conversation the open one; empty for a new one."""
    if st.session_state.get(_CONVERSATION) != conversation_id:
        st.session_state[_CONVERSATION] = conversation_id
        st.session_state[_SHOWN_TURNS] = TURNS_SHOWN
        st.session_state[_CONFIRM] = False
        remember_reading("", None)
    if conversation_id == st.query_params.get(ADDRESS_KEY, ""):
        return
    if conversation_id:
        st.query_params[ADDRESS_KEY] = conversation_id
    else:
        st.query_params.pop(ADDRESS_KEY, None)


def submission() -> Submission | None:
    """The next question on its way, if there is one."""
    waiting = _submissions()
    return waiting[0] if waiting else None


def submit(question: str, files: tuple[tuple[str, bytes], ...] = ()) -> None:
    """Put a question (or just documents) on its way, behind those that wait already."""
    st.session_state[_SUBMISSIONS] = [*_submissions(), Submission(question, files)]


def submission_done() -> None:
    """Forget the first question on its way: it was asked."""
    st.session_state[_SUBMISSIONS] = _submissions()[1:]


def remember_reading(place: str, work: Indexing | None) -> None:
    """Keep what came of reading documents, to be shown at a turn or a conversation."""
    st.session_state[_READINGS] = {**st.session_state.get(_READINGS, {}), place: work}


def reading(place: str) -> Indexing | None:
    """What came of the documents that were read for this turn or conversation."""
    work = st.session_state.get(_READINGS, {}).get(place)
    return work if isinstance(work, Indexing) else None


def _submissions() -> list[Submission]:
    return list(st.session_state.get(_SUBMISSIONS, ()))


def shown_turns() -> int:
    """How many of the newest turns are shown."""
    return int(st.session_state.get(_SHOWN_TURNS, TURNS_SHOWN))


def show_older() -> None:
    """Show six more turns."""
    st.session_state[_SHOWN_TURNS] = shown_turns() + TURNS_SHOWN


def confirm_delete(wanted: bool) -> None:
    """Ask, or stop asking, whether the open conversation shall really go."""
    st.session_state[_CONFIRM] = wanted


def delete_to_confirm() -> bool:
    """Whether the visitor is being asked to confirm a deletion."""
    return bool(st.session_state.get(_CONFIRM, False))


def example_set() -> str:
    """The set of examples that is chosen on the fine-tuning page; empty when none is."""
    return str(st.session_state.get(EXAMPLE_SET, ""))


def choose_example_set(chosen: str) -> None:
    """Make a set of examples the one that is edited, trained on and measured."""
    st.session_state[EXAMPLE_SET] = chosen


def open_tuning_tab(title: str) -> None:
    """Open a tab of the fine-tuning page at its next drawing; `st.rerun` draws it at once."""
    st.session_state[_NEXT_TAB] = title


def settle_tuning_tab(titles: Sequence[str]) -> None:
    """Before the tabs are drawn: open the one that was asked for, or, after a visit to another
    page, the one that was open; the page's address comes before that."""
    known = TUNING_TAB in st.session_state or TUNING_TAB in st.query_params
    left = "" if known else st.session_state.get(_OPEN_TAB, "")
    wanted = st.session_state.pop(_NEXT_TAB, left)
    if wanted in titles:
        st.session_state[TUNING_TAB] = wanted


def remember_tuning_tab(title: str) -> None:
    """Keep which tab is open, beyond a visit to another page."""
    st.session_state[_OPEN_TAB] = title


def notify(message: str, *, failed: bool = False) -> None:
    """Leave a sentence for the visitor, shown at the next drawing."""
    st.session_state[_NOTICE] = (message, failed)


def notice() -> tuple[str, bool] | None:
    """The sentence that was left, once."""
    left: tuple[str, bool] | None = st.session_state.pop(_NOTICE, None)
    return left
