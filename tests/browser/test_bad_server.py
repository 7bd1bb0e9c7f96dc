"""A remote model server on a bad day, in a real browser: the app as it ships, pointed at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from bot.chat.prompts import few_shot_examples
from bot.settings import ROOT
from bot.testing import KEY, Reply, ScriptedModel
from tests.browser.conftest import running_app
from tests.browser.visiting import RunningApp, ask, card, open_app

WHOLE = "The kiln is warm by nine."
ONLY = "use-rag=false&use-adapter=false&use-hybrid=false"


@pytest.fixture(scope="module")
def remote() -> Iterator[ScriptedModel]:
    """A server that breaks off one answer, refuses one, and otherwise answers."""
    shown = few_shot_examples()[0].question
    script = [
        Reply("This is never finished.", contains=shown, cut_at=3),
        Reply(f"out of memory for Bearer {KEY}", contains="Second", status=500),
    ]
    with ScriptedModel(script, always=Reply(WHOLE)) as model:
        yield model


@pytest.fixture(scope="module")
def app_over_remote(
    remote: ScriptedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApp]:
    """Triptych as it ships, with the remote model by settings alone."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "knowledge").mkdir()
    endpoint = remote.endpoint()
    variables = {
        "TRIPTYCH_MODEL": f"openai:{endpoint.model}",
        "OPENAI_BASE_URL": endpoint.base_url,
        "OPENAI_API_KEY": endpoint.key,
    }
    with running_app(ROOT / "app.py", folder, **variables) as running:
        yield running
    assert KEY not in running.log.read_text(encoding="utf-8", errors="replace")


def badge(place: Locator, words: str) -> Locator:
    return place.locator(".stMarkdownBadge", has_text=words)


def test_a_server_that_fails_within_an_answer_spoils_one_card_until_the_retry(
    page: Page, app_over_remote: RunningApp
) -> None:
    open_app(page, f"{app_over_remote.url}/?length=32&{ONLY}")
    ask(page, "First, is it warm?")
    failed, whole = card(page, "few-shot"), card(page, "prompt")
    expect(badge(failed, "failed")).to_be_visible()
    expect(failed).to_contain_text("This is never")
    expect(failed).to_contain_text("went away in the middle of its answer")
    expect(badge(whole, "done")).to_be_visible()
    expect(whole).to_contain_text(WHOLE)

    failed.get_by_role("button", name="Retry").click()
    expect(badge(card(page, "few-shot"), "done")).to_be_visible()
    expect(card(page, "few-shot")).to_contain_text(WHOLE)
    expect(card(page, "few-shot")).not_to_contain_text("went away")

    ask(page, "Second, is it warm?")
    expect(page.locator('[class*="st-key-card-"]')).to_have_count(4)
    refused = page.locator('[class*="st-key-card-"]', has_text="out of memory")
    expect(refused).to_contain_text("failed (500 Internal Server Error): out of memory")
    expect(badge(refused, "failed")).to_be_visible()
    for text in ("Traceback", KEY):
        assert text not in page.content()
