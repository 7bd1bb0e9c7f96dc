"""What comparing costs: `python -m bench.side_by_side`.

The strategies through `compare`, against the same prompts sent straight to the same servers with
plain asyncio and httpx. Retrieval is done before and counted in neither. Each question is asked
once unmeasured, so that both sides find the same prompts in the servers' caches; then both are
measured in turn, each first as often as the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from statistics import mean, median

import httpx

from bench import machine
from bench.answers import QUESTIONS
from bot.chat.compare import Bench, Options, compare
from bot.chat.events import Failed, Finished, Prompted
from bot.chat.question import Question
from bot.chat.strategies import STRATEGIES, Strategy
from bot.evidence.cases import read_cases
from bot.library.ingest import sync_folder
from bot.messages import Message
from bot.models.client import Endpoint
from bot.services import Services, open_services
from bot.settings import read_settings

LARGEST_RATIO = 1.05
LARGEST_DELAY_MS = 25.0


@dataclass(frozen=True)
class Run:
    """One question answered by all strategies."""

    wall_seconds: float
    first_token_seconds: dict[str, float]
    tokens: int


async def through_compare(
    bench: Bench, question: str, strategies: Sequence[Strategy], options: Options
) -> tuple[Run, dict[str, tuple[Message, ...]]]:
    """Ask as the page does; also returns the prompts that were sent."""
    firsts: dict[str, float] = {}
    sent: dict[str, tuple[Message, ...]] = {}
    tokens = 0
    started = time.perf_counter()
    comparison = compare(bench, Question(question, {}), strategies, options)
    async with aclosing(aiter(comparison)) as events:
        async for name, event in events:
            match event:
                case Prompted(messages=messages):
                    sent[name] = messages
                case Finished(first_token_seconds=first, answer_tokens=count):
                    firsts[name] = first or 0.0
                    tokens += count
                case Failed(message=message, cure=cure):
                    raise SystemExit(f"{name} failed: {message} {cure}")
    return Run(time.perf_counter() - started, firsts, tokens), sent


async def straight(
    http: httpx.AsyncClient,
    requests: dict[str, tuple[Endpoint, tuple[Message, ...]]],
    options: Options,
) -> Run:
    """Send the same requests at once, with nothing of ours between."""
    started = time.perf_counter()
    answers = await asyncio.gather(
        *(_request(http, *request, options) for request in requests.values())
    )
    wall = time.perf_counter() - started
    firsts = {name: first - started for name, (first, _) in zip(requests, answers, strict=True)}
    return Run(wall, firsts, sum(tokens for _, tokens in answers))


async def _request(
    http: httpx.AsyncClient, endpoint: Endpoint, messages: Sequence[Message], options: Options
) -> tuple[float, int]:
    """When the first token came, on the clock, and how many came."""
    body = {
        "model": endpoint.model,
        "messages": [message.as_dict() for message in messages],
        "max_tokens": options.answer_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    first, tokens = 0.0, 0
    async with http.stream(
        "POST",
        f"{endpoint.base_url}/chat/completions",
        json=body,
        headers={"Authorization": f"Bearer {endpoint.key}"},
    ) as response:
        response.raise_for_status()
        async for entry in response.aiter_lines():
            if not entry.startswith("data: {"):
                continue
            part = json.loads(entry.removeprefix("data: "))
            if part.get("usage"):
                tokens = part["usage"]["completion_tokens"]
            if not first and any(choice["delta"].get("content") for choice in part["choices"]):
                first = time.perf_counter()
    return first, tokens


async def measure(
    services: Services,
    questions: Sequence[str],
    strategies: Sequence[Strategy],
    options: Options,
    rounds: int,
) -> tuple[list[Run], list[Run]]:
    """Both ways over all questions, in turn; runs that belong together have the same place."""
    retrievals = {one: services.retrieve(one, options.passages) for one in questions}
    bench = replace(services.bench, retrieve=lambda question, _: retrievals[question])
    base = await asyncio.to_thread(services.model.endpoint)
    adapted = base
    if options.adapter:
        weights = services.adapter_weights(options.adapter)
        adapted = await asyncio.to_thread(services.model.endpoint, weights)
    ours: list[Run] = []
    plain: list[Run] = []
    # The server may close a kept connection at any time; a fresh one costs next to nothing.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as http:
        for question in questions:
            _, sent = await through_compare(bench, question, strategies, options)
            requests = {
                one.name: (adapted if one.adapted else base, sent[one.name]) for one in strategies
            }
            await straight(http, requests, options)
            for turn in range(rounds):
                for side in (0, 1) if turn % 2 == 0 else (1, 0):
                    if side == 0:
                        run, _ = await through_compare(bench, question, strategies, options)
                        ours.append(run)
                    else:
                        plain.append(await straight(http, requests, options))
    return ours, plain


def verdict(
    ours: Sequence[Run], plain: Sequence[Run], strategies: Sequence[Strategy]
) -> dict[str, object]:
    """Medians over the runs, and whether they are within the limits."""
    ratio = median(
        one.wall_seconds / other.wall_seconds for one, other in zip(ours, plain, strict=True)
    )
    delays = {
        one.name: 1000
        * median(
            run.first_token_seconds[one.name] - other.first_token_seconds[one.name]
            for run, other in zip(ours, plain, strict=True)
        )
        for one in strategies
    }
    # Servers take concurrent requests in any order: what one strategy loses, another gains.
    delay = 1000 * median(
        mean(run.first_token_seconds.values()) - mean(other.first_token_seconds.values())
        for run, other in zip(ours, plain, strict=True)
    )
    return {
        "runs": len(ours),
        "wall_seconds": round(median(run.wall_seconds for run in ours), 4),
        "straight_wall_seconds": round(median(run.wall_seconds for run in plain), 4),
        "wall_ratio": round(ratio, 4),
        "wall_ratio_limit": LARGEST_RATIO,
        "added_first_token_ms": round(delay, 2),
        "added_first_token_ms_by_strategy": {
            name: round(value, 2) for name, value in delays.items()
        },
        "added_first_token_ms_limit": LARGEST_DELAY_MS,
        "tokens": sum(run.tokens for run in ours),
        "straight_tokens": sum(run.tokens for run in plain),
        "passed": ratio <= LARGEST_RATIO and delay <= LARGEST_DELAY_MS,
    }


def main() -> int:
    """Measure and print; the exit status is 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.side_by_side", description=__doc__)
    parser.add_argument("--questions", type=int, default=6, metavar="N")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="of both, a question")
    parser.add_argument("--max-tokens", type=int, default=60, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    given = parser.parse_args()

    described = machine.describe()
    answerable = [case.question for case in read_cases(QUESTIONS) if case.answers is not None]
    with closing(open_services(read_settings())) as services:
        for _ in sync_folder(services.library):
            pass
        adapter = services.default_adapter()
        strategies = [one for one in STRATEGIES if adapter or not one.adapted]
        options = Options(
            answer_tokens=given.max_tokens,
            temperature=0.0,
            seed=services.settings.seed,
            passages=services.model.profile.passages,
            adapter=adapter,
            models=(services.models.main,),
        )
        found = [
            one for one in answerable[::7] if services.retrieve(one, options.passages).passages
        ]
        questions = found[: given.questions]
        ours, plain = asyncio.run(measure(services, questions, strategies, options, given.rounds))
    result = verdict(ours, plain, strategies)
    if given.json:
        print(json.dumps({"machine": described, **result}, ensure_ascii=False, indent=2))
        return 0 if result["passed"] else 1
    print(machine.line(described))
    print(f"{len(strategies)} strategies, {len(questions)} questions, {len(ours)} runs each way\n")
    print(f"wall through compare   {result['wall_seconds']:.3f} s ({result['tokens']} tokens)")
    print(
        f"wall straight          {result['straight_wall_seconds']:.3f} s "
        f"({result['straight_tokens']} tokens)"
    )
    print(f"ratio                  {result['wall_ratio']:.3f}  (at most {LARGEST_RATIO})")
    print(
        f"added first token      {result['added_first_token_ms']:+.1f} ms, mean of the strategies"
        f"  (at most {LARGEST_DELAY_MS:.0f})"
    )
    for name, value in result["added_first_token_ms_by_strategy"].items():  # type: ignore[attr-defined]
        print(f"  {name:20} {value:+.1f} ms")
    print("passed" if result["passed"] else "NOT passed")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
