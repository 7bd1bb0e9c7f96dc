"""The form of the model page that adds a server of the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from bot.errors import TriptychError
from bot.records.models import ModelRecord
from bot.services import Services
from bot.ui.text import plain

LONGEST_NAME = 60
LONGEST_ADDRESS = 300

_ROUND = "_model_add_round"
_PROBLEM = "_model_add_problem"
_LISTED = "_model_add_listed"


def form(services: Services, on_added: Callable[[str], None]) -> None:
    """Name, address, model, context and prices; what the server lists is offered as its model.

    Args:
        on_added: called with the name of a model that was just added.
    """
    with st.container(key="model_add"):
        st.markdown("**Add a server**")
        st.caption(
            "Anything that speaks the OpenAI protocol: Ollama, vLLM, llama.cpp, LM Studio, or a "
            "hosted one. A key is never typed here: it is read from the variable that is named "
            "after the server's host."
        )
        left, right = st.columns(2)
        left.text_input(
            "Name",
            key=_key("name"),
            max_chars=LONGEST_NAME,
            placeholder="What you call it",
        )
        address = right.text_input(
            "Address",
            key=_key("address"),
            max_chars=LONGEST_ADDRESS,
            placeholder="http://127.0.0.1:11434/v1",
        )
        _models(services, (address or "").strip())
        _numbers()
        st.button(
            "Add",
            key=_key("add"),
            type="primary",
            icon=":material/add:",
            on_click=_add,
            args=(services, on_added),
        )
        if problem := st.session_state.pop(_PROBLEM, ""):
            st.error(plain(problem), icon=":material/error:")


def _models(services: Services, address: str) -> None:
    """The models that the server lists, or any name that is typed."""
    listed, problem = _listed(services, address) if address else ((), "")
    st.selectbox(
        "Model",
        listed,
        index=0 if len(listed) == 1 else None,
        key=f"{_key('model')}_{len(listed)}",
        accept_new_options=True,
        placeholder="Choose one, or type its name" if listed else "The name its server has for it",
    )
    if problem:
        st.markdown(f":red[:material/error: {plain(problem)}]")
    elif address and not listed:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("The server lists no models now; type the model's name.", width="content")
            st.button(
                "Ask again",
                key=_key("ask_again"),
                type="tertiary",
                icon=":material/refresh:",
                on_click=lambda: st.session_state.pop(_LISTED, None),
            )


def _listed(services: Services, address: str) -> tuple[tuple[str, ...], str]:
    """What a server lists, asked once for an address, and why it may not be asked."""
    known = st.session_state.get(_LISTED)
    if known is None or known[0] != address:
        try:
            with st.spinner("Asking the server for its models …"):
                known = (address, services.models.listed_at(address), "")
        except TriptychError as error:
            known = (address, (), str(error))
        st.session_state[_LISTED] = known
    return known[1], known[2]


def _numbers() -> None:
    context, prompt, answer = st.columns(3)
    context.number_input(
        "Context",
        min_value=256,
        max_value=10_000_000,
        value=None,
        step=1024,
        key=_key("context"),
        placeholder="as the server says",
        help="The longest conversation, in tokens.",
    )
    for column, name, label in (
        (prompt, "prompt_price", "Price, read"),
        (answer, "answer_price", "Price, written"),
    ):
        column.number_input(
            label,
            min_value=0.0,
            max_value=100_000.0,
            value=None,
            step=0.1,
            key=_key(name),
            placeholder="unknown",
            help="In US dollars for a million tokens; 0 for a server of your own.",
        )


def _add(services: Services, on_added: Callable[[str], None]) -> None:
    address = str(_value("address") or "").strip()
    listed = st.session_state.get(_LISTED)
    count = len(listed[1]) if listed and listed[0] == address else 0
    record = ModelRecord(
        name=" ".join(str(_value("name") or "").split()),
        base_url=address,
        model=str(st.session_state.get(f"{_key('model')}_{count}") or "").strip(),
        context_tokens=_value("context"),  # type: ignore[arg-type]
        prompt_price_per_million=_value("prompt_price"),  # type: ignore[arg-type]
        answer_price_per_million=_value("answer_price"),  # type: ignore[arg-type]
    )
    try:
        services.models.add(record)
    except TriptychError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    on_added(record.name)
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1  # the form is empty again
    st.session_state.pop(_LISTED, None)


def _key(name: str) -> str:
    return f"model_add_{name}_{st.session_state.get(_ROUND, 0)}"


def _value(name: str) -> object:
    return st.session_state.get(_key(name))
