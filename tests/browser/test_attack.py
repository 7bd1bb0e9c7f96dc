"""Text as an attack: hostile documents, answers and names in a real browser reach nobody.

Every payload is aimed at a listener of this test. With both guards it hears nothing; each guard
alone still keeps it silent; with none it hears the browser, so this test can fail.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import running_app
from tests.browser.visiting import RunningApp, Visitor, ask, open_app, open_menu, watch
from tests.payloads import PAYLOADS
from tests.strangers import breaches, ports_of, processes_of

PLANTED = "a" * 32
_ACTIVE = (
    "iframe, object, embed, frame, meta[http-equiv], base, form[action],"
    "[poster], video[src], audio[src]"
)


class Listener:
    """Where the payloads are aimed at: it writes down what reaches it, and welcomes everybody."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_response(200)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_HEAD = do_OPTIONS = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    opened = Listener()
    threading.Thread(target=opened.server.serve_forever, daemon=True).start()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[RunningApp]:
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "knowledge").mkdir()
    script = Path(__file__).with_name("attack_app.py")
    with running_app(script, folder, ATTACK_TARGET=listener.origin) as app:
        yield app


@pytest.fixture(autouse=True)
def silence(listener: Listener) -> None:
    listener.heard.clear()


def test_there_are_many_payloads() -> None:
    assert len(set(PAYLOADS)) >= 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_text_reaches_nobody(
    visitor: Visitor,
    attacked: RunningApp,
    listener: Listener,
    scheme: Literal["light", "dark"],
) -> None:
    page = visitor.page
    page.emulate_media(color_scheme=scheme)
    open_conversation(page, attacked)
    if scheme == "light":  # once is enough for what is opened by hand
        read_conversation(page)
        ask_hostile_model(page, attacked)
        read_library(page, attacked)
    assert listener.heard == []


@pytest.mark.parametrize(
    ("off", "heard", "blocked"),
    [
        ((), False, False),
        (("policy",), False, False),  # the sanitiser leaves nothing to block
        (("sanitiser",), False, True),  # the policy blocks what comes through
        (("policy", "sanitiser"), True, False),
    ],
    ids=["both guards", "no policy", "no sanitiser", "neither"],
)
def test_each_guard_alone_is_enough_and_without_both_it_leaks(
    browser: Browser,
    attacked: RunningApp,
    listener: Listener,
    off: tuple[str, ...],
    heard: bool,
    blocked: bool,
) -> None:
    page = browser.new_page()
    page.set_default_timeout(20_000)
    visitor = Visitor(page)
    watch(visitor)
    defects = "".join(f"&defect={guard}" for guard in off)
    address = f"{attacked.url}/?c={PLANTED}{defects}"
    answer = httpx.get(address, timeout=10)
    assert ("content-security-policy" in answer.headers) == ("policy" not in off)
    with page.expect_event("load"):
        page.goto(address)
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(10)
    if heard:
        expect(page.locator(f'img[src^="{listener.origin}"]').first).to_be_attached()
    page.wait_for_load_state("networkidle")
    assert bool(listener.heard) == heard
    violations = [said for said in visitor.complaints if "Content Security Policy" in said]
    assert bool(violations) == blocked
    page.close()


def test_no_port_of_the_whole_app_answers_a_stranger(app: RunningApp) -> None:
    ports = ports_of(processes_of(app.data_dir))
    assert any(str(port.number) == app.url.rpartition(":")[2] for port in ports)
    assert [breach for port in ports for breach in breaches(port)] == []


def open_conversation(page: Page, app: RunningApp) -> None:
    """Look at the planted conversation."""
    open_app(page, f"{app.url}/?c={PLANTED}")
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(10)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("onerror=alert(1)")
    unfold(page)


