"""Bad days of model servers: faults drawn by lot, each beside a healthy model, and what became
of them. ``python -m bench.faults.endpoints``"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from bench.faults.bad_server import KEY, MODEL, WORDS, BadServer, Fault, available, serving
from bench.faults.tally import Tally
from bot.chat.compare import Bench, Options, compare
from bot.chat.events import Failed, Finished
from bot.chat.question import Question
from bot.chat.strategies import strategy
from bot.library.retrieve import Retrieval
from bot.models import client
from bot.models.catalog import EMBEDDED_PROFILE, Model, ModelProfile, embedded_weights
from bot.models.client import Endpoint
from bot.models.embedded import EmbeddedModel
from bot.models.remote import RemoteModel
from bot.servers import Servers

AT_ONCE = 4
TIMEOUT_SECONDS = 3.0
LIMIT_SECONDS = 120.0
"""Long after every timeout: what is not over by then hangs."""

FREED_SECONDS = 20.0
ANSWER_TOKENS = 8
QUESTION = "What is the capital of France?"
PROFILE = ModelProfile(MODEL, 4096, 1, "", None, None)


@dataclass
class Outcome:
    """What one fault led to.

    Args:
        told: the message on the card; empty for an answer that is whole.
        delay_seconds: after the timeout, or after the question where nothing was waited for.
        problems: what should not have been.
    """

    fault: Fault
    cut: int
    told: str = ""
    delay_seconds: float = 0.0
    lost: bool = False
    crashed: bool = False
    problems: list[str] = field(default_factory=list)


def run(
    count: int,
    seed: int,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    names: Collection[str] = (),
    healthy: Model | None = None,
) -> Tally:
    """Play faults and count what went wrong.

    Args:
        count: how many; every kind comes before one comes again.
        seed: of the lots: which faults, and after how many words.
        timeout_seconds: the longest silence that is waited for.
        names: of the faults to draw from; empty for all.
        healthy: the model of the other column; None for a llama.cpp server of its own.
    """
    return tally(battery(count, seed, timeout_seconds, names, healthy))


def battery(
    count: int, seed: int, timeout_seconds: float, names: Collection[str], healthy: Model | None
) -> list[Outcome]:
    """What each of these faults led to; see `run`."""
    drawn = draw(count, random.Random(seed), names)
    with _errors_logged() as logged, _healthy_awaited():
        if healthy is not None:
            outcomes = asyncio.run(_play(drawn, timeout_seconds, healthy, logged))
        else:
            with _llama() as own:
                outcomes = asyncio.run(_play(drawn, timeout_seconds, own, logged))
    if logged:
        outcomes[-1].problems += [f"logged: {line}" for line in logged]
    return outcomes


def draw(count: int, lots: random.Random, names: Collection[str]) -> list[tuple[Fault, int, bool]]:
    """Faults, each with the number of words before it and whether the models are listed."""
    kinds = [one for one in available() if not names or one.name in names]
    mixed: list[Fault] = []
    while len(mixed) < count:
        mixed += lots.sample(kinds, len(kinds))
    return [(one, lots.randrange(len(WORDS)), lots.random() < 0.5) for one in mixed[:count]]


def tally(outcomes: list[Outcome]) -> Tally:
    """The counts over all outcomes."""
    problems = [
        f"{one.fault.name} after {one.cut} words: {problem}"
        for one in outcomes
        for problem in one.problems
    ]
    return Tally(
        name="endpoints",
        tried=len(outcomes),
        lost=sum(one.lost for one in outcomes),
        crashes=sum(one.crashed for one in outcomes),
        tracebacks=sum("Traceback" in problem for problem in problems),
        problems=problems,
    )


async def _play(
    drawn: list[tuple[Fault, int, bool]],
    timeout_seconds: float,
    healthy: Model,
    logged: list[str],
) -> list[Outcome]:
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: logged.append(str(context.get("exception") or context["message"]))
    )
    expected = await _alone(healthy)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(fault: Fault, cut: int, lists_models: bool) -> Outcome:
        async with places:
            outcome = Outcome(fault, cut)
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    async with serving(fault, cut, lists_models=lists_models) as bad:
                        await _beside(bad, outcome, timeout_seconds, healthy, expected)
                        await _freed(bad, outcome)
                        outcome.problems += bad.faults
            except TimeoutError:
                outcome.crashed = True
                outcome.problems.append("it hangs")
            except Exception as error:
                outcome.crashed = True
                outcome.problems.append(f"it raised {error!r}")
            return outcome

    return await asyncio.gather(*(one(*values) for values in drawn))


async def _alone(healthy: Model) -> str:
    """What the healthy model answers when nothing is wrong."""
    bench = _bench({"good": healthy}, 60.0)
    asked = compare(bench, Question(QUESTION, {}), [strategy("prompt")], _options("good"))
    async for _, event in asked:
        if isinstance(event, Failed):
            raise RuntimeError(f"The healthy model failed: {event.message}")
        if isinstance(event, Finished):
            return event.text
    raise AssertionError("unreachable: a comparison ends with an answer")


async def _beside(
    bad: BadServer, outcome: Outcome, timeout_seconds: float, healthy: Model, expected: str
) -> None:
    """Ask the bad server and the healthy model the same, and look at both cards."""
    own = RemoteModel("bad", Endpoint(bad.base_url, KEY, MODEL, counts=False), PROFILE)
    bench = _bench({"bad": own, "good": healthy}, timeout_seconds)
    options = _options("bad", "good")
    clock = asyncio.get_running_loop().time
    begun, ends = clock(), dict[str, Any]()
    asked = compare(bench, Question(QUESTION, {}), [strategy("prompt")], options)
    async with aclosing(aiter(asked)) as pairs:
        async for key, event in pairs:
            if isinstance(event, Finished | Failed):
                ends[key] = event
                if key == "prompt":
                    waited = timeout_seconds if outcome.fault.waits else 0.0
                    outcome.delay_seconds = clock() - begun - waited
    _judge(outcome, ends["prompt"])
    if bad.elsewhere:
        outcome.problems.append("the request was sent elsewhere")
    good = ends["prompt@good"]
    if isinstance(good, Failed) or good.text != expected:
        outcome.lost = True
        outcome.problems.append(f"the healthy column was not spared: {good}")


def _judge(outcome: Outcome, end: Finished | Failed) -> None:
    """Look at the card of the bad server: the message, and the text that was kept."""
    fault = outcome.fault
    told = f"{end.message} {end.cure}" if isinstance(end, Failed) else ""
    outcome.told = told
    kept = fault.kept(outcome.cut)
    as_expected = end.text.startswith("".join(WORDS[: outcome.cut]) if kept == "*" else kept)
    if not as_expected or (kept != "*" and end.text != kept):
        outcome.lost = True
        outcome.problems.append(f"the text is {end.text!r}")
    if len(end.text) > 64 * 1024:
        outcome.problems.append(f"the text has {len(end.text)} characters")
    if bool(fault.told) != bool(told) or not re.search(fault.told, told, re.DOTALL):
        outcome.problems.append(f"the card says {told!r}")
    if told and not (end.message.endswith(".") and len(told) < 600 and "\n" not in told):
        outcome.problems.append(f"this is no sentence: {told!r}")
    if KEY in end.text or any(KEY[at : at + 8] in told for at in range(len(KEY) - 7)):
        outcome.problems.append("the key is shown")
    if re.search("Traceback|inside Triptych|Error\\(|<[a-z]", told):
        outcome.crashed = True
        outcome.problems.append(f"a crash is shown: {told!r}")


async def _freed(bad: BadServer, outcome: Outcome) -> None:
    """Wait until the bad server has no connection of ours any more."""
    try:
        async with asyncio.timeout(FREED_SECONDS):
            while bad.open:
                await asyncio.sleep(0.01)
    except TimeoutError:
        outcome.problems.append(f"{bad.open} connections were not given back")


def _bench(models: dict[str, Model], timeout_seconds: float) -> Bench:
    def none(*_names: object) -> Any:
        raise AssertionError("not asked for")

    nothing: Callable[[str, int], Retrieval] = none
    return Bench(models.__getitem__, nothing, none, timeout_seconds)


def _options(*models: str) -> Options:
    return Options(
        answer_tokens=ANSWER_TOKENS,
        temperature=0.0,
        seed=7,
        passages=1,
        adapter="",
        models=models,
    )


@contextmanager
def _llama() -> Iterator[Model]:
    """The embedded weights behind a server that is asked as if it were somebody else's."""
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers.open(Path(folder))
        try:
            child = EmbeddedModel(servers, embedded_weights(), EMBEDDED_PROFILE, 1024, 2)
            yield RemoteModel("good", child.endpoint(), child.profile)
        finally:
            servers.close()


