"""The model page: what is configured, how it is, a hello to each, and servers to add."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bot.errors import TriptychError
from bot.models.catalog import Model, ModelProfile, ModelStatus, Origin
from bot.models.client import Completion, Delta, Endpoint, Sampling, stream
from bot.models.hub import HubModel
from bot.models.registry import HELLO, HELLO_TIMEOUT_SECONDS, HELLO_TOKENS
from bot.services import Services
from bot.ui import model_add, model_fetch
from bot.ui.model_checks import Checks, checks
from bot.ui.model_fetch import Downloads, downloads
from bot.ui.text import plain, safe_markdown, widget_key

STYLE_SHEET = Path(__file__).with_name("models.css")
TICK_SECONDS = 0.25

_HELLOS = "_model_hellos"
_GREETED = "_model_greeted"


@dataclass(frozen=True)
class Place:
    """What can change on a card: `draw` shows the model's state anew, `hello` its greeting."""

    draw: Callable[[], None]
    hello: DeltaGenerator


def page(services: Services) -> None:
    """Draw the page, then show what the checks find as they end."""
    known, fetching = checks(services.models), downloads(services.models)
    try:
        names, added = services.models.names(), {one.name for one in services.models.added()}
    except TriptychError as error:
        st.error(plain(str(error)), icon=":material/error:")
        st.button("Try again", key="models_again", icon=":material/refresh:")
        return
    st.html(STYLE_SHEET)
    with st.container(key="models_page"):
        st.title("Models", anchor=False)
        st.markdown(
            "The models to choose from in the side bar of the chat. All answer over the same "
            "prompts; the first one answers unless another is chosen."
        )
        with st.grid(2, min_column_width=340, key="model_cards"):
            places = {
                name: _card(services, known, fetching, name, removable=name in added)
                for name in names
            }
        model_add.form(services, on_added=known.begin)
        model_fetch.form(services, fetching)
    for place in places.values():
        place.draw()
    greeted = st.session_state.pop(_GREETED, "")
    if greeted in places:
        _say_hello(services, greeted, places[greeted].hello)
    _follow(known, fetching, places)


# --- one card ----------------------------------------------------------------------------------


def _card(
    services: Services, known: Checks, fetching: Downloads, name: str, *, removable: bool
) -> Place:
    """Draw a model; its state is drawn by the place that is returned."""
    key = widget_key(name)
    is_main = name == services.models.main
    main = "main_" if is_main else ""
    with st.container(key=f"model_card_{main}{key}", height="stretch"):
        try:
            model = services.models.get(name)
        except TriptychError as error:
            st.markdown(f":gray[:material/neurology:] **{plain(name)}**")
            st.markdown(f":red[:material/error: {plain(str(error))}]")
            return Place(lambda: None, st.empty())
        is_here = _is_here(model)
        if is_here and (is_main or model.origin.kind != "weights"):
            # other weights would have to be loaded for it
            _check_once(known, name)
        st.markdown(_head(model, is_main=is_main))
        with st.container(key=f"model_facts_{key}"):
            state, facts = st.empty(), st.empty()
        with st.container(key=f"model_hello_{key}"):
            hello = st.empty()
        if earlier := _hellos().get(name):
            hello.markdown(earlier)
        with st.container(key=f"model_foot_{key}", horizontal=True):
            if is_here:
                _buttons(known, model)
            else:
                model_fetch.draw_button(fetching, name, key)
            if removable:
                _remove_menu(services, known, fetching, model)

    def draw() -> None:
        status = known.status(name)
        if not is_here:
            model_fetch.draw_state(state, fetching.of(name))
            facts.markdown(_facts(model, None))
            return
        state.markdown(_state(status, running=known.is_running(name)))
        facts.markdown(_facts(model, status))

    return Place(draw, hello)


def _is_here(model: Model) -> bool:
    """Whether the model's file need not be fetched first."""
    return not isinstance(model, HubModel) or model.is_fetched


def _check_once(known: Checks, name: str) -> None:
    if known.status(name) is None:
        known.begin(name)


def _head(model: Model, *, is_main: bool) -> str:
    main = " &nbsp; :primary-badge[answers first]" if is_main else ""
    title = f":gray[:material/neurology:] **{plain(model.title)}**{main}"
    return title if model.title == model.name else f"{title}  \n:small[:gray[{plain(model.name)}]]"


def _state(status: ModelStatus | None, *, running: bool) -> str:
    if running:
        return ":blue-badge[:material/hourglass_top: asking …]"
    if status is None:
        return ":gray-badge[:material/bedtime: not started] :gray[It starts when it is asked.]"
    if status.reachable:
        return f":green-badge[:material/check: answers] :gray[in {status.seconds:.1f} s]"
    return f":red-badge[:material/error: does not answer]  \n{plain(status.detail)}"


