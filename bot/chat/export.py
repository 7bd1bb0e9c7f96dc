"""A conversation as a file: Markdown to read, JSON to compute with, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bot import formulas
from bot.chat.answers import LiveAnswer, LiveTurn
from bot.chat.strategies import STRATEGIES
from bot.library.retrieve import Evidence

_TITLES = {one.name: one.title for one in STRATEGIES}
_STRUCTURE = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|=+\s*$|-+\s*$|`{3,}|~{3,}|>)", re.MULTILINE)
_NO_WEB_LINK = re.compile(r"\](?=\(\s*(?!https?://)|:)")

_CSV_HEAD = (
    *("question", "asked_at", "strategy", "model", "status", "answer", "sources"),
    *("first_token_seconds", "total_seconds", "prompt_tokens", "answer_tokens", "cost_dollars"),
    *("vote", "error", "adapter"),
)
_VOTES = {1: "up", -1: "down"}
_LINE_END = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def as_json(title: str, turns: Sequence[LiveTurn]) -> str:
    """The conversation as one JSON document."""
    document = {
        "title": title,
        "turns": [
            {
                "question": turn.question,
                "asked_at": turn.asked_at,
                "answers": [answer_values(answer) for answer in turn.answers.values()],
            }
            for turn in turns
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def answer_values(answer: LiveAnswer) -> dict[str, Any]:
    """One answer as plain JSON values."""
    return {
        "strategy": answer.strategy,
        "model": answer.model,
        "adapter": answer.adapter,
        "status": answer.status,
        "text": answer.text,
        "off_topic": answer.off_topic,
        "evidence": [asdict(one) for one in answer.evidence],
        "first_token_seconds": answer.first_token_seconds,
        "total_seconds": answer.total_seconds,
        "tokens_per_second": answer.tokens_per_second,
        "prompt_tokens": answer.prompt_tokens,
        "answer_tokens": answer.answer_tokens,
        "cost": answer.cost,
        "prompt": [message.as_dict() for message in answer.prompt],
        "trimming": asdict(answer.trimming) if answer.trimming else None,
        "fingerprint": asdict(answer.fingerprint) if answer.fingerprint else None,
        "vote": answer.vote,
        "error": answer.error or None,
    }


def as_csv(turns: Sequence[LiveTurn]) -> str:
    """The conversation as a table, one answer a row; begins with the byte order mark by which
    spreadsheets know UTF-8.

    No cell is a formula: an apostrophe stands before whatever could begin one, also at the start
    of a line and behind a semicolon, where some spreadsheets begin a cell of their own.
    """
    output = io.StringIO(newline="")
    writer = csv.writer(output, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(_CSV_HEAD)
    for turn in turns:
        writer.writerows(_csv_row(turn, answer) for answer in turn.answers.values())
    return f"\ufeff{output.getvalue()}"


def _csv_row(turn: LiveTurn, answer: LiveAnswer) -> list[str | float | None]:
    sources = "\n".join(_place(one) for one in answer.evidence)
    return [
        *(_cell(text) for text in (turn.question, turn.asked_at, answer.strategy, answer.model)),
        *(_cell(text) for text in (answer.status, answer.text, sources)),
        *(answer.first_token_seconds, answer.total_seconds),
        *(answer.prompt_tokens, answer.answer_tokens, answer.cost),
        *(_VOTES.get(answer.vote, ""), _cell(answer.error), _cell(answer.adapter)),
    ]


def _cell(text: str) -> str:
    return formulas.quoted(_printable(text).strip())


def _printable(text: str) -> str:
    """The text without control and text-direction characters, its lines ended in one way."""
    return _UNPRINTABLE.sub("", _LINE_END.sub("\n", text))


def as_markdown(title: str, turns: Sequence[LiveTurn]) -> str:
    """The conversation as Markdown. What a person, a model or a document wrote stands in block
    quotes, and nothing in it can pass for a heading of this page."""
    blocks = [f"# {_one_line(title)}"]
    for number, turn in enumerate(turns, start=1):
        blocks += [f"## Question {number}", _quoted(turn.question)]
        several = len({answer.model for answer in turn.answers.values()}) > 1
        for answer in turn.answers.values():
            blocks += _answer_blocks(answer, named=several)
    return "\n\n".join(blocks) + "\n"


def _answer_blocks(answer: LiveAnswer, *, named: bool) -> list[str]:
    """One answer; `named`: its model stands in the heading, because several answered."""
    title = _TITLES.get(answer.strategy, answer.strategy)
    model = f", {_one_line(answer.model_title)}" if named else ""
    if answer.adapter:
        model += f" + {_one_line(answer.adapter)}"
    blocks = [f"### {title}{model} ({answer.status})"]
    if answer.text:
        blocks.append(_quoted(answer.text))
    if answer.error:
        blocks.append(_quoted(f"{answer.error} {answer.cure}".strip()))
    if answer.evidence:
        blocks.append("\n".join(_evidence_line(one) for one in answer.evidence))
    facts = _facts(answer)
    if facts:
        blocks.append(facts)
    return blocks


def _evidence_line(evidence: Evidence) -> str:
    return f"- “{_one_line(evidence.quote)}” — {_one_line(_place(evidence))}"


def _place(evidence: Evidence) -> str:
    """Where the evidence stands, in words."""
    page = "" if evidence.page is None else f"page {evidence.page}"
    return ", ".join(part for part in (evidence.document, evidence.heading, page) if part)


def _facts(answer: LiveAnswer) -> str:
    facts = []
    if answer.first_token_seconds is not None:
        facts.append(f"first token after {answer.first_token_seconds:.2f} s")
    if answer.total_seconds is not None:
        facts.append(f"{answer.total_seconds:.2f} s in all")
    if answer.answer_tokens:
        facts.append(f"{answer.prompt_tokens} + {answer.answer_tokens} tokens")
    if answer.cost is not None:
        facts.append(f"${answer.cost:.6f}".rstrip("0").rstrip("."))
    lines = ["; ".join(facts)] if facts else []
    if answer.fingerprint:
        lines += ["", f"Fingerprint: `{json.dumps(asdict(answer.fingerprint))}`"]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in _harmless(text).splitlines())


def _one_line(text: str) -> str:
    return _harmless(" ".join(text.split()))


def _harmless(text: str) -> str:
    """Markdown text without HTML, images, headings, fences or quotes of its own, and with links
    to the web only."""
    text = _NO_WEB_LINK.sub(r"\]", _printable(text))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("![", "!\\[")
    return _STRUCTURE.sub(r"\1\\\2", text)
