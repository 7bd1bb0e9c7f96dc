"""One adapter as a card: whether it may answer, its numbers, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import streamlit as st

from bot.errors import AdapterError
from bot.evidence.offers import Offer
from bot.evidence.parity import Parity
from bot.tuning import report as reports
from bot.tuning.adapters import Adapter
from bot.tuning.parcel import Kind, file_name
from bot.tuning.report import TrainingReport
from bot.ui.text import plain
from bot.ui.training_words import moment, percent
from bot.ui.verdict import kept, share

_STATES = {
    "offered": ("green", ":material/check:", "answers"),
    "checking": ("blue", ":material/fact_check:", "checking"),
    "refused": ("red", ":material/block:", "does not answer"),
    "unchecked": ("orange", ":material/help:", "not checked"),
    "damaged": ("red", ":material/broken_image:", "damaged"),
}
_DOWNLOADS: tuple[tuple[Kind, str, str, str], ...] = (
    ("peft", "PEFT folder", "application/zip", "For Python: what PEFT loads, in a zip."),
    ("lora", "GGUF LoRA", "application/octet-stream", "For llama.cpp, beside the base's file."),
    (
        "merged",
        "Merged GGUF",
        "application/octet-stream",
        "Base and adapter in one file in 16 bits, for llama.cpp, Ollama and LM Studio. It is "
        "large, and takes a while to make.",
    ),
)


@dataclass(frozen=True, slots=True)
class Actions:
    """What the buttons of a card do; they receive the adapter's name."""

    ask: Callable[[str], None]
    check: Callable[[str], None]
    delete: Callable[[str], None]
    download: Callable[[str, Kind], Callable[[], bytes]]


def card(offer: Offer, actions: Actions) -> None:
    """Draw an adapter."""
    with st.container(key=f"adapter_card_{offer.name}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":blue[:material/tune:] **{plain(offer.name)}** &nbsp; {badge(offer)}")
            if offer.adapter:
                st.markdown(f":small[:gray[{origin(offer.adapter)}]]", width="content")
        if offer.adapter:
            _figures(offer.adapter)
        if offer.state == "offered" and offer.parity:
            st.markdown(f":small[:gray[{proof(offer.parity)}]]")
        elif offer.reason:
            sign = st.error if offer.state in ("refused", "damaged") else st.warning
            sign(plain(offer.reason), icon=":material/info:")
        _foot(offer, actions)


def badge(offer: Offer) -> str:
    """The state of an adapter, as Markdown."""
    colour, icon, word = _STATES[offer.state]
    return f":{colour}-badge[{icon} {word}]"


def origin(adapter: Adapter) -> str:
    """Where an adapter comes from, in a line."""
    recipe = adapter.recipe
    made = (
        f"imported · rank {recipe.rank}"
        if adapter.imported
        else f"rank {recipe.rank}, {recipe.epochs} passes"
    )
    return f"{made} · {adapter.size_bytes / 1e6:.1f} MB · {moment(adapter.created_at)}"


def proof(parity: Parity) -> str:
    """What the parity gate found, in a sentence."""
    return (
        f"Served as it was trained: {parity.answers_equal} of {parity.answers} answers are PEFT's "
        f"to the last token, {parity.merged_answers_equal} when merged with its base; "
        f"probabilities differ by {parity.mean_logprob_difference:.2f} and "
        f"{parity.merged_mean_logprob_difference:.3f} nats, as rounding does."
    )


def numbers(adapter: Adapter) -> dict[str, str]:
    """What its training measured, ready to be shown; a dash where nothing was."""
    report: TrainingReport | None = None
    with suppress(AdapterError):
        report = reports.load(adapter.folder)
    if report is None:
        return dict.fromkeys(("Learnt phrasings", "Unseen phrasings", "Unrelated kept"), "–")
    learnt = share(report.trained_correct, report.trained_asked)
    unseen = share(report.unseen_correct, report.unseen_asked)
    return {
        "Learnt phrasings": percent(learnt) if report.trained_asked else "–",
        "Unseen phrasings": percent(unseen) if report.unseen_asked else "–",
        "Unrelated kept": percent(kept(report)) if report.unrelated_before else "–",
    }


def _figures(adapter: Adapter) -> None:
    shown = numbers(adapter)
    if set(shown.values()) == {"–"}:
        return
    with st.grid(3, min_column_width=150, key=f"adapter_figures_{adapter.name}"):
        for label, value in shown.items():
            st.metric(label, value)


def _foot(offer: Offer, actions: Actions) -> None:
    name = offer.name
    with st.container(key=f"adapter_foot_{name}", horizontal=True):
        if offer.state == "offered":
            _button("Ask it", "forum", name, actions.ask, kind="primary")
        elif offer.state in ("refused", "unchecked"):
            label = "Check again" if offer.state == "refused" else "Check it"
            _button(label, "fact_check", name, actions.check, kind="primary")
        if offer.adapter and offer.state != "checking":
            with st.popover("Download", key=f"download_{name}", icon=":material/download:"):
                for kind, label, mime, explained in _DOWNLOADS:
                    st.download_button(
                        label,
                        data=actions.download(name, kind),
                        file_name=file_name(name, kind),
                        mime=mime,
                        key=f"download_{kind}_{name}",
                        help=explained,
                        icon=":material/download:",
                        on_click="ignore",
                        width="stretch",
                    )
        if offer.state != "checking":
            with st.popover("Delete", key=f"delete_{name}", icon=":material/delete:"):
                st.markdown(f"Delete **{plain(name)}** for good?")
                _button("Delete it", "delete_forever", name, actions.delete, kind="primary")


def _button(
    label: str, icon: str, name: str, does: Callable[[str], None], *, kind: str = "secondary"
) -> None:
    key = f"adapter_{icon}_{name}"
    st.button(
        label,
        key=key,
        icon=f":material/{icon}:",
        type="primary" if kind == "primary" else "secondary",
        on_click=does,
        args=(name,),
    )


def differences(adapters: Iterable[Adapter]) -> list[dict[str, str]]:
    """A row for each value of the recipes that is not the same in all, one column an adapter."""
    found = list(adapters)
    rows = []
    for name in found[0].recipe.__dataclass_fields__ if found else ():
        if name in ("base_sha256", "examples_sha256"):
            continue
        values = [_value(getattr(one.recipe, name)) for one in found]
        if len(set(values)) > 1:
            labels = {one.name: value for one, value in zip(found, values, strict=True)}
            rows.append({"": name.replace("_", " "), **labels})
    return rows


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
