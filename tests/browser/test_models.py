"""The model page and the choice of models in a real browser, over scripted servers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from bot.testing import PROFILE, Reply, ScriptedModel
from tests.browser import visiting
from tests.browser.conftest import running_app
from tests.browser.visiting import RunningApp, open_app, open_menu

LINE_SECONDS = 20
ONLY_PROMPT = "&".join(f"use-{name}=false" for name in ("few-shot", "rag", "adapter", "hybrid"))


@pytest.fixture
def other() -> Iterator[ScriptedModel]:
    """A second model server, of which the app knows nothing."""
    profile = replace(PROFILE, context_tokens=2048)
    reply = Reply("The other server greets you.", tokens_per_second=20)
    with ScriptedModel(always=reply, name="large", profile=profile) as model:
        yield model


def choose(page: Page, place: Locator, option: str) -> None:
    """Choose an option of a menu."""
    open_menu(place.get_by_role("combobox"))
    page.get_by_role("option", name=option, exact=True).click()


def open_models(page: Page, app: RunningApp) -> None:
    """Go to the model page as a visitor does, by the navigation."""
    open_app(page, app.url)
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()


def fill_in(page: Page, name: str, server: ScriptedModel) -> Locator:
    """The form of a new model on the model page, with a server's name and address."""
    form = page.locator(".st-key-model_add")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Address").fill(server.endpoint().base_url)
    form.get_by_label("Address").press("Enter")
    expect(form.get_by_role("combobox")).to_have_value(server.name)  # the only one that it lists
    return form


def model_card(page: Page, name: str) -> Locator:
    """A model on the model page."""
    return page.locator('[class*="st-key-model_card_"]', has_text=name)


def remove(page: Page, app: RunningApp, name: str) -> None:
    """Remove a model on the model page."""
    open_models(page, app)
    model_card(page, name).get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(model_card(page, name)).to_have_count(0)


class Line:
    """What the app says to a page; it can be held back for a while."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._held: list[tuple[WebSocketRoute, str | bytes]] = []
        self._holding = False
        self._ends = 0
        page.route_web_socket(re.compile("/_stcore/stream"), self._connect)

    def hold(self) -> None:
        """From now on the page hears nothing."""
        self._holding = True

    def wait_for_ends(self, runs: int) -> None:
        """Until the app has said, unheard so far, that this many runs of its script ended."""
        given_up = time.monotonic() + LINE_SECONDS
        while self._ends < runs:
            assert time.monotonic() < given_up, f"{self._ends} runs ended"
            self._page.evaluate("() => new Promise(requestAnimationFrame)")

    def release(self) -> None:
        """Let the page hear all that was held back, and what follows."""
        self._holding = False
        for browser, message in self._held:
            browser.send(message)
        self._held.clear()

    def _connect(self, browser: WebSocketRoute) -> None:
        browser.connect_to_server().on_message(lambda message: self._hear(browser, message))

    def _hear(self, browser: WebSocketRoute, message: str | bytes) -> None:
        if not self._holding:
            browser.send(message)
            return
        self._held.append((browser, message))
        if isinstance(message, bytes):
            self._ends += ForwardMsg.FromString(message).WhichOneof("type") == "script_finished"


def ask(page: Page, question: str) -> None:
    """Ask, and wait until the question is the newest one: until then `newest` is another's."""
    visiting.ask(page, question)
    expect(page.locator('[class*="st-key-asked-"]').last).to_contain_text(question)


def newest(page: Page) -> Locator:
    """The cards of the newest turn."""
    return page.locator('[class*="st-key-cards-"]').last.locator('[class*="st-key-card-prompt-"]')


