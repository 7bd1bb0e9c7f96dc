"""Tables of questions and answers, as spreadsheets write them and as people get them wrong."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from bot.errors import ExamplesError
from bot.messages import Message
from bot.tuning.examples import (
    Example,
    RowProblem,
    as_csv,
    parse_examples,
    read_examples,
    write_examples,
)


def example(question: str, answer: str, line: int = 0, document: str = "") -> Example:
    return Example((Message("user", question), Message("assistant", answer)), line, document)


def parsed(text: str) -> tuple[list[Example], list[RowProblem]]:
    reading = parse_examples("table.csv", text.encode())
    return list(reading.examples), list(reading.problems)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter_and_any_order_of_columns(delimiter: str) -> None:
    lines = [["Answer", "note", " QUESTION "], ["Green.", "x", "What colour?"]]
    text = "\r\n".join(delimiter.join(line) for line in lines)
    assert parsed(text) == ([example("What colour?", "Green.", 2)], [])


def test_what_spreadsheets_put_before_the_heading() -> None:
    text = '\ufeffsep=;\n\nquestion;answer;document\n"Lines?";"One\r\ntwo; ""three""";kilns.html\n'
    (found,), problems = parsed(text)
    assert found == example("Lines?", 'One\ntwo; "three"', 4, "kilns.html")
    assert problems == []


def test_rows_are_counted_as_a_spreadsheet_does() -> None:
    text = 'question,answer\n"a\nb",c\n\n,,\nd,e\n'
    assert [one.line for one in parsed(text)[0]] == [2, 5]


def test_every_row_problem_is_told_with_what_can_be_mended() -> None:
    text = (
        "question,answer\nWhat?,\n,Green.\nPrice?,2,390 pounds\n"
        'A "b" c?,fine\n"a"b,c\nGood?,Yes.\n"never closed,x\nlost,too\n'
    )
    found, problems = parsed(text)
    assert [(one.messages[0].content, one.line) for one in found] == [
        ('A "b" c?', 5),
        ("Good?", 7),
    ]
    told = [(one.line, one.reason.split()[0:4], one.question, one.answer) for one in problems]
    assert told == [
        (2, ["the", "answer", "has", "no"], "What?", ""),
        (3, ["the", "question", "has", "no"], "", "Green."),
        (4, ["it", "has", "more", "cells"], "Price?", "2,390 pounds"),
        (6, ["its", "quotation", "marks", "do"], "", ""),
        (8, ["a", "quotation", "mark", "is"], "", ""),
    ]
    assert all(one.cure for one in problems)


def test_the_first_problem_and_the_number_of_others_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("question,answer\na,b\nc,\n,d\n", encoding="utf-8")
    with pytest.raises(ExamplesError, match=r"^Row 3: the answer has no text. \(1 more") as caught:
        read_examples(path)
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "The table is empty"),
        ("\n\n", "The table is empty"),
        ("frage,antwort\na,b\n", "“frage,antwort”: it does not name"),
        ("question,answer\n", "holds no examples"),
        ("question,answer\n" + "a,b\n" * 20_001, "more than 20,000 rows"),
    ],
)
def test_problems_of_the_whole_table(text: str, says: str) -> None:
    with pytest.raises(ExamplesError, match=says) as caught:
        parsed(text)
    assert caught.value.cure


def test_too_large_and_not_text() -> None:
    with pytest.raises(ExamplesError, match="at most 25"):
        parse_examples("table.csv", b"x" * 25_000_001)
    with pytest.raises(ExamplesError, match="not UTF-8"):
        parse_examples("table.csv", "question,answer\né,ü".encode("cp1252"))
    (problem,) = parsed(f"question,answer\na,{'x' * 20_001}")[1]
    assert "20,001 characters" in problem.reason
    (problem,) = parsed(f"question,answer\na,{'x' * 1_000_001}")[1]
    assert "more than 1,000,000" in problem.reason


def test_what_is_written_comes_back_and_is_no_formula(tmp_path: Path) -> None:
    draw = random.Random(4)
    parts = ["=1+1", "-5 °C", "'=x", "\n", ";", "\t", '"', ",", "@", " ", "word", "\u200b+", "''-"]

    examples = [
        example(*("".join(draw.choices(parts, k=6)).strip() or "w" for _ in range(2)), 0, "=d.md")
        for _ in range(300)
    ]
    written = as_csv(examples)
    for row in csv.reader(io.StringIO(written.removeprefix("\ufeff"), newline="")):
        assert all(cell[0] not in "=+-@\t\r" for cell in row)
    found, problems = parsed(written)
    assert problems == []
    assert [(one.messages, one.document) for one in found] == [
        (one.messages, one.document) for one in examples
    ]
    path = tmp_path / "examples.jsonl"
    write_examples(examples, path)
    assert [one.messages for one in read_examples(path)] == [one.messages for one in examples]


def test_longer_chats_have_no_place_in_a_table() -> None:
    chat = Example(example("a", "b").messages + example("c", "d").messages)
    assert as_csv([chat, example("e", "f")]).count("\n") == 2