def read_conversation(page: Page) -> None:
    """Open everything in it that can be opened."""
    look_into_prompts(page)
    page.get_by_role("button", name="Conversation menu").click()
    expect(page.get_by_test_id("stPopoverBody").filter(has_text="Rename")).to_be_visible()
    inspect(page)
    page.keyboard.press("Escape")
    for box in page.get_by_test_id("stSidebar").get_by_test_id("stSelectbox").all():
        open_menu(box.locator("input"))
        expect(page.get_by_role("option").first).to_be_visible()
        inspect(page)
        page.keyboard.press("Escape")


def ask_hostile_model(page: Page, app: RunningApp) -> None:
    """Payloads that come in splinters, then as the error messages of a server."""
    open_app(page, f"{app.url}/?length=512")
    for question, words in (("zzstream <img src=x>", "done"), ("zzfail :red[x]", "failed")):
        ask(page, question)
        badges = page.locator('[class*="st-key-cards-"]').last.locator(".stMarkdownBadge")
        expect(badges.filter(has_text=words)).to_have_count(5)
        unfold(page)
    look_into_prompts(page)


def read_library(page: Page, app: RunningApp) -> None:
    """The list, a document, the question before it is deleted, a search, and an index run."""
    open_app(page, app.url)
    page.get_by_role("link", name="Knowledge").click()
    rows = page.locator('[class*="st-key-document_row_"]')
    expect(rows).to_have_count(12)
    inspect(page)
    for number in range(4):
        button = rows.nth(number).get_by_role("button", name="Open")
        if button.is_enabled():
            button.click()
            expect(page.get_by_role("dialog")).to_contain_text("passage 1 of")
            inspect(page)
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_be_hidden()
    rows.first.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("goes for good")
    inspect(page)
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Read the folder again").click()
    expect(page.get_by_text(re.compile("Done: 3 added"))).to_be_visible()
    inspect(page)
    page.get_by_role("tab", name="Try a search").click()
    page.get_by_label("Question or words").fill("<img src=x>")
    page.keyboard.press("Enter")
    found = page.locator('[class*="st-key-found_"]')
    expect(found.filter(has_text=re.compile(r"12\. 11 ")).first).to_be_visible()
    inspect(page)


def unfold(page: Page) -> None:
    """Open every expander."""
    page.evaluate(
        "document.querySelectorAll('details:not([open]) > summary').forEach(s => s.click())"
    )
    inspect(page)


def look_into_prompts(page: Page) -> None:
    """The exact prompts of the newest turn."""
    cards = page.locator('[class*="st-key-cards-"]').last
    for button in cards.get_by_role("button", name="Prompt").all():
        button.click()
        shown = page.get_by_test_id("stPopoverBody").filter(has_text="exact prompt")
        expect(shown.first).to_be_visible()
        inspect(page)
        page.keyboard.press("Escape")
        expect(shown).to_have_count(0)


def inspect(page: Page) -> None:
    """Nothing on the page is active, and whatever can be clicked leads to the web."""
    active = page.locator(_ACTIVE).evaluate_all("all => all.map(one => one.outerHTML)")
    assert active == []
    found = page.evaluate(
        """() => ({
            links: [...document.querySelectorAll('a[href], area[href], [formaction]')]
                .map(one => one.href || one.formAction),
            images: [...document.querySelectorAll('img, image, source, [srcset], [background]')]
                .map(one => one.currentSrc || one.getAttribute('href') || one.src || '?'),
            handlers: [...document.querySelectorAll('*')].filter(
                one => one.getAttributeNames().some(name => name.startsWith('on'))).length,
            drawn: document.querySelectorAll('.katex, svg.mermaid, [id^=mermaid]').length,
        })"""
    )
    assert [one for one in found["links"] if not re.match(r"https?://", one)] == []
    own = f"{page.url.split('/', 3)[0]}//{page.url.split('/', 3)[2]}/"
    assert [one for one in found["images"] if not one.startswith((own, "data:image/"))] == []
    assert (found["handlers"], found["drawn"]) == (0, 0)
