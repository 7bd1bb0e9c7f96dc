"""One training as a card: live while it runs, and afterwards what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from bot.evidence.offers import Offer
from bot.evidence.parity import Parity
from bot.tuning.trainings import Training
from bot.ui import training_chart, training_words
from bot.ui.text import plain
from bot.ui.training_words import percent
from bot.ui.verdict import Finding, kept, share, verdict

_TONES = {
    "good": ":green[:material/check_circle:]",
    "fair": ":orange[:material/info:]",
    "bad": ":red[:material/error:]",
    "note": ":gray[:material/info:]",
}


@dataclass(frozen=True, slots=True)
class Actions:
    """What the buttons of a card do; they receive the training.

    Args:
        compare: receives another adapter's name as well.
        others: the adapters that its own can be compared with.
        put_aside: takes an ended training from the top of the page; None where it is not there.
        offer: its adapter, and whether it may answer; None when it was deleted.
    """

    cancel: Callable[[Training], None]
    resume: Callable[[Training], None]
    remove: Callable[[Training], None]
    ask: Callable[[Training], None]
    compare: Callable[[Training, str], None]
    others: Callable[[Training], Sequence[str]]
    put_aside: Callable[[Training], None] | None
    offer: Callable[[Training], Offer | None]


def card(training: Training, actions: Actions, said: str = "", *, has_heading: bool = True) -> None:
    """Draw a training.

    Args:
        said: why the last click on this card came to nothing; empty otherwise.
        has_heading: whether its name and its state stand above it.
    """
    with st.container(key=f"training_card_{training.id}"):
        if has_heading:
            _head(training)
        else:
            st.markdown(f":small[:gray[{_origin(training)}]]")
        match training.state:
            case "queued":
                _queued(training)
            case "running" | "checking":
                _under_way(training)
            case _:
                _ended(training)
        if said:
            st.error(plain(said), icon=":material/error:")
        _foot(training, actions)


def _head(training: Training) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f":blue[:material/tune:] **{plain(training.name)}** &nbsp;"
            f" {training_words.badge(training)}",
            width="content",
        )
        st.markdown(f":small[:gray[{_origin(training)}]]", width="content")


def _origin(training: Training) -> str:
    recipe, examples = training.recipe, training.examples
    folds = f" · {recipe.folds} folds" if recipe.folds else ""
    return (
        f"{examples:,} {'example' if examples == 1 else 'examples'} · "
        f"rank {recipe.rank}, {recipe.epochs} passes{folds} · "
        f"{training_words.moment(training.created_at)}"
    )


def _queued(training: Training) -> None:
    before = "Another training comes" if training.place == 1 else f"{training.place} trainings come"
    if training.place:
        st.markdown(f"{before} first: one is carried out at a time.")
    else:
        st.markdown("It begins in a moment.")


# --- under way ---------------------------------------------------------------------------------


def _under_way(training: Training) -> None:
    st.progress(training_words.share_done(training), text=_where(training))
    _figures(training)
    _charts(training)


def _where(training: Training) -> str:
    if training.state == "checking":
        return "Now it is checked that what will be served answers as what was trained …"
    if not training.steps:
        return "Reading the model and the examples …"
    last = training.steps[-1]
    if last.step == last.steps and not last.fold:
        return "Trained. Now it is measured what it knows …"
    fold = f"cross-validation {last.fold} of {training.recipe.folds} · " if last.fold else ""
    said = f"{fold}pass {last.epoch} of {training.recipe.epochs} · step {last.step} of {last.steps}"
    return f"{said[0].upper()}{said[1:]}"


def _figures(training: Training) -> None:
    last_step = training.steps[-1] if training.steps else None
    measured = training.evaluations[-1] if training.evaluations else None
    unseen = (
        "–"
        if measured is None or not measured.asked
        else (f"{measured.correct} of {measured.asked}")
    )
    with st.grid(4, min_column_width=120, key=f"training_figures_{training.id}"):
        st.metric(
            "Unseen phrasings right",
            unseen,
            help="Held-out questions that it answers word for word, measured after each pass.",
        )
        st.metric("Loss", f"{last_step.loss:.3f}" if last_step else "–", help=_LOSS)
        st.metric("Tokens per second", f"{last_step.tokens_per_second:,.0f}" if last_step else "–")
        st.metric("Time left", training_words.time_left(training).removesuffix(" left") or "–")


_LOSS = "How surprised the model is by the answers it is to learn, in nats a token: 0 is perfect."


def _charts(training: Training) -> None:
    if not training.steps:
        return
    steps = max(one.steps for one in training.steps)
    rows = training_chart.loss_rows(training.steps, training.evaluations)
    if training.report is not None:
        rows += training_chart.kept_rows(training.report.best_step, training.evaluations)
    shares = training_chart.share_rows(training.evaluations)
    with st.grid(2, min_column_width=300, key=f"training_charts_{training.id}"):
        _chart(rows, training_chart.loss_chart(steps), f"loss_{training.id}")
        if training.recipe.validation_share or training.recipe.folds:
            _chart(shares, training_chart.share_chart(steps), f"share_{training.id}")


def _chart(rows: list[training_chart.Row], chart: dict[str, Any], key: str) -> None:
    st.vega_lite_chart(rows, chart, height=230, key=key)


# --- ended -------------------------------------------------------------------------------------


def _ended(training: Training) -> None:
    if training.error:
        sign = st.error if training.state == "failed" else st.warning
        sign(plain(training.error), icon=":material/error:")
    if training.report is None:
        if training.state == "cancelled":
            st.markdown("It was stopped before there was anything worth keeping.")
        _charts(training)
        return
    _accuracies(training)
    findings = verdict(training.report, training.evaluations)
    st.markdown("  \n".join(map(_line, findings)))
    _charts(training)
    st.markdown(f":small[:gray[{_cost(training)}]]")


def _line(finding: Finding) -> str:
    return f"{_TONES[finding.tone]} {finding.sentence}"


def _accuracies(training: Training) -> None:
    report = training.report
    assert report is not None
    learnt = share(report.trained_correct, report.trained_asked)
    unseen = share(report.unseen_correct, report.unseen_asked)
    with st.grid(3, min_column_width=150, key=f"training_figures_{training.id}"):
        st.metric(
            "Learnt phrasings",
            percent(learnt) if report.trained_asked else "–",
            help=f"{report.trained_correct} of {report.trained_asked} answered word for word.",
        )
        st.metric(
            "Unseen phrasings",
            percent(unseen) if report.unseen_asked else "–",
            help=f"{report.unseen_correct} of {report.unseen_asked} answered word for word.",
        )
        st.metric(
            "Unrelated answers kept",
            percent(kept(report)) if report.unrelated_before else "–",
            help="How much of what the model said to unrelated questions before the training "
            "it would still say.",
        )


def _cost(training: Training) -> str:
    report = training.report
    assert report is not None
    return (
        f"{training_words.duration(report.seconds)} · "
        f"{report.tokens_per_second:,.0f} tokens per second · "
        f"{report.peak_memory_bytes / 1e9:.1f} GB of memory · step {report.best_step} is kept"
    )


# --- buttons -----------------------------------------------------------------------------------


def _foot(training: Training, actions: Actions) -> None:
    made = training.state == "done" or training.report is not None
    found = actions.offer(training) if made else None
    if found is not None and found.parity is not None and found.parity.passed:
        st.markdown(f"{_TONES['good']} {_proof(found.parity)}")
    with st.container(key=f"training_foot_{training.id}", horizontal=True):
        if training.active:
            _cancel(training, actions)
            return
        if made:
            _adapter_buttons(training, found, actions)
        if training.resumable:
            _button(training, "Resume", "play_arrow", actions.resume, kind="primary")
        _button(training, "Remove from the list", "delete", actions.remove)
        if actions.put_aside is not None:
            _button(training, "Put aside", "close", actions.put_aside)


def _cancel(training: Training, actions: Actions) -> None:
    if training.state == "checking":
        return
    label = "Stop and keep the best so far" if training.evaluations else "Stop"
    _button(training, label, "stop_circle", actions.cancel, kind="secondary")


def _proof(parity: Parity) -> str:
    """What the parity gate found, in a sentence."""
    return (
        f"What is served is what was trained: {parity.answers_equal} of {parity.answers} answers "
        "are the same to the last token, and the probabilities differ by "
        f"{parity.mean_logprob_difference:.2f} nats on average, as rounding does."
    )


def _adapter_buttons(training: Training, found: Offer | None, actions: Actions) -> None:
    if found is None:
        st.markdown(":orange[:material/warning: Its adapter was deleted.]", width="stretch")
    elif found.state != "offered":
        st.markdown(f":orange[:material/warning: {plain(found.reason)}]", width="stretch")
    else:
        _button(training, "Ask it", "forum", actions.ask, kind="primary")
        _compare(training, actions)


def _compare(training: Training, actions: Actions) -> None:
    """Another adapter to be asked beside this one."""
    others = actions.others(training)
    if not others:
        return
    key = f"training_compare_{training.id}"
    with st.popover("Compare", key=key, icon=":material/compare_arrows:"):
        st.markdown(f"Ask **{plain(training.name)}** and another adapter, side by side:")
        for place, name in enumerate(others):
            if st.button(
                plain(name), key=f"{key}_{place}", type="tertiary", icon=":material/tune:"
            ):
                actions.compare(training, name)


def _button(
    training: Training,
    label: str,
    icon: str,
    does: Callable[[Training], None],
    kind: Literal["primary", "secondary", "tertiary"] = "tertiary",
) -> None:
    key = f"training_{icon}_{training.id}"
    if st.button(label, key=key, icon=f":material/{icon}:", type=kind):
        does(training)