@contextmanager
def _healthy_awaited() -> Iterator[None]:
    """Wait for the healthy model as long as it takes: on a busy machine it may be slower than the
    silence that the bad server is allowed."""
    impatient = client.stream

    def patient(endpoint: Endpoint, *values: Any, timeout_seconds: float, **more: Any) -> Any:
        seconds = timeout_seconds if endpoint.model == MODEL else LIMIT_SECONDS
        return impatient(endpoint, *values, timeout_seconds=seconds, **more)

    with patch.object(client, "stream", patient):
        yield


@contextmanager
def _errors_logged() -> Iterator[list[str]]:
    """What is logged as an error meanwhile, with the traceback."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def main() -> int:
    """Play the battery, print every delay that matters, and fail when something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.endpoints")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--timeout-seconds", type=float, default=TIMEOUT_SECONDS)
    parser.add_argument("--only", action="append", default=[], help="name of a fault")
    parser.add_argument("--show", action="store_true", help="print what each card says")
    options = parser.parse_args()
    outcomes = battery(
        options.count, options.seed, options.timeout_seconds, options.only, healthy=None
    )
    if options.show:
        for one in outcomes:
            print(f"{one.delay_seconds:6.2f} s  {one.fault.name}: {one.told or 'whole'}")
    counts = tally(outcomes)
    for problem in counts.problems:
        print(f"  {problem}")
    for words, waits in (("after the timeout", True), ("after the question", False)):
        delays = sorted(one.delay_seconds for one in outcomes if one.fault.waits == waits)
        if delays:
            print(f"message {words}: median {median(delays):.2f} s, slowest {delays[-1]:.2f} s")
    late = sum(one.delay_seconds > 2.0 for one in outcomes if one.fault.waits)
    print(f"later than 2 s after the timeout: {late}")
    print(counts)
    return 1 if counts.problems or late else 0


if __name__ == "__main__":
    sys.exit(main())