def _facts(model: Model, status: ModelStatus | None) -> str:
    lines = [
        f":material/dns: {_where(model.origin)}",
        f":material/straighten: {model.profile.context_tokens:,} tokens of context",
        f":material/payments: {_price(model.profile, model.origin)}",
    ]
    if status is not None and status.adapters:
        names = ", ".join(plain(one) for one in status.adapters)
        lines.append(f":material/tune: Adapters: {names}")
    if model.origin.key_variable:
        lines.append(f":material/key: {_key_state(model.origin)}")
    return "  \n".join(lines)


def _where(origin: Origin) -> str:
    address = plain(origin.address)
    match origin.kind:
        case "weights":
            return f"On this machine: {address}"
        case "server":
            return f"Server: {address}"
        case provider:
            return f"{plain(provider)}: {address}" if address else plain(provider)


def _price(profile: ModelProfile, origin: Origin) -> str:
    prices = (profile.prompt_price_per_million, profile.answer_price_per_million)
    if any(price is None for price in prices):
        return "Price unknown"
    if not any(prices):
        return "Free, on this machine" if origin.kind == "weights" else "Free"
    prompt, answer = (f"\\${price or 0.0:,.2f}" for price in prices)
    return f"{prompt} for a million tokens read, {answer} written"


def _key_state(origin: Origin) -> str:
    """Whether the key's variable is set; its value is nobody's business."""
    variable = f"`{origin.key_variable}`"
    if origin.key_is_set:
        return f"The key in {variable} is sent."
    return f":gray[No key is sent: {variable} is not set.]"


def _buttons(known: Checks, model: Model) -> None:
    key = widget_key(model.name)
    st.button(
        "Check again" if known.status(model.name) else "Check",
        key=f"model_check_{key}",
        icon=":material/refresh:",
        type="tertiary",
        on_click=known.begin,
        args=(model.name,),
        disabled=known.is_running(model.name),
    )
    st.button(
        "Say hello",
        key=f"model_say_{key}",
        icon=":material/waving_hand:",
        type="tertiary",
        on_click=_ask_hello,
        args=(model.name,),
    )


def _remove_menu(services: Services, known: Checks, fetching: Downloads, model: Model) -> None:
    key = widget_key(model.name)
    with st.popover("Remove", key=f"model_remove_{key}", icon=":material/delete:", type="tertiary"):
        stays = "Its file stays" if isinstance(model, HubModel) else "Answers already given stay"
        st.markdown(f"Take **{plain(model.name)}** out? {stays}.")
        st.button(
            "Remove it",
            key=f"model_really_remove_{key}",
            type="primary",
            on_click=_remove,
            args=(services, known, fetching, model.name),
        )


def _remove(services: Services, known: Checks, fetching: Downloads, name: str) -> None:
    fetching.cancel(name)
    try:
        services.models.remove(name)
    except TriptychError as error:
        st.toast(plain(str(error)), icon=":material/error:")
    known.forget(name)
    _hellos().pop(name, None)


# --- hello -------------------------------------------------------------------------------------


def _ask_hello(name: str) -> None:
    st.session_state[_GREETED] = name


def _say_hello(services: Services, name: str, slot: DeltaGenerator) -> None:
    """Stream a short answer into the card, and say when its first token came."""
    slot.markdown(":gray[Saying hello …]")
    try:
        said = asyncio.run(_hello(services.models.get(name), slot))
    except TriptychError as error:
        said = f":red[:material/error: {plain(str(error))}]"
    _hellos()[name] = said
    slot.markdown(said)


async def _hello(model: Model, slot: DeltaGenerator) -> str:
    endpoint = await asyncio.to_thread(model.endpoint)
    began, first, text = time.monotonic(), 0.0, ""
    async with aclosing(_pieces(endpoint)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Delta):
                first = first or time.monotonic() - began
                text += piece.text
                slot.markdown(_quoted(safe_markdown(text, streaming=True)))
    if not text:
        return ":gray[It answered with no words.]"
    timing = f":gray-badge[:material/timer: {first:.2f} s first]"
    return f"{_quoted(safe_markdown(text))}\n\n{timing}"


def _pieces(endpoint: Endpoint) -> AsyncGenerator[Delta | Completion]:
    sampling = Sampling(HELLO_TOKENS, 0.0, 0)
    return stream(endpoint, [HELLO], sampling, timeout_seconds=HELLO_TIMEOUT_SECONDS)


def _quoted(markdown: str) -> str:
    return "\n".join(f"> {line}" for line in markdown.splitlines())


def _hellos() -> dict[str, str]:
    """What each model answered this visitor, as Markdown."""
    said: dict[str, str] = st.session_state.setdefault(_HELLOS, {})
    return said


# --- watching ----------------------------------------------------------------------------------


def _follow(known: Checks, fetching: Downloads, places: dict[str, Place]) -> None:
    """Draw what checks find and downloads bring, until none is under way; then the page anew,
    for its buttons."""
    if not (known.busy or fetching.busy):
        return
    drawn: tuple[int, int] | None = None
    while known.busy or fetching.busy:
        versions = (known.version, fetching.version)
        if versions != drawn:
            drawn = versions
            for place in places.values():
                place.draw()
        time.sleep(TICK_SECONDS)
        _ = st.session_state.get(_HELLOS)  # here Streamlit may end this run for a click
    st.rerun()
