"""The chat page as it ships: embedded model, real library, in a real browser."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Page, expect

from tests.browser.visiting import RunningApp, ask, card, open_app

_NOTE = """# Night watch

The night watch at the Otterby depot begins at 21:40 and is led by Marguerite Vane.
"""


def test_every_strategy_answers_a_question_about_the_sample(page: Page, app: RunningApp) -> None:
    open_app(page, f"{app.url}/?length=48")
    expect(page.get_by_text("Reading the documents")).to_be_hidden(timeout=90_000)
    ask(page, "How hot can the Heron 7 get?")
    names = [
        name
        for name in ("prompt", "few-shot", "rag", "adapter", "hybrid")
        if page.locator(f".st-key-use-{name} input").is_checked()
    ]
    assert "rag" in names
    for name in names:
        done = card(page, name).locator(".stMarkdownBadge", has_text="done")
        expect(done).to_be_visible(timeout=60_000)
    expect(card(page, "rag").locator("blockquote").first).to_contain_text("1,300 °C")


def test_a_document_dropped_into_the_question_answers_it(page: Page, app: RunningApp) -> None:
    open_app(page, f"{app.url}/?length=32")
    chooser = page.get_by_test_id("stChatInputFileUploadButton").locator("input")
    chooser.set_input_files(
        [
            {"name": "../night watch.md", "mimeType": "text/markdown", "buffer": _NOTE.encode()},
            {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
        ]
    )
    expect(page.get_by_test_id("stChatInput")).to_contain_text("night watch.md")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("Who leads the night watch at the Otterby depot?")
    for _ in range(20):  # Enter is not heard while the files are on their way
        box.press("Enter")
        with suppress(AssertionError):
            expect(box).to_have_value("", timeout=1_000)
            break
    rag = card(page, "rag")
    expect(rag.locator("blockquote").first).to_contain_text("Marguerite Vane", timeout=60_000)
    expect(page.locator('[class*="st-key-read-"]')).to_contain_text("empty.txt")
    expect(rag.locator(".stMarkdownBadge", has_text="done")).to_be_visible(timeout=60_000)
    assert [path.name for path in app.knowledge_dir.glob("*night*")] == ["night watch.md"]
    assert not (app.knowledge_dir.parent / "night watch.md").exists()
