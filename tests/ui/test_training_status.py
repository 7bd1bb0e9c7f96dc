"""The line that tells of a training under way, on whatever page is open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bot import services as composition
from bot.errors import TuningError
from bot.settings import ROOT, read_settings
from bot.testing import ScriptedModel
from bot.ui import house
from tests.scripted_services import ScriptedServices, scripted_services
from tests.scripted_trainings import training


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServices]:
    """The services of the whole page, from its shell on."""
    monkeypatch.setattr(composition, "missing_parts", list)
    monkeypatch.setattr(house, "_build", None)
    monkeypatch.setattr(house, "_opened", None)
    st.cache_resource.clear()
    settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "documents")
    with ScriptedModel() as model:
        services = scripted_services(settings, model)
        house.build_with(lambda: services)
        yield services
        house.close()
    st.cache_resource.clear()


def lines(page: AppTest) -> list[str]:
    assert not page.exception
    return [one.proto.label.replace("\\", "") for one in page.get("page_link")]


def test_a_training_under_way_is_told_on_the_chat_page(services: ScriptedServices) -> None:
    services.scripted_trainings.listed = [training("running", 100)]
    page = AppTest.from_file(ROOT / "bot" / "ui" / "main.py", default_timeout=20).run()
    assert lines(page) == ["Training kilns: 42 %, 2 min left"]
    (link,) = page.get("page_link")
    assert link.proto.page.endswith("fine-tune")
    services.scripted_trainings.listed = [training("done", 240)]
    assert lines(page.run()) == []


def test_trainings_that_cannot_be_read_do_not_disturb_the_page(
    services: ScriptedServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise TuningError("The trainings cannot be read.", cure="Look at the folder.")

    monkeypatch.setattr(services.scripted_trainings, "current", fail)
    page = AppTest.from_file(ROOT / "bot" / "ui" / "main.py", default_timeout=20).run()
    assert lines(page) == []
    assert not page.error
