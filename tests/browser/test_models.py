"""The model page and the choice of models in a real browser, over scripted servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect

from bot.testing import PROFILE, Reply, ScriptedModel
from tests.browser import visiting
from tests.browser.visiting import RunningApp, open_app, open_menu

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
    form = page.locator(".st-key-model_add")
    form.get_by_label("Name").fill("Lab server")
    form.get_by_label("Address").fill(other.endpoint().base_url)
    form.get_by_label("Address").press("Enter")
    expect(form.get_by_role("combobox")).to_have_value("large")  # the only one that it lists
    form.get_by_role("spinbutton", name="Price, read").fill("1")
    form.get_by_role("spinbutton", name="Price, written").fill("2.5")
    form.get_by_role("spinbutton", name="Price, written").press("Tab")
    form.get_by_role("button", name="Add", exact=True).click()

    added = page.locator('[class*="st-key-model_card_"]', has_text="Lab server")
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

    open_models(page, scripted_app)
    added.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    expect(added).to_have_count(0)


def test_a_server_that_dies_fails_in_its_own_column_and_is_tried_again(
    page: Page, scripted_app: RunningApp
) -> None:
    reply = Reply("one two three four", cut_at=2)
    dying = ScriptedModel([reply], Reply("All is well."), name="dying")
    with dying:
        open_models(page, scripted_app)
        form = page.locator(".st-key-model_add")
        form.get_by_label("Name").fill("Dying")
        form.get_by_label("Address").fill(dying.endpoint().base_url)
        form.get_by_label("Address").press("Enter")
        expect(form.get_by_role("combobox")).to_have_value("dying")
        form.get_by_role("button", name="Add", exact=True).click()
        added = page.locator('[class*="st-key-model_card_"]', has_text="Dying")
        expect(added).to_contain_text("does not answer")

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
        open_models(page, scripted_app)
        added.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Remove it").click()
        expect(added).to_have_count(0)