def test_a_server_is_added_greeted_chosen_compared_and_removed(
    page: Page, scripted_app: RunningApp, other: ScriptedModel
) -> None:
    open_models(page, scripted_app)
    form = fill_in(page, "Lab server", other)
    form.get_by_role("spinbutton", name="Price, read").fill("1")
    form.get_by_role("spinbutton", name="Price, written").fill("2.5")
    form.get_by_role("spinbutton", name="Price, written").press("Tab")
    form.get_by_role("button", name="Add", exact=True).click()

    added = model_card(page, "Lab server")
    expect(added.get_by_text("answers", exact=False).first).to_be_visible()
    expect(added).to_contain_text("2,048 tokens of context")
    expect(added).to_contain_text("$1.00 for a million tokens read, $2.50 written")
    expect(added).to_contain_text("The key in TRIPTYCH_KEY_127_0_0_1 is sent.")
    added.get_by_role("button", name="Say hello").click()
    expect(added).to_contain_text("The other server greets you.")
    expect(added).to_contain_text("s first")

    open_app(page, f"{scripted_app.url}/?length=16&{ONLY_PROMPT}")
    choose(page, page.locator(".st-key-model"), "Lab server")
    ask(page, "Who are you?")
    expect(newest(page)).to_contain_text("The other server greets you.")
    expect(newest(page)).to_contain_text("Lab server")
    expect(newest(page)).to_contain_text(re.compile(r"\$0\.0\d\d\d|< \$0\.0001"))

    choose(page, page.locator(".st-key-compare"), "scripted")
    page.keyboard.press("Escape")
    ask(page, "And both of you?")
    expect(newest(page)).to_have_count(2)
    expect(newest(page).nth(0)).to_contain_text("The other server greets you.")
    expect(newest(page).nth(1)).to_contain_text("The kiln warms slowly")
    expect(newest(page).nth(1)).to_contain_text("free, on this machine")
    first, second = (newest(page).nth(number).bounding_box() for number in (0, 1))
    assert first and second and first["y"] == second["y"] and first["x"] < second["x"]

    choose(page, page.locator(".st-key-model"), "scripted")
    ask(page, "Back again?")
    expect(newest(page)).to_have_count(1)
    expect(newest(page)).to_contain_text("The kiln warms slowly")
    expect(page).not_to_have_url(re.compile("compare="))  # a model is not compared with itself

    remove(page, scripted_app, "Lab server")


def test_a_question_sent_before_the_browser_heard_what_came_of_a_choice(
    page: Page, scripted_app: RunningApp, other: ScriptedModel
) -> None:
    """It still says that the model is compared with itself, and so does its address."""
    line = Line(page)
    open_models(page, scripted_app)
    fill_in(page, "Far server", other).get_by_role("button", name="Add", exact=True).click()
    expect(model_card(page, "Far server")).to_contain_text("answers")
    open_app(page, f"{scripted_app.url}/?length=16&{ONLY_PROMPT}&model=Far+server&compare=scripted")
    ask(page, "Are you both there?")
    expect(newest(page)).to_have_count(2)
    expect(newest(page).nth(0)).to_contain_text("done")
    expect(newest(page).nth(1)).to_contain_text("done")

    line.hold()
    choose(page, page.locator(".st-key-model"), "scripted")
    line.wait_for_ends(1)
    visiting.ask(page, "And you alone?")
    line.wait_for_ends(2)
    line.release()
    expect(page.locator('[class*="st-key-asked-"]').last).to_contain_text("And you alone?")
    expect(newest(page)).to_have_count(1)
    expect(newest(page)).to_contain_text("The kiln warms slowly")
    expect(page).not_to_have_url(re.compile("compare="))
    remove(page, scripted_app, "Far server")


def test_a_server_that_dies_fails_in_its_own_column_and_is_tried_again(
    page: Page, scripted_app: RunningApp
) -> None:
    reply = Reply("one two three four", cut_at=2)
    dying = ScriptedModel([reply], Reply("All is well."), name="dying")
    with dying:
        open_models(page, scripted_app)
        fill_in(page, "Dying", dying).get_by_role("button", name="Add", exact=True).click()
        expect(model_card(page, "Dying")).to_contain_text("does not answer")

        dying._left.append(reply)
        open_app(page, f"{scripted_app.url}/?length=16&{ONLY_PROMPT}")
        choose(page, page.locator(".st-key-compare"), "Dying")
        page.keyboard.press("Escape")
        ask(page, "How are you?")
        expect(newest(page).nth(0)).to_contain_text("done")
        failed = newest(page).nth(1)
        expect(failed).to_contain_text("failed")
        expect(failed).to_contain_text("one two")
        expect(page.locator("body")).not_to_contain_text("Traceback")
        failed.get_by_role("button", name="Retry").click()
        expect(newest(page).nth(1)).to_contain_text("All is well.")
        remove(page, scripted_app, "Dying")


def test_adapters_of_a_slow_server_are_offered_as_soon_as_they_are_known(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "knowledge").mkdir()
    with running_app(Path(__file__).with_name("slow_adapters_app.py"), tmp_path) as app:
        open_app(page, app.url)
        switch = page.get_by_role("switch", name=re.compile("Adapter"))
        expect(switch).to_be_disabled()
        (app.data_dir / "listed").touch()
        expect(switch).to_be_enabled()
        expect(switch).to_be_checked()
