"""The tab for models that a server keeps: its fine-tuning jobs, and the adapters that it loads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import streamlit as st

from bot.chat.prompts import system_prompt
from bot.errors import TriptychError
from bot.messages import Message
from bot.models import fine_tuning, loras
from bot.models.fine_tuning import FineTuningJob
from bot.models.prices import OPENAI_HOST, training_price_per_million
from bot.models.remote import RemoteModel
from bot.services import Services
from bot.tuning.sets import approved_examples
from bot.ui import state
from bot.ui.text import plain, widget_key

T = TypeVar("T")

DEFAULT_EPOCHS = 3
MOST_EPOCHS = 50
MILLION = 1_000_000

_MODEL = "server_tuning_model"
_JOBS = "_server_tuning_jobs"
_SAID = "_server_tuning_said"

_BADGES = {
    "succeeded": ":green-badge[:material/check: finished]",
    "failed": ":red-badge[:material/error: failed]",
    "cancelled": ":gray-badge[:material/block: cancelled]",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that could be started, and what it would cost at most.

    Args:
        tokens: that are trained, rather too many than too few.
        price: in US dollars for a million of them; None when nobody said.
    """

    chats: tuple[tuple[Message, ...], ...]
    name: str
    epochs: int
    seed: int
    tokens: int
    price: float | None

    @property
    def cost(self) -> float:
        """In US dollars, at most; 0 when no price is known."""
        return self.tokens * (self.price or 0.0) / MILLION

    @property
    def key(self) -> str:
        """Another one whenever anything of the plan changes."""
        return widget_key(repr(self))


def tab(services: Services) -> None:
    """Draw the jobs and the adapters of one server's model."""
    models = _on_servers(services)
    if not models:
        st.info(
            "No model of a server is configured. Add one on the Models page: OpenAI fine-tunes "
            "on its own machines, and vLLM loads adapters while it runs.",
            icon=":material/dns:",
        )
        return
    st.markdown("For models that another server keeps: their training and their adapters are its.")
    name = st.selectbox(
        "Model", list(models), format_func=lambda one: models[one].title, key=_MODEL
    )
    model = models[name]
    _say_what_happened()
    jobs, problem = _jobs(model)
    _fine_tuning(services, model, jobs, problem)
    if _host(model) != OPENAI_HOST:
        _adapters(model)


def _on_servers(services: Services) -> dict[str, RemoteModel]:
    found = {}
    for name in services.models.names():
        try:
            model = services.models.get(name)
        except TriptychError:
            continue  # the Models page says why
        if isinstance(model, RemoteModel) and model.origin.kind == "server":
            found[name] = model
    return found


# --- jobs --------------------------------------------------------------------------------------


