"""The fine-tuning page: its tabs, of which only the open one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bot.services import Services
from bot.settings import read_settings
from bot.testing import ScriptedModel
from bot.ui import tuning
from bot.ui.tuning import Tab
from tests.scripted_services import scripted_services

Opens = Callable[[], AppTest]


def show_page(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself.

    A visit to another page in between is what `elsewhere` stands for.
    """
    import streamlit as st

    from bot.ui import tuning

    if not st.session_state.get("elsewhere"):
        tuning.page(services)


@pytest.fixture
def tuning_page(tmp_path: Path) -> Iterator[Opens]:
    """Opens the page over a scripted model."""
    with ExitStack() as stack:

        def open_page() -> AppTest:
            model = stack.enter_context(ScriptedModel())
            settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "docs")
            services = scripted_services(settings, model)
            stack.callback(services.close)
            return AppTest.from_function(show_page, args=(services,), default_timeout=20)

        yield open_page


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tabs that were drawn, in the order in which they were."""
    said: list[str] = []

    def tab(title: str) -> Tab:
        def draw(_: Services) -> None:
            said.append(title)

        return Tab(title, draw)

    monkeypatch.setattr(tuning, "TABS", (tab("Examples"), tab("Training")))
    return said


def test_only_the_open_tab_is_drawn(tuning_page: Opens, drawn: list[str]) -> None:
    page = tuning_page().run()
    assert not page.exception
    assert drawn == ["Examples"]
    page.session_state["tab"] = "Training"
    page.run()
    assert drawn == ["Examples", "Training"]


def test_the_address_opens_a_tab(tuning_page: Opens, drawn: list[str]) -> None:
    page = tuning_page()
    page.query_params["tab"] = "Training"
    page.run()
    assert drawn == ["Training"]


def test_the_open_tab_is_kept_during_a_visit_to_another_page(
    tuning_page: Opens, drawn: list[str]
) -> None:
    page = tuning_page().run()
    page.session_state["tab"] = "Training"
    page.run()
    page.session_state["elsewhere"] = True
    page.run()
    del page.session_state["tab"]  # as Streamlit does with widgets that are not drawn
    page.query_params.clear()
    page.session_state["elsewhere"] = False
    page.run()
    assert not page.exception
    assert drawn[-1] == "Training"


def test_a_tab_can_be_asked_for(tuning_page: Opens, drawn: list[str]) -> None:
    page = tuning_page().run()
    page.session_state["_tuning_next_tab"] = "Training"
    page.run()
    page.run()
    assert drawn == ["Examples", "Training", "Training"]
