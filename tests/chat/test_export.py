"""An exported conversation: complete, and its structure is ours alone."""

from __future__ import annotations

import json
import re

import pytest

from bot.chat.answers import LiveAnswer, LiveTurn
from bot.chat.export import as_json, as_markdown
from bot.chat.fingerprint import Fingerprint
from tests.chat.scene import FOUND


def turn(question: str = "What does it cost?", text: str = "Nine hundred.") -> LiveTurn:
    answer = LiveAnswer(
        id="a",
        strategy="rag",
        status="complete",
        text=text,
        evidence=FOUND.evidence,
        first_token_seconds=0.25,
        total_seconds=1.5,
        prompt_tokens=80,
        answer_tokens=12,
        fingerprint=Fingerprint("w" * 64, None, "p" * 64, ("doc-0000",), {"temperature": 0.0}, 7),
    )
    return LiveTurn("t", "c", question, {"rag": answer})


def test_markdown_has_question_answer_evidence_timings_and_fingerprint() -> None:
    page = as_markdown("Prices", [turn()])
    assert page.startswith(
        "# Prices\n\n## Question 1\n\n> What does it cost?\n\n### RAG (complete)"
    )
    for part in (
        "> Nine hundred.",
        "- “The K30 costs 900 euros.” — prices.md, Kilns, page 2",
        "first token after 0.25 s; 1.50 s in all; 80 + 12 tokens",
        '"prompt_sha256": "' + "p" * 64,
    ):
        assert part in page


HOSTILE = [
    "# Question 99",
    "text\n## Question 99\ntext",
    "   ### indented",
    "Title\n=====",
    "Title\n-----",
    "```\nnever closed",
    "~~~\nnever closed",
    "> > deeper\n# out",
    "<script>alert(1)</script>",
    "<h1>big</h1>",
    "![leak](https://example.org/x.png)",
    "a\r# carriage",
    "a\u2028# separator",
    "a\x0b# tab",
    "#",
    "##\tTab",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_written_by_others_changes_the_structure(hostile: str) -> None:
    page = as_markdown(hostile, [turn(hostile, hostile), turn()])
    lines = re.split(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]", page)
    ours = [line for line in lines if re.match(r"#{1,6}\s", line)]
    assert [line.split(" (")[0] for line in ours[1:]] == [
        "## Question 1",
        "### RAG",
        "## Question 2",
        "### RAG",
    ]
    inside = [re.sub(r"^(?:[#>-]\s)+", "", line) for line in lines if line.startswith(">")]
    assert not [line for line in inside if re.match(r"\s*(#{1,6}(\s|$)|=+$|-+$|```|~~~|>)", line)]
    assert "<" not in page.replace("&lt;", "")
    assert "![" not in page


def test_json_has_everything() -> None:
    document = json.loads(as_json("Prices", [turn()]))
    answer = document["turns"][0]["answers"][0]
    assert document["title"] == "Prices"
    assert (answer["strategy"], answer["status"], answer["text"]) == (
        "rag",
        "complete",
        "Nine hundred.",
    )
    assert answer["evidence"][0]["quote"] == "The K30 costs 900 euros."
    assert answer["fingerprint"]["passage_ids"] == ["doc-0000"]
    assert answer["first_token_seconds"] == 0.25


def test_a_failed_answer_says_why() -> None:
    failed = turn(text="")
    failed.answers["rag"].status = "failed"
    failed.answers["rag"].error, failed.answers["rag"].cure = "It broke.", "Try again."
    assert "### RAG (failed)\n\n> It broke. Try again." in as_markdown("Prices", [failed])
    assert json.loads(as_json("P", [failed]))["turns"][0]["answers"][0]["error"] == "It broke."
