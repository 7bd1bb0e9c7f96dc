"""The visitor of the crowd bench sees what a browser sees: the same page, over its WebSocket."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import psutil

from bench.running import Page
from bench.visitor import visit
from tests.browser.visiting import RunningApp


def test_it_asks_reads_every_card_and_leaves_no_session_behind(scripted_app: RunningApp) -> None:
    running = Page(scripted_app.url, psutil.Process())

    async def visits() -> tuple[int, list[str], str, int]:
        async with visit(scripted_app.url, "length=16") as visitor:
            await visitor.load()
            await visitor.ask("Tell me something")
            during = running.sessions()
            return during, visitor.errors, visitor.query, visitor.fragment_runs

    # the browser's driver keeps a loop running in this thread
    with ThreadPoolExecutor(1) as thread:
        during, errors, query, fragment_runs = thread.submit(asyncio.run, visits()).result()
        assert (during > 0, errors) == (True, [])
        assert "c=" in query
        assert fragment_runs == 1  # as in a browser, the page is not drawn again for a question