def _fine_tuning(
    services: Services, model: RemoteModel, jobs: Sequence[FineTuningJob], problem: str
) -> None:
    with st.container(border=True, key="server_jobs"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Fine-tune there**", width="stretch")
            st.button(
                "Look again",
                key="server_jobs_again",
                icon=":material/refresh:",
                type="tertiary",
                on_click=_forget_jobs,
                args=(model,),
            )
        if problem:
            st.markdown(f":gray[:material/info: {plain(problem)}]")
            return
        _new_job(services, model)
        for job in jobs:
            _job(model, job)
        if not jobs:
            st.caption("No job was started yet.")


def _new_job(services: Services, model: RemoteModel) -> None:
    """What would be sent, what it costs at most, and a button that waits for consent."""
    chats = _chats(services)
    if len(chats) < fine_tuning.LEAST_EXAMPLES:
        st.caption(
            f"It takes {fine_tuning.LEAST_EXAMPLES} approved examples or more; the set that is "
            f"chosen in the Examples tab has {len(chats)}."
        )
        return
    plan = _plan(model, chats)
    host = plain(_host(model))
    if plan.price is None:
        st.caption("Enter the price of the server's price page, so that the cost is known.")
        return
    agreed = st.checkbox(
        f"Send {len(plan.chats)} examples to {host} and pay **at most about "
        f"\\${plan.cost:,.2f}** ({plan.tokens:,} tokens, {plan.epochs} times over all examples)",
        key=f"server_job_agreed_{plan.key}",  # a changed plan must be agreed to anew
    )
    st.button(
        "Start the job",
        key="server_job_start",
        type="primary",
        icon=":material/cloud_upload:",
        disabled=not agreed,
        on_click=_start,
        args=(model, plan),
    )


def _chats(services: Services) -> tuple[tuple[Message, ...], ...]:
    chosen = state.example_set()
    examples = approved_examples(services.engine, chosen) if chosen else []
    return tuple(one.messages for one in examples)


def _plan(model: RemoteModel, chats: tuple[tuple[Message, ...], ...]) -> Plan:
    name, epochs, seed, price = st.columns(4)
    chosen_epochs = int(
        epochs.number_input("Epochs", 1, MOST_EPOCHS, DEFAULT_EPOCHS, key="server_job_epochs")
    )
    known = training_price_per_million(_host(model), model.title)
    return Plan(
        chats=chats,
        name=name.text_input(
            "Name", "triptych", max_chars=18, key="server_job_name", help="Part of the model's id."
        ),
        epochs=chosen_epochs,
        seed=int(seed.number_input("Seed", 0, 2**31 - 1, 7, key="server_job_seed")),
        tokens=fine_tuning.most_tokens(chats, system_prompt(), chosen_epochs),
        price=price.number_input(
            "Price of training",
            min_value=0.0,
            max_value=100_000.0,
            value=known,
            step=0.5,
            key=f"server_job_price_{widget_key(model.name)}",
            help="In US dollars for a million tokens. Prices change: compare with the server's "
            "price page.",
        ),
    )


def _job(model: RemoteModel, job: FineTuningJob) -> None:
    key = widget_key(job.id)
    with st.container(horizontal=True, vertical_alignment="center", key=f"job_{key}"):
        state_of_it = plain(job.state.replace("_", " "))
        badge = _BADGES.get(job.state, f":blue-badge[:material/hourglass_top: {state_of_it}]")
        made = f"  \n:small[answers as {plain(job.made)}]" if job.made else ""
        failed = f"  \n:red[{plain(job.error)}]" if job.error else ""
        st.markdown(
            f"{badge} {plain(job.base)} :gray[{_facts(model, job)}]{made}{failed}",
            width="stretch",
        )
        if not job.is_over:
            with st.popover("Cancel", icon=":material/stop:", key=f"stop_{key}"):
                st.markdown("Stop this job? What it trained so far is paid for.")
                st.button(
                    "Stop it",
                    key=f"really_stop_{key}",
                    type="primary",
                    on_click=_cancel,
                    args=(model, job.id),
                )


def _facts(model: RemoteModel, job: FineTuningJob) -> str:
    facts = [f"{job.created_at:%Y-%m-%d %H:%M} UTC"]
    if job.trained_tokens:
        facts.append(f"{job.trained_tokens:,} tokens")
        price = training_price_per_million(_host(model), job.base)
        if price is not None:
            facts.append(f"about \\${job.trained_tokens * price / MILLION:,.2f}")
    return " · ".join(facts)


def _start(model: RemoteModel, plan: Plan) -> None:
    examples = fine_tuning.lines(plan.chats, system_prompt())
    _do(
        lambda: fine_tuning.start(
            model.endpoint(), examples, name=plan.name, epochs=plan.epochs, seed=plan.seed
        ),
        "The job is started. Its model appears among the adapters when it is finished.",
    )
    _forget_jobs(model)


def _cancel(model: RemoteModel, job_id: str) -> None:
    _do(lambda: fine_tuning.cancel(model.endpoint(), job_id), "The job is stopped.")
    _forget_jobs(model)


def _jobs(model: RemoteModel) -> tuple[Sequence[FineTuningJob], str]:
    """What the server says of its jobs, asked once until it is looked at again."""
    known = st.session_state.setdefault(_JOBS, {})
    if model.name not in known:
        try:
            with st.spinner("Asking the server for its jobs …"):
                known[model.name] = asyncio.run(fine_tuning.jobs(model.endpoint())), ""
        except TriptychError as error:
            known[model.name] = (), str(error)
    jobs, problem = known[model.name]
    return jobs, problem


def _forget_jobs(model: RemoteModel) -> None:
    st.session_state.get(_JOBS, {}).pop(model.name, None)
    model.forget_listing()  # a finished job's model is a new adapter


# --- adapters ----------------------------------------------------------------------------------


def _adapters(model: RemoteModel) -> None:
    with st.container(border=True, key="server_adapters"):
        st.markdown("**Adapters it answers with**")
        try:
            names = model.adapter_names()
        except TriptychError as error:
            st.error(plain(str(error)), icon=":material/error:")
            return
        for name in names:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f":material/tune: {plain(name)}", width="stretch")
                st.button(
                    "Unload",
                    key=f"unload_{widget_key(name)}",
                    type="tertiary",
                    icon=":material/eject:",
                    on_click=_unload,
                    args=(model, name),
                )
        if not names:
            st.caption("It lists none.")
        with st.form("server_load", border=False):
            left, right = st.columns(2)
            left.text_input("Name", key="server_load_name", max_chars=60)
            right.text_input(
                "Folder or repository",
                key="server_load_path",
                max_chars=300,
                help="A folder of PEFT weights as the server sees it, or a repository that it may "
                "fetch from. Nothing is uploaded.",
            )
            st.form_submit_button(
                "Load",
                key="server_load_submit",
                icon=":material/input:",
                on_click=_load,
                args=(model,),
            )


def _load(model: RemoteModel) -> None:
    name = str(st.session_state["server_load_name"]).strip()
    path = str(st.session_state["server_load_path"]).strip()

    if not name or not path:
        st.session_state[_SAID] = ("An adapter needs a name and a place. Enter both.", True)
        return
    _do(
        lambda: loras.load(model.endpoint(), name, path),
        f"The server has loaded {name}; it is among the adapters of the chat.",
    )
    model.forget_listing()


def _unload(model: RemoteModel, name: str) -> None:
    _do(lambda: loras.unload(model.endpoint(), name), f"The server has let go of {name}.")
    model.forget_listing()


# --- both --------------------------------------------------------------------------------------


def _do(work: Callable[[], Coroutine[Any, Any, T]], done: str) -> None:
    """Ask the server for something, and keep what came of it for the next drawing."""
    try:
        asyncio.run(work())
        st.session_state[_SAID] = (done, False)
    except TriptychError as error:
        st.session_state[_SAID] = (str(error), True)


def _say_what_happened() -> None:
    said, failed = st.session_state.pop(_SAID, ("", False))
    if failed:
        st.error(plain(said), icon=":material/error:")
    elif said:
        st.success(plain(said), icon=":material/check:")


def _host(model: RemoteModel) -> str:
    return urlsplit(model.origin.address).hostname or ""
