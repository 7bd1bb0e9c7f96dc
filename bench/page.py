"""How soon and how smoothly a page shows tokens: `python -m bench.page`.

A real Chromium over a model that plays a script: it begins to answer as soon as it is asked, and
its tokens are the moments in which they are sent. So what passes between Enter and the first token
on the screen is what Triptych, Streamlit and the browser take. Then five cards stream at once: how
often each is repainted in a second, and how much of a core the page's process takes. The baselines,
in the same run, are the time between two frames of an idle page, and Enter to the first token with
one strategy instead of five, and on a page that is nothing but Streamlit's own chat recipe with one
answer (`bench/plain_chat.py`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import Playwright, sync_playwright

from bench import machine
from bench.running import Page, page, scripted_environment, scripted_model, streamlit, wait_for
from bot.chat.strategies import STRATEGIES
from bot.ui.state import strategy_key

PLAIN_CHAT = Path(__file__).with_name("plain_chat.py")
ADDED_LIMIT_SECONDS = 0.150
REPAINTS_LIMIT_PER_SECOND = 12.0
CORE_LIMIT = 0.30
ANSWER_TOKENS = 160
TOKENS_PER_SECOND = 40.0
PATIENCE_MILLISECONDS = 60_000

WATCH = r"""offset => {
  const seen = window.seen = {enter: 0, stamp: 0, painted: 0, paints: {}, frames: []};
  const now = () => performance.timeOrigin + performance.now();
  addEventListener('keydown', event => {
    if (event.key === 'Enter') Object.assign(seen, {enter: now(), stamp: 0, paints: {}});
  }, true);
  const shown = new Map();
  const cardOf = node => (node instanceof Element ? node : node.parentElement)
    ?.closest('[class*="st-key-card-"]');
  new MutationObserver(changes => {
    if (!seen.enter) return;
    const changed = new Set();
    for (const {target, addedNodes} of changes) {
      for (const node of [target, ...addedNodes]) changed.add(cardOf(node));
    }
    changed.delete(undefined);
    changed.delete(null);
    if (changed.size) requestAnimationFrame(() => { changed.forEach(look); });
  }).observe(document.body, {childList: true, characterData: true, subtree: true});
  const look = card => {
    const stamps = (card.textContent.match(/\d{12,}/g) || [])  // the first follows a word at once
      .filter(stamp => (Number(stamp) + offset) / 1e6 > seen.enter);
    const name = card.className.match(/st-key-card-([a-z-]+)-[0-9a-f]{32}/)?.[1];
    if (!name || !stamps.length || shown.get(card) === stamps.length) return;
    shown.set(card, stamps.length);
    (seen.paints[name] ||= []).push(now());
    if (!seen.stamp) {
      seen.stamp = stamps[0];
      setTimeout(() => { seen.painted = now(); });  // after the frame that `look` was called in
    }
  };
}"""
FRAME = """() => new Promise(resolve => {
  const times = [];
  const note = time => { times.push(time); times.length < 60 ? requestAnimationFrame(note)
    : resolve((times.at(-1) - times[0]) / (times.length - 1)); };
  requestAnimationFrame(note);
})"""
DONE = """() => {
  const cards = [...document.querySelectorAll('[class*="st-key-card-"]')].slice(-5);
  return cards.length > 0 && cards.every(card => /done/.test(card.innerText));
}"""


def ask(browser_page: BrowserPage, running: Page) -> dict[str, Any]:
    """Ask once and watch the cards until they are done."""
    box = browser_page.get_by_test_id("stChatInputTextArea")
    box.fill("How hot can the Heron 7 get?")
    box.press("Enter")
    browser_page.wait_for_function(
        "() => window.seen.painted > window.seen.enter", timeout=PATIENCE_MILLISECONDS
    )
    began, cpu = time.monotonic(), _cpu_seconds(running)
    browser_page.wait_for_timeout(2000)
    core = (_cpu_seconds(running) - cpu) / (time.monotonic() - began)
    browser_page.wait_for_function(DONE, timeout=PATIENCE_MILLISECONDS)
    seen = browser_page.evaluate("() => window.seen")
    sent = (int(seen["stamp"]) + _wall_minus_monotonic()) / 1e9
    return {
        "until_sent": sent - seen["enter"] / 1e3,
        "until_painted": seen["painted"] / 1e3 - sent,
        "repaints": min(map(_rate, seen["paints"].values())),
        "cards": len(seen["paints"]),
        "core": core,
    }


def _cpu_seconds(running: Page) -> float:
    used = running.process.cpu_times()
    return float(used.user + used.system)


def _wall_minus_monotonic() -> int:
    """Nanoseconds between the clock of the stamps and that of the browser."""
    return time.time_ns() - time.monotonic_ns()


def _rate(times_milliseconds: list[float]) -> float:
    """Repaints in a second, from the first to the last."""
    seconds = (times_milliseconds[-1] - times_milliseconds[0]) / 1e3
    return (len(times_milliseconds) - 1) / seconds if seconds else 0.0


def measure(rounds: int, folder: Path) -> dict[str, object]:
    """Medians over some questions, after one that warms everything up."""
    with (
        scripted_model(ANSWER_TOKENS, TOKENS_PER_SECOND) as scripted_at,
        sync_playwright() as playwright,
    ):
        with page(folder / "data", scripted_at) as running:
            ours, frame = _asked(playwright, running, rounds)
            one, _ = _asked(playwright, replace(running, address=_one_strategy(running)), rounds)
        with streamlit(PLAIN_CHAT, scripted_environment(scripted_at)) as running:
            wait_for(running)
            plain, _ = _asked(playwright, running, rounds)
    added = _added(ours)
    return {
        "rounds": rounds,
        "frame_milliseconds": round(frame, 1),
        "enter_to_request_milliseconds": round(ours["until_sent"] * 1e3),
        "token_to_paint_milliseconds": round(ours["until_painted"] * 1e3),
        "added_milliseconds": round(added * 1e3),
        "added_limit_milliseconds": round(ADDED_LIMIT_SECONDS * 1e3),
        "added_milliseconds_one_strategy": round(_added(one) * 1e3),
        "added_milliseconds_plain_chat": round(_added(plain) * 1e3),
        "cards": round(ours["cards"]),
        "repaints_per_second_slowest_card": round(ours["repaints"], 1),
        "repaints_limit_per_second": REPAINTS_LIMIT_PER_SECOND,
        "share_of_a_core": round(ours["core"], 2),
        "share_limit": CORE_LIMIT,
        "passed": added <= ADDED_LIMIT_SECONDS
        and ours["repaints"] >= REPAINTS_LIMIT_PER_SECOND
        and ours["core"] <= CORE_LIMIT
        and ours["cards"] == 5,
    }


def _added(medians: Mapping[str, float]) -> float:
    """Seconds from Enter to the first painted token."""
    return medians["until_sent"] + medians["until_painted"]


def _one_strategy(running: Page) -> str:
    """Where every strategy but the prompt is switched off."""
    off = "&".join(f"{strategy_key(one.name)}=false" for one in STRATEGIES if one.name != "prompt")
    return f"{running.address}/?{off}"


def _asked(playwright: Playwright, running: Page, rounds: int) -> tuple[dict[str, float], float]:
    """Medians of what was seen on one page, and milliseconds between its frames when idle."""
    chromium = shutil.which("chromium")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    with closing(browser):
        browser_page = browser.new_page(viewport={"width": 1300, "height": 900})
        browser_page.goto(running.address)
        box = browser_page.get_by_test_id("stChatInputTextArea")
        box.wait_for(state="visible", timeout=PATIENCE_MILLISECONDS)
        frame = browser_page.evaluate(FRAME)
        browser_page.evaluate(WATCH, _wall_minus_monotonic())
        asked = [ask(browser_page, running) for _ in range(rounds + 1)][1:]
    return {name: median(one[name] for one in asked) for name in asked[0]}, float(frame)


def main() -> int:
    """Measure and print; the exit status is 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    given = parser.parse_args()
    described = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given.rounds, Path(folder))
    if given.json:
        print(json.dumps({"machine": described, **result}, ensure_ascii=False, indent=2))
    else:
        print(machine.line(described))
        for name, value in result.items():
            print(f"{name.replace('_', ' ')}: {value}")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
