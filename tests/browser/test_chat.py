"""The chat page in a real browser, over a scripted model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.visiting import RunningApp, ask, card, open_app

STRATEGIES = ("prompt", "few-shot", "rag", "adapter", "hybrid")
SHORT = "/?length=16"


def badge(place: Locator, words: str) -> Locator:
    """The status badge of a card, by its words."""
    return place.locator(".stMarkdownBadge", has_text=words)


def finish(page: Page, strategies: tuple[str, ...] = STRATEGIES, status: str = "done") -> None:
    """Wait until the newest cards have this status."""
    for name in strategies:
        expect(badge(card(page, name), status)).to_be_visible()


def text_of(place: Locator) -> str:
    return place.locator("p").all_inner_texts()[1]


def test_one_question_streams_into_five_cards_at_once(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, f"{scripted_app.url}/?length=160")
    ask(page, "How hot can it get?")
    expect(page.locator(".stMarkdownBadge", has_text="writing")).to_have_count(5)
    early = {name: text_of(card(page, name)) for name in STRATEGIES}
    for name in STRATEGIES:
        expect(card(page, name).locator("p").nth(1)).not_to_have_text(early[name])
    finish(page)
    for name in STRATEGIES:
        place = card(page, name)
        expect(place).to_contain_text("tokens/s")
        expect(place).to_contain_text("s first")
        expect(place).to_contain_text("length reached")
    for name in ("rag", "hybrid"):
        expect(card(page, name)).to_contain_text("kilns <b>list</b>.html · Heron 7 · page 3")
    expect(page.get_by_role("button", name="Stop answering")).to_be_hidden()


def test_a_question_does_not_send_the_page_again(page: Page, scripted_app: RunningApp) -> None:
    came: list[bytes] = []

    def note(frame: str | bytes) -> None:
        came.append(frame if isinstance(frame, bytes) else frame.encode())

    page.on("websocket", lambda socket: socket.on("framereceived", note))
    open_app(page, scripted_app.url + SHORT)
    for question in ("The first one", "The second one"):
        assert any(b"Answer length" in frame for frame in came) == (question == "The first one")
        expect(page.get_by_text("Answer length")).to_be_visible()
        came.clear()
        ask(page, question)
        expect(page.locator('[class*="st-key-asked-"]').last).to_contain_text(question)
        finish(page)
        assert any(question.encode() in frame for frame in came)
        assert not any(b"Answer length" in frame for frame in came)
    expect(page.locator('[class*="st-key-asked-"]')).to_have_count(2)


def test_a_question_sent_while_another_is_answered_waits_for_it(
    page: Page, scripted_app: RunningApp
) -> None:
    open_app(page, f"{scripted_app.url}/?length=160")
    ask(page, "The first one")
    expect(page.locator(".stMarkdownBadge", has_text="writing")).to_have_count(5)
    ask(page, "The second one")
    expect(page.get_by_text("The next question waits until this one is answered.")).to_be_visible()
    expect(page.locator(".stMarkdownBadge", has_text="writing")).to_have_count(5)
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(5)
    asked = page.locator('[class*="st-key-asked-"]')
    expect(asked).to_have_count(2)
    expect(asked.last).to_contain_text("The second one")
    finish(page)
    expect(page.locator(".stMarkdownBadge", has_text="done")).to_have_count(10)


def test_the_exact_prompt_is_shown(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, scripted_app.url + SHORT)
    ask(page, "What does :red[this] cost, $5?")
    finish(page)
    card(page, "rag").get_by_role("button", name="Prompt").click()
    shown = page.get_by_test_id("stPopoverBody").filter(has_text="exact prompt")
    expect(shown).to_contain_text("What does :red[this] cost, $5?")
    expect(shown).to_contain_text("The Heron 7 reaches 1,300 °C.")
    expect(shown).to_contain_text("seed 7")
    page.keyboard.press("Escape")


def test_an_answer_under_way_is_shown_without_the_cards_of_another_conversation(
    page: Page, scripted_app: RunningApp
) -> None:
    others = "&".join(f"use-{name}=false" for name in STRATEGIES if name != "prompt")
    open_app(page, f"{scripted_app.url}/?length=512&{others}")
    ask(page, "The long one")
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    page.get_by_role("button", name="New chat").click()
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(0)
    page.locator(".st-key-use-rag label").click()
    ask(page, "The other one")
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(2)
    page.get_by_role("button", name="The long one").click()
    expect(page.locator('[class*="st-key-asked-"]')).to_have_text("The long one")
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(1)
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    page.get_by_role("button", name="Stop answering").click()
    finish(page, ("prompt",), "stopped")


def test_stopping_one_spares_the_rest(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, f"{scripted_app.url}/?length=512")
    ask(page, "Talk to me")
    stopped = card(page, "few-shot")
    expect(badge(stopped, "writing")).to_be_visible()
    stopped.get_by_role("button", name="Stop").click()
    expect(badge(stopped, "stopped")).to_be_visible()
    kept = text_of(stopped)
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(5)
    page.get_by_role("button", name="Stop answering").click()
    finish(page, ("prompt", "rag", "adapter", "hybrid"), "stopped")
    assert kept and text_of(card(page, "few-shot")) == kept


def test_switching_off_mid_answer_stops_that_card_only(
    page: Page, scripted_app: RunningApp
) -> None:
    open_app(page, f"{scripted_app.url}/?length=512")
    ask(page, "Talk again")
    expect(badge(card(page, "adapter"), "writing")).to_be_visible()
    page.locator(".st-key-use-adapter label").click()
    expect(badge(card(page, "adapter"), "stopped")).to_be_visible()
    expect(badge(card(page, "hybrid"), "writing")).to_be_visible()
    page.get_by_role("button", name="Stop answering").click()
    finish(page, ("prompt", "few-shot", "rag", "hybrid"), "stopped")

    page.goto(re.sub(r"length=\d+", "length=16", page.url))  # the switch survives a reload
    ask(page, "And now?")
    finish(page, ("prompt", "few-shot", "rag", "hybrid"))
    expect(page.locator('[class*="st-key-card-adapter-"]')).to_have_count(1)


def test_a_question_sent_too_early_waits_for_its_turn(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, f"{scripted_app.url}/?length=512")
    ask(page, "The first")
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    ask(page, "The second")
    expect(page.get_by_text("The next question waits")).to_be_visible()
    page.get_by_role("button", name="Stop answering").click()
    expect(page.locator('[class*="st-key-asked-"]').last).to_have_text("The second")
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    page.get_by_role("button", name="Stop answering").click()
    finish(page, status="stopped")


def test_a_reload_shows_the_stream_going_on(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, f"{scripted_app.url}/?length=128")
    ask(page, "Tell me slowly")
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    expect(page).to_have_url(re.compile(r"c=[0-9a-f]{32}"))
    page.reload()
    expect(badge(card(page, "prompt"), "writing")).to_be_visible()
    finish(page)
    expect(card(page, "prompt")).to_contain_text("128 tokens")


def test_closing_the_page_stops_the_answers(
    context: BrowserContext, scripted_app: RunningApp
) -> None:
    first = context.new_page()
    open_app(first, f"{scripted_app.url}/?length=512")
    ask(first, "Nobody reads this")
    expect(badge(card(first, "prompt"), "writing")).to_be_visible()
    expect(first).to_have_url(re.compile(r"c=[0-9a-f]{32}"))
    conversation = re.search(r"c=([0-9a-f]{32})", first.url)
    assert conversation
    first.close()

    from bot.records import conversations as records
    from bot.records.database import open_database

    engine = open_database(scripted_app.data_dir / "triptych.db")
    second = context.new_page()  # its clock paces the look at the records
    try:
        for _ in range(200):
            (turn,) = records.turns(engine, conversation[1])
            if all(answer.status == "stopped" for answer in turn.answers):
                break
            second.wait_for_timeout(100)
        assert {answer.status for answer in turn.answers} == {"stopped"}
        assert all(answer.text and answer.answer_tokens < 512 for answer in turn.answers)
    finally:
        second.close()
        engine.dispose()


def test_a_failed_answer_says_why_and_can_be_retried(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, f"{scripted_app.url}{SHORT}&use-hybrid=false")
    ask(page, "Please break")
    failed = card(page, "adapter")
    expect(badge(failed, "failed")).to_be_visible()
    expect(failed).to_contain_text("This is cut")
    assert len(failed.locator("p").all_inner_texts()) > 3  # head, partial text, why, figures
    finish(page, ("prompt", "few-shot", "rag"))
    failed.get_by_role("button", name="Retry").click()
    expect(badge(card(page, "adapter"), "done")).to_be_visible()
    expect(card(page, "adapter")).to_contain_text("The kiln warms slowly")


def test_an_off_topic_question_is_said_to_be_one(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, scripted_app.url + SHORT)
    ask(page, "This is off topic")
    expect(card(page, "rag")).to_contain_text("Nothing in the documents matches this question")


def test_conversations_are_reopened_renamed_exported_and_deleted(
    page: Page, scripted_app: RunningApp
) -> None:
    open_app(page, scripted_app.url + SHORT)
    ask(page, "First topic")
    finish(page)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(0)
    ask(page, "Second topic")
    finish(page)

    side_bar = page.get_by_test_id("stSidebar")
    side_bar.get_by_role("button", name="First topic").click()
    expect(page.locator('[class*="st-key-asked-"]')).to_have_text("First topic")

    side_bar.get_by_role("button", name="Conversation menu").click()
    menu = page.get_by_test_id("stPopoverBody").filter(has_text="Rename")
    menu.get_by_role("textbox", name="Name").fill("Renamed topic")
    menu.get_by_role("button", name="Rename").click()
    expect(side_bar.get_by_role("button", name="Renamed topic")).to_be_visible()

    if not menu.is_visible():
        side_bar.get_by_role("button", name="Conversation menu").click()
    with page.expect_download() as markdown:
        menu.get_by_role("button", name="Markdown").click()
    assert "First topic" in Path(markdown.value.path()).read_text()
    with page.expect_download() as exported:
        menu.get_by_role("button", name="JSON").click()
    assert "First topic" in json.dumps(json.loads(Path(exported.value.path()).read_text()))

    menu.get_by_role("button", name="Delete").click()
    menu.get_by_role("button", name="Delete it").click()
    expect(side_bar.get_by_role("button", name="Renamed topic")).to_have_count(0)
    expect(side_bar.get_by_role("button", name="Second topic")).to_be_visible()


def test_a_vote_and_a_copy(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, scripted_app.url + SHORT)
    ask(page, "Worth a thumb")
    finish(page)
    place = card(page, "hybrid")
    place.get_by_role("radio", name="Thumbs up").click()
    place.get_by_role("button", name="Copy to clipboard").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("The kiln warms slowly")
    page.reload()
    expect(card(page, "hybrid").get_by_role("radio", name="Thumbs up")).to_be_checked()


def test_markup_in_answers_and_documents_does_nothing(page: Page, scripted_app: RunningApp) -> None:
    open_app(page, scripted_app.url)
    ask(page, "Answer with markup <img src=x onerror=alert(9)> ![x](https://evil.example/q.png)")
    finish(page)
    for name in STRATEGIES:
        place = card(page, name)
        expect(place).to_contain_text("<img src=x onerror=alert(1)>")
        expect(place).to_contain_text(":red[alarm]")
        expect(place).to_contain_text(re.compile(":\u2060?material/home:"))
        expect(place.locator("img, script, iframe, svg.mermaid, .katex")).to_have_count(0)
        links = place.locator("a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        assert all(link.startswith("https://") for link in links)
    expect(page.locator('[class*="st-key-asked-"] img')).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    page: Page, scripted_app: RunningApp, scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    open_app(page, scripted_app.url + SHORT)
    ask(page, "On a phone " + "averyveryverylongword" * 12)
    finish(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in STRATEGIES:
        box = card(page, name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    background = card(page, "rag").evaluate("e => getComputedStyle(e).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(27, 26, 38)")


def test_a_question_can_be_asked_and_stopped_by_keyboard_alone(
    page: Page, scripted_app: RunningApp
) -> None:
    open_app(page, f"{scripted_app.url}/?length=512")
    _tab_to(page, "document.activeElement.dataset.testid === 'stChatInputTextArea'")
    page.keyboard.type("Asked with keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop answering")).to_be_visible()
    _tab_to(
        page, "document.activeElement.matches('[class*=\"st-key-stop-all\"] button')", back=True
    )
    page.keyboard.press("Enter")
    finish(page, status="stopped")


def _tab_to(page: Page, reached: str, *, back: bool = False) -> None:
    for _ in range(60):
        if page.evaluate(reached):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"The Tab key never reached: {reached}")


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/nowhere.js", "/media/none.png"])
def test_every_response_carries_the_security_headers(app: RunningApp, path: str) -> None:
    headers = httpx.get(app.url + path, timeout=10).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["object-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    host = app.url.removeprefix("http://")
    assert policy["connect-src"] == f"'self' ws://{host} wss://{host}"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_another_host_name_is_refused(app: RunningApp) -> None:
    response = httpx.get(app.url, headers={"Host": "evil.example"}, timeout=10)
    assert response.status_code == 400
    assert "content-security-policy" in response.headers
