"""The learning-curve tab of the fine-tuning page: how many examples before fine-tuning pays."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from bot.chat.prompts import system_prompt
from bot.errors import ExamplesError, TriptychError
from bot.evidence.curve import RIVALS, Curve, expected_seconds, plan, verdict, wilson
from bot.records.examples import example_sets
from bot.services import Services
from bot.tuning import presets
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.sets import approved_examples
from bot.ui import awaited_times, curve_chart, example_menu
from bot.ui.text import plain
from bot.ui.training_words import duration, moment, percent

TICK_SECONDS = 1.0
LISTED = 10

_SET = "curve-set"
_PRESET = "curve-preset"
_STATES = {
    "done": ":green-badge[:material/check: done]",
    "running": ":primary-badge[:material/bolt: measuring]",
    "cancelled": ":gray-badge[:material/stop: stopped]",
    "interrupted": ":orange-badge[:material/link_off: interrupted]",
    "failed": ":red-badge[:material/error: failed]",
}


def tab(services: Services) -> None:
    """Draw the tab."""
    try:
        known = services.curves.all()
        if known and known[0].state == "running":
            _under_way(services, known[0])
        else:
            _form(services)
            if known:
                _card(services, known[0])
        _earlier(services, known[1:])
    except TriptychError as error:
        st.error(f"{plain(error.message)} {plain(error.cure)}", icon=":material/error:")
        st.button("Try again", key="curves_again", icon=":material/refresh:")


# --- a new curve -------------------------------------------------------------------------------


@st.fragment
def _form(services: Services) -> None:
    with st.container(key="curve_form"):
        _fields(services)


def _fields(services: Services) -> None:
    st.subheader("How many examples before it pays?", anchor=False)
    st.markdown(
        ":gray[Trains on a quarter, a half, three quarters and all of the examples, asks each "
        "adapter the same phrasings that none of them has seen, and asks few-shot and RAG, too.]"
    )
    sets = [one for one in example_sets(services.engine) if one.approved]
    if not sets:
        st.markdown("**There are no examples to learn from yet.** Add some in the Examples tab.")
        return
    with st.grid(2, min_column_width=260, key="curve_what"):
        chosen = example_menu.choose(sets, _SET)
        preset = _preset()
    examples = approved_examples(services.engine, chosen.id)
    recipe = presets.recipe_for(
        preset,
        examples=len(examples),
        system_prompt=system_prompt(),
        base_sha256=services.trainee.identity,
    )
    said, possible = _expectation(services, examples, recipe)
    with st.container(horizontal=True, vertical_alignment="center", key="curve_begin"):
        clicked = st.button(
            "Measure the curve",
            key="curve_start",
            type="primary",
            icon=":material/show_chart:",
            disabled=not possible,
        )
        st.markdown(f":{'gray' if possible else 'orange'}[{plain(said)}]", width="stretch")
    if possible:
        awaited_times.watch(services, examples, [recipe])
    if clicked:
        services.curves.start(examples, recipe, chosen.name)
        st.rerun()


def _preset() -> str:
    by_name = {one.name: one for one in presets.PRESETS}
    return st.selectbox(
        "How thoroughly",
        list(by_name),
        index=list(by_name).index(presets.DEFAULT),
        format_func=lambda one: by_name[one].title,
        key=_PRESET,
        persist_state="session",
    )


def _expectation(
    services: Services, examples: Sequence[Example], recipe: TrainingRecipe
) -> tuple[str, bool]:
    """What will be measured and how long it takes, and whether it can be measured."""
    try:
        planned = plan(examples, recipe.seed)
    except ExamplesError as error:
        return str(error), False
    sizes = ", ".join(str(len(one)) for one in planned.subsets)
    said = f"{len(planned.asked)} phrasings are asked, after learning {sizes} examples."
    found = services.trainings.estimate(examples, recipe)
    if found.seconds is None:
        return f"{said} {found.error or 'Its time is being measured …'}", True
    seconds = expected_seconds(planned, found.seconds)
    return f"{said} About {duration(seconds)} on this machine.", True


# --- one curve ---------------------------------------------------------------------------------


def _under_way(services: Services, first: Curve) -> None:
    def draw() -> None:
        now = services.curves.get(first.id)
        if now.state != "running":
            st.rerun()
        _card(services, now)

    st.fragment(draw, run_every=TICK_SECONDS)()


def _card(services: Services, curve: Curve, *, has_heading: bool = True) -> None:
    with st.container(key=f"curve_card_{curve.id}"):
        if has_heading:
            st.markdown(
                f":blue[:material/show_chart:] **{plain(curve.title)}** &nbsp; "
                f"{_STATES[curve.state]} &nbsp; :small[:gray[{_origin(curve)}]]"
            )
        if curve.state == "running":
            st.progress(_share_done(curve), text=plain(_sentence(curve.doing)))
        if curve.error:
            st.error(plain(curve.error), icon=":material/error:")
        elif curve.state == "interrupted":
            st.warning("Triptych ended before it was done.", icon=":material/link_off:")
        if said := verdict(curve):
            st.markdown(f"**{plain(said)}**")
        if curve.points or curve.rivals:
            st.vega_lite_chart(
                curve_chart.rows(curve),
                curve_chart.chart(curve),
                height=280,
                key=f"curve_{curve.id}",
            )
            st.markdown("\n".join(_figures(curve)))
            st.markdown(f":small[:gray[{_JUDGE}]]")
        _foot(services, curve)


_FIRM = "\N{NO-BREAK SPACE}"
_JUDGE = (
    "An answer is right when it holds the numbers that the example's answer adds to its question, "
    "else its names, else half of its other words. Shaded are 95 % intervals (Wilson)."
)


def _figures(curve: Curve) -> list[str]:
    """A table, line by line."""

    def line(what: str, right: int) -> str:
        low, high = (percent(bound).removesuffix(" %") for bound in wilson(right, curve.asked))
        cells = f"{right} of {curve.asked} | **{percent(right / curve.asked)}** | {low}–{high} %"
        return f"| {what} | {cells.replace(' ', _FIRM).replace(f'{_FIRM}|{_FIRM}', ' | ')} |"

    lines = ["| adapter of … | right | share | 95 % |", "|:--|--:|--:|--:|"]
    lines += [line(f"{one.examples} examples", one.right) for one in curve.points]
    return lines + [line(RIVALS.get(name, name), right) for name, right in curve.rivals.items()]


def _foot(services: Services, curve: Curve) -> None:
    if curve.state == "running":
        if st.button("Cancel", key=f"curve_cancel_{curve.id}", icon=":material/stop:"):
            services.curves.cancel(curve.id)
        return
    if st.button("Remove", key=f"curve_remove_{curve.id}", icon=":material/delete:"):
        services.curves.remove(curve.id)
        st.rerun()


def _origin(curve: Curve) -> str:
    took = f" · took {duration(curve.seconds)}" if curve.state == "done" else ""
    return f"{curve.examples:,} examples · {curve.asked} asked · {moment(curve.created_at)}{took}"


def _share_done(curve: Curve) -> float:
    """How far it is, 0 to 1; a training counts as much as it has examples."""
    done = sum(one.examples for one in curve.points)
    return min(1.0, done / max(1, sum(curve.sizes)))


def _sentence(doing: str) -> str:
    return f"{doing[:1].upper()}{doing[1:]} …"


def _earlier(services: Services, earlier: Sequence[Curve]) -> None:
    if not earlier:
        return
    st.subheader("Earlier curves", anchor=False)
    for one in earlier[:LISTED]:
        label = f"{plain(one.title)} {_STATES[one.state]} :gray[{moment(one.created_at)}]"
        place = st.expander(label, key=f"curve_earlier_{one.id}", on_change="rerun")
        if place.open:
            with place:
                _card(services, one, has_heading=False)
