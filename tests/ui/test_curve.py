"""The learning-curve tab: what it offers, shows while it measures, and shows again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from streamlit.testing.v1 import AppTest

from bot.evidence.curve import Curve, Point
from bot.evidence.curves import Curves
from bot.messages import Message
from bot.records.examples import create_set
from bot.settings import read_settings
from bot.testing import ScriptedModel
from bot.tuning.examples import Example
from bot.tuning.sets import add_examples
from bot.tuning.trainings import Trainings
from bot.ui import curve_chart
from tests.scripted_services import ScriptedServices, scripted_services

DONE = Curve(
    id="20261121-090000-000001",
    title="kilns <b>set</b>",
    examples=40,
    asked=10,
    sizes=(8, 15, 23, 30),
    created_at="2026-11-21T09:00:00+00:00",
    points=(Point(8, 2), Point(15, 4), Point(23, 8), Point(30, 9)),
    rivals={"few-shot": 0, "rag": 6},
    state="done",
    seconds=300.0,
)
EXAMPLES = [
    Example((Message("user", f"Price of K{n}?"), Message("assistant", f"It costs {n // 2}.")))
    for n in range(40)
]


def show_tab(services) -> None:  # type: ignore[no-untyped-def]
    from bot.ui import curve

    curve.tab(services)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[ScriptedServices]:
    with ExitStack() as stack:
        model = stack.enter_context(ScriptedModel())
        settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "docs")
        made = scripted_services(settings, model)
        stack.callback(made.close)
        yield made


def opened(services: ScriptedServices) -> AppTest:
    page = AppTest.from_function(show_tab, args=(services,), default_timeout=20).run()
    assert not page.exception
    return page


def keep(services: ScriptedServices, *curves: Curve) -> None:
    folder = services.settings.data_dir / "curves"
    folder.mkdir(parents=True)
    for one in curves:
        (folder / f"{one.id}.json").write_text(one.as_json(), encoding="utf-8")


def said(page: AppTest) -> str:
    text = "\n".join(str(one.value) for one in (*page.markdown, *page.error, *page.warning))
    assert "<b>" not in text
    return text.replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")


def test_without_examples_it_says_where_to_get_some(services: ScriptedServices) -> None:
    page = opened(services)
    assert "There are no examples to learn from yet." in said(page)
    assert not page.button


def test_a_kept_curve_is_shown_with_its_verdict_its_figures_and_the_judge(
    services: ScriptedServices,
) -> None:
    keep(services, DONE)
    text = said(opened(services))

    assert "Fine-tuning pays from about 19 examples on" in text
    assert "| 30 examples | 9 of 10 | **90 %** | 60–98 % |" in text
    assert "| RAG | 6 of 10 | **60 %** |" in text
    assert "An answer is right when" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"state": "failed", "error": "The disk is full. Make room."},
            "The disk is full. Make room.",
        ),
        ({"state": "interrupted"}, "Triptych ended before it was done."),
        ({"state": "cancelled", "points": DONE.points[:1]}, "stopped"),
    ],
)
def test_a_curve_that_ended_early_says_why_and_keeps_its_points(
    services: ScriptedServices, change: dict[str, object], words: str
) -> None:
    keep(services, replace(DONE, **change))  # type: ignore[arg-type]
    text = said(opened(services))
    assert words in text
    assert "| 8 examples |" in text


def test_earlier_curves_are_listed_and_can_be_removed(services: ScriptedServices) -> None:
    keep(services, DONE, replace(DONE, id="20261121-100000-000001", title="newer"))
    page = opened(services)
    assert [one.label.split(" ")[0] for one in page.expander] == ["kilns"]

    page.button(key="curve_remove_20261121-100000-000001").click().run()
    assert [one.id for one in services.curves.all()] == [DONE.id]
    assert not page.expander


def test_one_button_measures_a_curve_which_can_be_cancelled(
    services: ScriptedServices, tmp_path: Path
) -> None:
    asked, may_go = Event(), Event()

    def ask(strategy: str, adapter: Path | None, question: str) -> str:
        asked.set()
        assert may_go.wait(60)
        return "It costs 1."

    trainings = Trainings(
        tmp_path / "trainings",
        tmp_path / "curves" / "adapters",
        base=lambda _: Path("/base.gguf"),
        check=lambda _: None,
    )
    services._curves = Curves(tmp_path / "curves", trainings, ask)
    add_examples(services.engine, create_set(services.engine, "kilns"), EXAMPLES, "upload")
    page = opened(services)
    assert "10 phrasings are asked, after learning 8, 15, 23, 30 examples." in said(page)
    assert "on this machine" in said(page)

    page.button(key="curve_start").click().run()
    assert asked.wait(60)
    page.run()
    (curve,) = services.curves.all()
    assert (curve.title, curve.state) == ("kilns", "running")
    assert not [one for one in page.button if one.key == "curve_start"]

    page.button(key=f"curve_cancel_{curve.id}").click().run()
    may_go.set()
    assert services.curves.wait(60)
    assert "stopped" in said(page.run())
    assert page.button(key="curve_start")
    trainings.close()


def test_a_set_that_is_too_small_says_so(services: ScriptedServices) -> None:
    add_examples(services.engine, create_set(services.engine, "kilns"), EXAMPLES[:5], "upload")
    page = opened(services)
    assert "at least 8 examples; there are 5" in said(page)
    assert page.button(key="curve_start").disabled


def test_the_chart_has_points_with_intervals_and_a_line_for_each_rival() -> None:
    rows = curve_chart.rows(DONE)
    adapter = [row for row in rows if row["kind"] == "Adapter"]
    assert [(row["examples"], row["share"]) for row in adapter] == [
        (8, 0.2),
        (15, 0.4),
        (23, 0.8),
        (30, 0.9),
    ]
    assert all(float(row["low"]) < float(row["share"]) < float(row["high"]) for row in adapter)
    assert [row["examples"] for row in rows if row["kind"] == "RAG"] == [0, 30]
    assert {row["kind"] for row in rows} == set(curve_chart.COLOURS)
    assert curve_chart.chart(DONE) == curve_chart.chart(replace(DONE, points=()))
    assert curve_chart.rows(replace(DONE, points=(), rivals={})) == []
