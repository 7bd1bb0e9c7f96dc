"""What a visitor does and sees on Triptych's pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Locator, Page, expect


@dataclass(frozen=True)
class RunningApp:
    """A running app: its address, its folders and its log."""

    url: str
    data_dir: Path
    knowledge_dir: Path
    log: Path


@dataclass
class Visitor:
    """One browser page, with what it asked for outside and what its console complained about."""

    page: Page
    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def watch(visitor: Visitor) -> None:
    """Write down requests to other hosts, dialogs, and errors on the console."""

    def note_request(url: str) -> None:
        if not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:", url):
            visitor.outside.append(url)

    page = visitor.page
    page.on("request", lambda request: note_request(request.url))
    page.on("dialog", lambda dialog: visitor.complaints.append(f"dialog: {dialog.message}"))
    page.on("pageerror", lambda error: visitor.complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: (
            visitor.complaints.append(message.text) if message.type == "error" else None
        ),
    )


def ask(page: Page, question: str) -> None:
    """Type a question and send it with the keyboard."""
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")


def card(page: Page, strategy: str) -> Locator:
    """The card of a strategy in the newest turn."""
    return page.locator(f'[class*="st-key-card-{strategy}-"]').last


def open_app(page: Page, url: str) -> None:
    """Go to a page and wait until one can type."""
    page.goto(url)
    expect(page.get_by_test_id("stChatInputTextArea")).to_be_visible(timeout=30_000)


def open_menu(menu: Locator) -> None:
    """Open a menu when it stands still: it is drawn anew while the app's script runs, and closes
    when what it is in is scrolled."""
    app = menu.page.get_by_test_id("stApp")
    expect(app).to_have_attribute("data-test-script-state", "notRunning")
    menu.scroll_into_view_if_needed()
    menu.evaluate("() => new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn)))")
    menu.click()
