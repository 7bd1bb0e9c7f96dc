"""Many people at once: `python -m bench.crowd`.

First fifty visitors for ten minutes over a model that plays a script, each on the page's own
WebSocket: a visitor asks, reads the answers, thinks, asks again, and now and then closes the tab
and comes back. The script's tokens are the moments in which they are sent, so the delay that
Triptych adds is known for every token: from the model's sending it to its arrival at the visitor.
The baseline, in the same run, is one visitor alone. Then eight visitors with the real model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, quantiles

from bench import machine
from bench.running import Page, page, scripted_model
from bench.visitor import Visitor, visit

ADDED_DELAY_LIMIT_SECONDS = 0.100
MEMORY_GROWTH_LIMIT = 1.05
"""Of the last quarter of the time against the second; the first is the warm-up."""

THINKING_SECONDS = (15.0, 45.0)
QUESTIONS_A_TAB = 5
ANSWER_TOKENS = 60
TOKENS_PER_SECOND = 20.0
QUESTIONS = (
    "How hot can the Heron 7 get?",
    "What does the Heron 5 cost?",
    "How long is the warranty?",
    "Which kiln fits into a small studio?",
)


@dataclass
class Figures:
    """What a crowd met."""

    questions: list[int] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    delays_seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    page_bytes: list[int] = field(default_factory=list)


async def _one(
    running: Page, query: str, until: float, chance: random.Random, figures: Figures
) -> None:
    """One person: tab after tab, question after question."""
    asked = 0
    with suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            await asyncio.sleep(chance.uniform(0, THINKING_SECONDS[0]))
            while True:
                async with visit(running.address, query) as visitor:
                    await visitor.load()
                    for _ in range(QUESTIONS_A_TAB):
                        asked += await _ask(visitor, chance, figures)
                        await asyncio.sleep(chance.uniform(*THINKING_SECONDS))
    figures.questions.append(asked)


async def _ask(visitor: Visitor, chance: random.Random, figures: Figures) -> int:
    began = time.monotonic()
    try:
        await visitor.ask(chance.choice(QUESTIONS))
        figures.answer_seconds.append(time.monotonic() - began)
        return 1
    finally:
        figures.delays_seconds += visitor.delays_seconds
        figures.errors += visitor.errors
        visitor.delays_seconds.clear()
        visitor.errors.clear()


async def _watch(running: Page, seconds: float, figures: Figures) -> None:
    """Write down the page's memory twenty times in each quarter of the time."""
    while True:
        figures.page_bytes.append(running.process.memory_info().rss)
        await asyncio.sleep(seconds / 80)


async def crowd(running: Page, people: int, seconds: float, query: str, seed: int) -> Figures:
    """Let people come, ask and go for a while."""
    figures = Figures()
    chance = random.Random(seed)
    until = asyncio.get_running_loop().time() + seconds
    watching = asyncio.create_task(_watch(running, seconds, figures))
    visitors = [
        asyncio.create_task(_one(running, query, until, random.Random(chance.random()), figures))
        for _ in range(people)
    ]
    for result in await asyncio.gather(*visitors, return_exceptions=True):
        if isinstance(result, BaseException):
            figures.errors.append(f"{type(result).__name__}: {result}")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return figures


async def alone(running: Page, query: str, questions: int, seed: int) -> Figures:
    """One visitor who has the page for himself."""
    figures, chance = Figures(), random.Random(seed)
    async with visit(running.address, query) as visitor:
        await visitor.load()
        for _ in range(questions):
            await _ask(visitor, chance, figures)
    return figures


def percentile(values: list[float], percent: int) -> float:
    """The value that so many per cent do not exceed; 0.0 of nothing."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else 0.0


def growth(figures: Figures) -> float:
    """Memory in the last quarter of the time against the second."""
    quarter = len(figures.page_bytes) // 4
    if not quarter:
        return 1.0
    return mean(figures.page_bytes[-quarter:]) / mean(figures.page_bytes[quarter : 2 * quarter])


async def _sessions_left(running: Page, seconds: float) -> int:
    """Sessions that are kept after every tab was closed, at the latest after so many seconds."""
    until = time.monotonic() + seconds
    while (left := running.sessions()) and time.monotonic() < until:
        await asyncio.sleep(0.2)
    return left


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Both crowds, one after the other."""
    with ExitStack() as stack:
        scripted_at = stack.enter_context(scripted_model(ANSWER_TOKENS, TOKENS_PER_SECOND))
        running = stack.enter_context(page(folder / "scripted", scripted_at))
        await alone(running, "", 1, given.seed)  # the library is indexed, all is imported
        baseline = await alone(running, "", given.alone, given.seed)
        scripted = await crowd(running, given.people, given.seconds, "", given.seed)
        left = await _sessions_left(running, seconds=30)
    with page(folder / "real") as running:
        await alone(running, "", 1, given.seed)
        real = await crowd(running, given.real_people, given.real_seconds, "", given.seed)
    added = percentile(scripted.delays_seconds, 95)
    return {
        "alone": {"p50": _p(baseline, 50), "p95": _p(baseline, 95)},
        "crowd": {
            "people": given.people,
            "seconds": given.seconds,
            "questions": sum(scripted.questions),
            "tokens": len(scripted.delays_seconds),
            "p50": _p(scripted, 50),
            "p95": round(added, 4),
            "p99": _p(scripted, 99),
            "memory_growth": round(growth(scripted), 3),
            "page_megabytes": round(max(scripted.page_bytes) / 1e6),
            "sessions_left": left,
            "errors": scripted.errors[:20],
        },
        "real": {
            "people": given.real_people,
            "seconds": given.real_seconds,
            "questions": sum(real.questions),
            "fewest_and_most_by_one": [
                min(real.questions, default=0),
                max(real.questions, default=0),
            ],
            "median_answer_seconds": round(median(real.answer_seconds or [0.0]), 1),
            "memory_growth": round(growth(real), 3),
            "errors": real.errors[:20],
        },
        "passed": not scripted.errors
        and not real.errors
        and added <= ADDED_DELAY_LIMIT_SECONDS
        and growth(scripted) <= MEMORY_GROWTH_LIMIT
        and not left,
    }


def _p(figures: Figures, percent: int) -> float:
    return round(percentile(figures.delays_seconds, percent), 4)


def main() -> int:
    """Measure and print; the exit status is 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--people", type=int, default=50, metavar="N")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--real-people", type=int, default=8, metavar="N")
    parser.add_argument("--real-seconds", type=float, default=180.0)
    parser.add_argument("--alone", type=int, default=5, metavar="N", help="questions of one alone")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    given = parser.parse_args()
    described = machine.describe()
    folder = Path(tempfile.mkdtemp(prefix="crowd-"))
    try:
        result = asyncio.run(measure(given, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(json.dumps({"machine": described, **result}, ensure_ascii=False, indent=2))
    else:
        print(machine.line(described))
        for name, value in result.items():
            print(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
