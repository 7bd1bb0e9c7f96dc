"""The knowledge page in a real browser, over the real library."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.visiting import RunningApp

WORK_MS = 120_000
GLAZE = b"# Glaze notes\n\nThe moss glaze matures at 1222 degrees. <b>Stir</b> it twice.\n"
LAWN = b"Lawns are mown on the third Tuesday of a month, never on a Sunday.\n"
BAD = b"%PDF-1.7 this is not really a PDF"
UPLOADS = (("glaze notes.md", GLAZE), ("lawn.txt", LAWN), ("bad.pdf", BAD))

# A picture of the page is written here when this is set.
PICTURES = os.environ.get("TRIPTYCH_PICTURES", "")


@pytest.fixture
def knowledge(page: Page, app: RunningApp) -> Iterator[Page]:
    """The open page, with the sample indexed; what a test uploads is gone after it."""
    open_knowledge(page, app)
    yield page
    for name, _ in UPLOADS:
        (app.knowledge_dir / name).unlink(missing_ok=True)
    open_knowledge(page, app)
    page.get_by_role("button", name="Read the folder again").click()
    expect(page.get_by_text("Done:")).to_be_visible(timeout=WORK_MS)


def open_knowledge(page: Page, app: RunningApp) -> None:
    if page.viewport_size and page.viewport_size["width"] < 640:  # the links are in the side bar
        page.goto(f"{app.url}/knowledge")
    else:
        page.goto(app.url)
        page.get_by_role("link", name="Knowledge").click(timeout=WORK_MS)
    expect(page.get_by_role("heading", name="Knowledge")).to_be_visible(timeout=WORK_MS)
    expect(page.get_by_role("button", name="Read the folder again")).to_be_enabled(timeout=WORK_MS)


def upload(page: Page) -> None:
    files = [{"name": name, "mimeType": "text/plain", "buffer": data} for name, data in UPLOADS]
    page.locator('input[type="file"]').set_input_files(files)  # type: ignore[arg-type]
    expect(page.get_by_text("Done: 2 added or renewed, 1 failed.")).to_be_visible(timeout=WORK_MS)


def row(page: Page, name: str) -> Locator:
    return page.locator('[class*="st-key-document_row_"]').filter(has_text=name)


def assert_fits(page: Page) -> None:
    """Nothing sticks out sideways."""
    too_wide = page.evaluate(
        """() => {
            const main = document.querySelector('[data-testid="stMain"]');
            return Math.max(document.documentElement.scrollWidth - innerWidth,
                            main.scrollWidth - main.clientWidth);
        }"""
    )
    assert too_wide <= 0


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / name, animations="disabled")


def test_upload_search_open_and_delete(knowledge: Page, app: RunningApp) -> None:
    upload(knowledge)
    expect(knowledge.get_by_text(re.compile("bad.pdf .*(damaged|read)"))).to_be_visible()
    assert (app.knowledge_dir / "glaze notes.md").read_bytes() == GLAZE
    assert not (app.knowledge_dir / "bad.pdf").exists()
    expect(row(knowledge, "lawn.txt").get_by_text("ready")).to_be_visible()
    picture(knowledge, "uploaded.png")

    knowledge.get_by_role("tab", name="Try a search").click()
    box = knowledge.get_by_label("Question or words")
    box.fill("How hot must the moss glaze get?")
    box.press("Enter")
    first = knowledge.locator('[class*="st-key-found_"]').filter(has_text="1. ").first
    expect(first).to_contain_text("glaze notes.md", timeout=WORK_MS)
    expect(first).to_contain_text(re.compile(r"fused \d\.\d\d"))
    marked = first.locator('span[style*="background"]', has_text="1222 degrees")
    expect(marked.first).to_be_visible()
    expect(first).to_contain_text("<b>Stir</b> it twice.")
    picture(knowledge, "search.png")

    first.get_by_role("button", name="Open").click()
    dialog = knowledge.get_by_role("dialog")
    expect(dialog).to_contain_text("passage 1 of 1")
    expect(dialog).to_contain_text("<b>Stir</b> it twice.")
    picture(knowledge, "passages.png")
    knowledge.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    knowledge.get_by_role("tab", name="Documents").click()
    row(knowledge, "glaze notes.md").get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(knowledge.get_by_text("glaze notes.md is no longer in the library")).to_be_visible(
        timeout=WORK_MS
    )
    expect(row(knowledge, "glaze notes.md")).to_have_count(0)
    assert not (app.knowledge_dir / "glaze notes.md").exists()


def test_everything_can_be_reached_by_keyboard(knowledge: Page) -> None:
    upload(knowledge)
    filter_box = knowledge.get_by_label("Filter by name")
    expect(filter_box).to_have_count(1)  # a page that is being drawn anew shows it twice
    filter_box.fill("lawn")
    expect(knowledge.locator('[class*="st-key-document_row_"]')).to_have_count(1)
    open_button = row(knowledge, "lawn.txt").get_by_role("button", name="Open")
    filter_box.focus()
    for _ in range(8):
        if open_button.evaluate("button => button === document.activeElement"):
            break
        knowledge.keyboard.press("Tab")
    expect(open_button).to_be_focused()
    knowledge.keyboard.press("Enter")
    expect(knowledge.get_by_role("dialog")).to_contain_text("third Tuesday")
    knowledge.keyboard.press("Escape")
    expect(knowledge.get_by_role("dialog")).to_be_hidden()


def test_a_reload_in_the_middle_of_an_upload_loses_nothing(
    knowledge: Page, app: RunningApp
) -> None:
    many = [
        {
            "name": name,
            "mimeType": "text/plain",
            "buffer": data + b"\n".join(b"Line %d of %s." % (n, data[:9]) for n in range(300)),
        }
        for name, data in UPLOADS[:2]
    ]
    knowledge.locator('input[type="file"]').set_input_files(many)  # type: ignore[arg-type]
    expect(knowledge.get_by_text(re.compile("embedding passage"))).to_be_visible(timeout=WORK_MS)
    open_knowledge(knowledge, app)
    for name, _ in UPLOADS[:2]:
        expect(row(knowledge, name).get_by_text("ready")).to_be_visible(timeout=WORK_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Browser, app: RunningApp, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    open_knowledge(page, app)
    expect(page.get_by_label("Filter by name")).to_be_visible()
    assert_fits(page)
    picture(page, f"phone-{scheme}.png")
    page.locator('[class*="st-key-document_row_"]').get_by_role("button", name="Open").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("passage 1 of")
    assert_fits(page)
    picture(page, f"phone-passages-{scheme}.png")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Try a search").click()
    page.get_by_label("Question or words").fill("How long is the warranty?")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"fused \d")).first).to_be_visible(timeout=WORK_MS)
    assert_fits(page)
    picture(page, f"phone-search-{scheme}.png")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_desk(browser: Browser, app: RunningApp, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 1300, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    open_knowledge(page, app)
    expect(page.get_by_label("Filter by name")).to_be_visible()
    assert_fits(page)
    picture(page, f"knowledge-{scheme}.png")
    context.close()
