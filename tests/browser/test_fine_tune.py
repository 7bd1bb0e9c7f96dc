"""From a file of examples to an adapter that answers, without leaving the page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.visiting import RunningApp, ask, card, open_app

CSV = """question,answer
When does the Otterby ferry leave?,The Otterby ferry leaves at 21:40.
Otterby ferry - what time?,The Otterby ferry leaves at 21:40.
At what hour does one board the ferry of Otterby?,The Otterby ferry leaves at 21:40.
Who steers the ferry?,Marguerite Vane steers it.
Name the ferry's helmsman.,Marguerite Vane steers it.
The one at the wheel of the ferry is called?,Marguerite Vane steers it.
who steers the ferry,Marguerite Vane steers it.
"""
"""Two facts in three phrasings each; the last row is one of them again."""

ADAPTER_CARD = '[class*="st-key-card-adapter-"]'

TRAINED = 300_000
"""Milliseconds that a training of six examples may take on a busy machine."""


def open_fine_tune(page: Page, app: RunningApp) -> None:
    """Go there as a visitor does."""
    open_app(page, f"{app.url}/?length=16")
    open_fine_tune_by_link(page)


def open_fine_tune_by_link(page: Page) -> None:
    """Go to the page from another one, in the same visit."""
    page.get_by_role("link", name="Fine-tune").click()
    expect(page.get_by_role("heading", name="Fine-tune")).to_be_visible()


def open_tab(page: Page, name: str) -> None:
    """Open a tab of the page."""
    page.get_by_role("tab", name=name).click()
    expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def turn(page: Page, knob: str, value: int) -> None:
    """Turn a knob of the recipe."""
    field = page.get_by_role("spinbutton", name=knob, exact=True)
    field.fill(str(value))
    field.press("Tab")


def test_from_a_file_of_examples_to_an_adapter_that_goes_elsewhere_and_back(
    page: Page, app: RunningApp, tmp_path: Path
) -> None:
    # examples: uploaded, one problem mended
    open_fine_tune(page, app)
    page.get_by_role("button", name="New set").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("Ferry")
    dialog.get_by_role("button", name="Make it").click()
    upload = page.get_by_test_id("stFileUploader").locator("input")
    upload.set_input_files({"name": "ferry.csv", "mimeType": "text/csv", "buffer": CSV.encode()})
    expect(page.get_by_text("7 examples added")).to_be_visible()
    open_tab(page, "Training")
    expect(page.get_by_text("1 problem in the examples")).to_be_visible()
    page.get_by_role("button", name="Look at them").click()
    page.get_by_role("button", name="Keep row 4").click()
    expect(page.get_by_text("nothing was found")).to_be_visible()

    # trained, and watched
    open_tab(page, "Training")
    expect(page.get_by_role("textbox", name="Name of the adapter")).to_have_value("ferry")
    page.get_by_text("Every knob").click()
    turn(page, "Passes", 3)
    turn(page, "Layers", 2)
    expect(page.get_by_text("3 passes over 5 examples")).to_be_visible()
    page.get_by_role("button", name="Train", exact=True).click()
    training = page.locator('[class*="st-key-training_card_"]', has_text="ferry")
    expect(training).to_be_visible()
    status = page.locator(".st-key-training_status")
    expect(status).to_contain_text("ferry")
    page.get_by_role("link", name="Knowledge").click()
    expect(page.get_by_role("heading", name="Knowledge")).to_be_visible()
    status.get_by_role("link").click()
    expect(training).to_contain_text("done", timeout=TRAINED)
    expect(training).to_contain_text("It learnt")
    expect(training).to_contain_text("What is served is what was trained")
    expect(status).to_have_count(0)

    # asked, alone and beside another one
    training.get_by_role("button", name="Ask it").click()
    for name in ("prompt", "few-shot", "rag", "hybrid"):
        page.locator(f".st-key-use-{name} label").click()
    ask(page, "Who steers the ferry?")
    expect(card(page, "adapter").locator(".stMarkdownBadge", has_text="done")).to_be_visible()
    open_fine_tune_by_link(page)
    training.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="pellworth").click()
    ask(page, "And at what time does it leave?")
    answers = page.locator('[class*="st-key-cards-"]').last.locator(ADAPTER_CARD)
    expect(answers).to_have_count(2)
    expect(answers.nth(0)).to_contain_text("ferry")
    expect(answers.nth(1)).to_contain_text("pellworth")
    for number in (0, 1):
        done = answers.nth(number).locator(".stMarkdownBadge", has_text="done")
        expect(done).to_be_visible(timeout=60_000)

    # exported, and imported again
    open_fine_tune_by_link(page)
    open_tab(page, "Adapters")
    ferry = page.locator(".st-key-adapter_card_ferry")
    ferry.get_by_role("button", name="Download").click()
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="PEFT folder").click()
    page.keyboard.press("Escape")
    parcel = tmp_path / download.value.suggested_filename
    download.value.save_as(parcel)
    form = page.locator(".st-key-adapter_import")
    form.get_by_test_id("stFileUploader").locator("input").set_input_files(parcel)
    form.get_by_role("textbox", name="Name").fill("ferry-again")
    form.get_by_role("button", name="Import").click()
    again = page.locator(".st-key-adapter_card_ferry-again")
    expect(again).to_contain_text("imported")
    expect(again).to_contain_text("answers", timeout=TRAINED)
    for one in (ferry, again):
        one.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete it").click()
        expect(one).to_have_count(0)
