"""The menus of the side bar that say which models answer, and with which adapters."""

from __future__ import annotations

from threading import Event, Lock, Thread

import streamlit as st

from bot.errors import TriptychError
from bot.models.registry import Models
from bot.services import Services
from bot.ui import state, text

PATIENCE_SECONDS = 0.3
"""How long the page waits for a server to list its adapters; it goes on without them."""

MOST_MORE_ADAPTERS = 3
"""Each adapter that answers at the same time is a server of its own, with its own memory."""


def models(services: Services) -> tuple[str, ...]:
    """The menus of models, where there is a choice; the models that are chosen, main one first."""
    names = services.models.names()
    _forget_what_is_gone(names)
    if len(names) > 1:
        titles = {name: title(services, name) for name in names}
        with st.container(key="models", gap="small"):
            chosen = st.selectbox(
                "Model",
                names,
                format_func=titles.__getitem__,
                key=state.MODEL,
                help="Answers the next question; what is being answered goes on as it is.",
                bind="query-params",
            )
            others = [name for name in names if name != chosen]
            st.multiselect(
                "Compare with",
                others,
                format_func=titles.__getitem__,
                key=state.COMPARED,
                placeholder="No other model",
                help="These models answer as well: every strategy has a column for each model.",
                bind="query-params",
            )
    return state.models(services.models.main)


def adapters(services: Services, chosen: tuple[str, ...]) -> dict[str, tuple[str, ...] | None]:
    """The menus of adapters, where there is a choice.

    Returns:
        The adapters that fit each model; None while its server is still being asked.
    """
    fitting = {name: _lookup(services, name) for name in chosen}
    first, *others = chosen
    _adapter_menu(services, first, fitting[first] or (), state.ADAPTER, "Adapter")
    _more_adapters(fitting[first] or ())
    state.remember_adapters(
        {
            name: _adapter_menu(
                services,
                name,
                fitting[name] or (),
                f"{state.ADAPTER}-{name}",
                f"Adapter of {text.plain(title(services, name))}",
            )
            for name in others
        }
    )
    return fitting


def adapters_known(services: Services, chosen: tuple[str, ...]) -> bool:
    """Whether every model's server has said which adapters it has, or that it does not say."""
    lookups = _lookups(services.models)
    return all(lookups[name].found is not None for name in chosen)


def _more_adapters(names: tuple[str, ...]) -> None:
    """Let further adapters answer side by side, where there are any."""
    others = [name for name in names if name != st.session_state[state.ADAPTER]]
    chosen = st.session_state.get(state.MORE_ADAPTERS) or []
    left = [name for name in chosen if name in others]
    if left != chosen:
        st.session_state[state.MORE_ADAPTERS] = left
    if others:
        st.multiselect(
            "Compare with",
            others,
            key=state.MORE_ADAPTERS,
            max_selections=MOST_MORE_ADAPTERS,
            placeholder="No other adapter",
            help="These adapters answer as well: Adapter and Hybrid have a column for each.",
            persist_state="session",
        )


def title(services: Services, name: str) -> str:
    """What a person calls a model."""
    try:
        return services.models.get(name).title
    except TriptychError:
        return name


def _adapter_menu(
    services: Services, model: str, names: tuple[str, ...], key: str, label: str
) -> str:
    """Let one of several be chosen; the only one is chosen already. Empty where there is none."""
    if st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    if len(names) < 2:
        st.session_state[key] = names[0] if names else ""
    elif key not in st.session_state:
        st.session_state[key] = _default(services, model, names)
    if len(names) > 1:
        st.selectbox(label, names, key=key, persist_state="session")
    return str(st.session_state[key])


def _default(services: Services, model: str, names: tuple[str, ...]) -> str:
    wanted = services.default_adapter(model)
    return wanted if wanted in names else names[0]


def _forget_what_is_gone(names: list[str]) -> None:
    """A model may be removed while it is chosen."""
    if st.session_state.get(state.MODEL, names[0]) not in names:
        st.session_state[state.MODEL] = names[0]
    first = st.session_state.get(state.MODEL, names[0])
    compared = st.session_state.get(state.COMPARED, [])
    left = [name for name in compared if name in names and name != first]
    if left != compared:
        st.session_state[state.COMPARED] = left


# --- asking servers for their adapters ---------------------------------------------------------


class _Lookup:
    """The adapters of one model, looked for in a thread: a server may be slow, or away."""

    def __init__(self) -> None:
        self.found: tuple[str, ...] | None = None
        self._running = False
        self._done = Event()
        self._lock = Lock()

    def look(self, services: Services, name: str) -> tuple[str, ...] | None:
        """What is known after a short while; None when nothing is known yet."""
        with self._lock:
            if not self._running:
                self._running = True
                self._done.clear()
                arguments = (services, name)
                Thread(target=self._run, args=arguments, name="triptych-adapters").start()
        self._done.wait(PATIENCE_SECONDS)
        return self.found

    def _run(self, services: Services, name: str) -> None:
        try:
            self.found = tuple(services.adapter_choices(name))
        except TriptychError:
            self.found = ()
        finally:
            self._running = False
            self._done.set()


def _lookup(services: Services, name: str) -> tuple[str, ...] | None:
    return _lookups(services.models).setdefault(name, _Lookup()).look(services, name)


@st.cache_resource(show_spinner=False, hash_funcs={Models: id})
def _lookups(models: Models) -> dict[str, _Lookup]:
    """By the model's name, for all visitors."""
    return {}
