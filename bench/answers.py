"""How good the answers are: `python -m bench.answers`.

Every evaluation question goes to all strategies through `compare`, as the page would ask it. Per
strategy: the answer is right, the quoted evidence holds the answer, and where the documents do
not say, the answer says so. The baseline is the strategy "prompt": the same model, alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import aclosing, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import machine
from bot.chat.compare import Options, compare
from bot.chat.events import Failed, Finished, Retrieved
from bot.chat.question import Question
from bot.chat.strategies import STRATEGIES, Strategy, strategy
from bot.evidence.cases import Case, read_cases
from bot.evidence.metrics import abstained, evidence_holds, is_correct
from bot.library.ingest import sync_folder
from bot.services import Services, open_services
from bot.settings import ROOT, read_settings

QUESTIONS = ROOT / "evaluation" / "questions.jsonl"


@dataclass(frozen=True)
class Answered:
    """One answer to one phrasing of a question, and its verdict."""

    strategy: str
    question: str
    answers: tuple[str, ...] | None
    trained: bool
    text: str
    quotes: tuple[str, ...]
    failed: bool
    correct: bool
    evidence: bool
    abstained: bool
    first_token_seconds: float | None
    total_seconds: float | None


async def ask(
    services: Services, case: Case, question: str, strategies: list[Strategy], options: Options
) -> list[Answered]:
    """Put one phrasing to all strategies at once and judge what they answer."""
    quotes: dict[str, tuple[str, ...]] = {}
    answered: list[Answered] = []
    comparison = compare(services.bench, Question(question, {}), strategies, options)
    async with aclosing(aiter(comparison)) as events:
        async for name, event in events:
            match event:
                case Retrieved(evidence=evidence):
                    quotes[name] = tuple(one.quote for one in evidence)
                case Finished() | Failed():
                    answered.append(judge(case, question, name, event, quotes.get(name, ())))
    return answered


def judge(
    case: Case, question: str, name: str, event: Finished | Failed, quotes: tuple[str, ...]
) -> Answered:
    """The verdict on one answer."""
    finished = event if isinstance(event, Finished) else None
    accepted = case.answers or ()
    return Answered(
        strategy=name,
        question=question,
        answers=case.answers,
        trained=case.trained,
        text=event.text,
        quotes=quotes,
        failed=finished is None,
        correct=is_correct(event.text, accepted),
        evidence=evidence_holds(quotes, accepted),
        abstained=abstained(event.text),
        first_token_seconds=finished.first_token_seconds if finished else None,
        total_seconds=finished.total_seconds if finished else None,
    )


def summary(one: Strategy, answered: list[Answered]) -> dict[str, object]:
    """One strategy's counts: of the questions that can be answered, and of those that cannot."""
    own = [answer for answer in answered if answer.strategy == one.name]
    known = [answer for answer in own if answer.answers is not None]
    unknown = [answer for answer in own if answer.answers is None]
    trained = [answer for answer in known if answer.trained]
    firsts = [a.first_token_seconds for a in own if a.first_token_seconds is not None]
    totals = [a.total_seconds for a in own if a.total_seconds is not None]
    return {
        "strategy": one.name,
        "answerable": len(known),
        "correct": sum(answer.correct for answer in known),
        "trained": len(trained),
        "correct_trained": sum(answer.correct for answer in trained),
        "evidence": sum(answer.evidence for answer in known) if one.retrieves else None,
        "unanswerable": len(unknown),
        "abstained": sum(answer.abstained for answer in unknown),
        "false_abstentions": sum(answer.abstained and not answer.correct for answer in known),
        "failed": sum(answer.failed for answer in own),
        "median_first_token_seconds": round(median(firsts), 3) if firsts else None,
        "median_total_seconds": round(median(totals), 3) if totals else None,
    }


async def ask_all(
    services: Services, asked: list[tuple[Case, str]], strategies: list[Strategy], options: Options
) -> list[Answered]:
    """All phrasings, one after another, with the progress on standard error."""
    answered: list[Answered] = []
    for number, (case, question) in enumerate(asked, 1):
        answered += await ask(services, case, question, strategies, options)
        if number % 10 == 0 or number == len(asked):
            print(f"{number} of {len(asked)} questions", file=sys.stderr, flush=True)
    return answered


def table(rows: list[dict[str, object]]) -> str:
    """The counts as a table for a person."""

    def share(count: object, of: object) -> str:
        if not isinstance(count, int) or not isinstance(of, int) or not of:
            return "–"
        return f"{count}/{of} {100 * count / of:.0f} %"

    lines = [
        f"{'strategy':10}{'correct':>14}{'on trained':>14}{'evidence':>14}{'abstained':>14}"
        f"{'false abst.':>14}{'first token':>13}"
    ]
    for row in rows:
        known, first = row["answerable"], row["median_first_token_seconds"]
        lines.append(
            f"{row['strategy']:10}{share(row['correct'], known):>14}"
            f"{share(row['correct_trained'], row['trained']):>14}"
            f"{share(row['evidence'], known):>14}"
            f"{share(row['abstained'], row['unanswerable']):>14}"
            f"{share(row['false_abstentions'], known):>14}"
            f"{'–' if first is None else f'{first:.2f} s':>13}"
            + (f"   {row['failed']} failed" if row["failed"] else "")
        )
    return "\n".join(lines)


def main() -> int:
    """Ask, judge and print; the exit status is 1 when an answer failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=__doc__)
    parser.add_argument("--limit", type=int, metavar="N", help="only N questions, spread over all")
    parser.add_argument("--paraphrases", action="store_true", help="ask the paraphrases as well")
    parser.add_argument("--strategy", action="append", metavar="NAME", help="repeatable")
    parser.add_argument("--adapter", metavar="NAME", default="")
    parser.add_argument("--max-tokens", type=int, default=60, metavar="N")
    parser.add_argument("--save", type=Path, metavar="PATH", help="every answer, JSON Lines")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    given = parser.parse_args()

    strategies = [strategy(name) for name in given.strategy or ()] or list(STRATEGIES)
    cases = read_cases(QUESTIONS)
    if given.limit and given.limit < len(cases):
        cases = [cases[place * len(cases) // given.limit] for place in range(given.limit)]
    asked = [
        (case, question)
        for case in cases
        for question in (case.phrasings if given.paraphrases else (case.question,))
    ]
    described = machine.describe()
    started = time.monotonic()
    with closing(open_services(read_settings())) as services:
        for _ in sync_folder(services.library):
            pass
        options = Options(
            answer_tokens=given.max_tokens,
            temperature=0.0,
            seed=services.settings.seed,
            passages=services.model.profile.passages,
            adapter=given.adapter or services.default_adapter(),
            models=(services.models.main,),
        )
        answered = asyncio.run(ask_all(services, asked, strategies, options))
    seconds = time.monotonic() - started
    rows = [summary(one, answered) for one in strategies]
    if given.save:
        given.save.write_text(
            "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in answered),
            encoding="utf-8",
        )
    if given.json:
        document = {
            "machine": described,
            "adapter": options.adapter,
            "questions": len(asked),
            "seconds": round(seconds, 1),
            "strategies": rows,
        }
        print(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        print(machine.line(described))
        print(f"{len(asked)} questions, adapter {options.adapter or 'none'}, {seconds:.0f} s\n")
        print(table(rows))
    return 1 if any(row["failed"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
