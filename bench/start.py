"""How long until it can be used: `python -m bench.start`.

`streamlit run app.py` on an installed machine with its documents indexed, watched by a real
Chromium: seconds from the command to a chat input that can be typed into, and to the first token
of the first answer. The baseline, in the same run, is an empty Streamlit page with a chat input.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as BrowserError

from bench import machine
from bench.running import streamlit
from bot.library.ingest import sync_folder
from bot.services import open_services
from bot.settings import ROOT, read_settings

INTERACTIVE_LIMIT_SECONDS = 3.0
FIRST_TOKEN_LIMIT_SECONDS = 6.0
PATIENCE_SECONDS = 90
QUESTION = "How hot can the Heron 7 get?"
EMPTY_PAGE = 'import streamlit as st\n\nst.title("Empty")\nst.chat_input("Ask")\n'

WRITING = """() => [...document.querySelectorAll('[class*="st-key-card-"]')]
    .some(card => /writing|done/.test(card.innerText))"""


def open_page(page: Page, address: str, started: float) -> float:
    """Load the page as soon as somebody answers; seconds until its chat input can be used."""
    while True:
        try:
            page.goto(address, wait_until="commit")
            break
        except BrowserError:
            if time.perf_counter() - started > PATIENCE_SECONDS:
                raise
            page.wait_for_timeout(20)
    box = page.get_by_test_id("stChatInputTextArea")
    box.wait_for(state="visible", timeout=PATIENCE_SECONDS * 1000)
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=stChatInputTextArea]').disabled",
        timeout=PATIENCE_SECONDS * 1000,
    )
    return time.perf_counter() - started


def start_empty(browser: Browser, folder: Path) -> float:
    """Seconds from the command to an empty Streamlit page that can be used."""
    script = folder / "empty.py"
    script.write_text(EMPTY_PAGE, encoding="utf-8")
    started = time.perf_counter()
    with (
        streamlit(script, {"TRIPTYCH_DATA_DIR": str(folder)}) as running,
        closing(browser.new_page()) as page,
    ):
        return open_page(page, running.address, started)


def start_triptych(browser: Browser, data_dir: Path) -> tuple[float, float, float]:
    """Seconds to a page that can be used, to the first token, and from the question to it."""
    started = time.perf_counter()
    with (
        streamlit(ROOT / "app.py", {"TRIPTYCH_DATA_DIR": str(data_dir)}) as running,
        closing(browser.new_page()) as page,
    ):
        interactive = open_page(page, running.address, started)
        box = page.get_by_test_id("stChatInputTextArea")
        box.fill(QUESTION)
        asked = time.perf_counter()
        box.press("Enter")
        page.wait_for_function(WRITING, timeout=PATIENCE_SECONDS * 1000)
        token = time.perf_counter()
        return interactive, token - started, token - asked


def main() -> int:
    """Measure and print; the exit status is 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    given = parser.parse_args()

    described = machine.describe()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        with closing(open_services(read_settings(data_dir=folder / "data"))) as services:
            for _ in sync_folder(services.library):
                pass
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with closing(browser):
            rounds = [
                (start_empty(browser, folder), *start_triptych(browser, folder / "data"))
                for _ in range(given.rounds)
            ]
    empty, interactive, token, waited = (median(column) for column in zip(*rounds, strict=True))
    result = {
        "rounds": given.rounds,
        "interactive_seconds": round(interactive, 2),
        "interactive_limit_seconds": INTERACTIVE_LIMIT_SECONDS,
        "empty_page_seconds": round(empty, 2),
        "ratio": round(interactive / empty, 2),
        "first_token_seconds": round(token, 2),
        "first_token_limit_seconds": FIRST_TOKEN_LIMIT_SECONDS,
        "first_token_after_asking_seconds": round(waited, 2),
        "passed": interactive <= INTERACTIVE_LIMIT_SECONDS and token <= FIRST_TOKEN_LIMIT_SECONDS,
    }
    if given.json:
        print(json.dumps({"machine": described, **result}, ensure_ascii=False, indent=2))
        return 0 if result["passed"] else 1
    print(machine.line(described))
    print(f"medians of {given.rounds} starts, seconds after the command\n")
    print(f"page can be used       {interactive:.2f} s  (at most {INTERACTIVE_LIMIT_SECONDS})")
    print(f"an empty page          {empty:.2f} s  (ratio {interactive / empty:.2f})")
    print(f"first token            {token:.2f} s  (at most {FIRST_TOKEN_LIMIT_SECONDS})")
    print(f"  counted from asking  {waited:.2f} s")
    print("passed" if result["passed"] else "NOT passed")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
