"""Examples are read in both shapes, and every mistake is told with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.errors import ExamplesError
from bot.messages import Message
from bot.tuning.examples import Example, read_examples, write_examples

GOOD = '{"prompt": "What colour?", "completion": "Green."}'


def write(folder: Path, *lines: str) -> Path:
    path = folder / "examples.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def chat(*turns: tuple[str, object]) -> str:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]})


def test_both_shapes_mean_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, chat(("user", "What colour?"), ("assistant", " Green.\n")), "", GOOD)
    messages = (Message("user", "What colour?"), Message("assistant", "Green."))
    assert read_examples(path) == [Example(messages, 1), Example(messages, 3)]


def test_several_turns_and_line_separators_inside_text(tmp_path: Path) -> None:
    turns = [("user", "One\u2028two"), ("assistant", "a"), ("user", "b"), ("assistant", "c")]
    record = {"messages": [{"role": role, "content": text} for role, text in turns]}
    (example,) = read_examples(write(tmp_path, json.dumps(record, ensure_ascii=False)))
    assert [message.role for message in example.messages] == ["user", "assistant"] * 2


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert len(read_examples(path)) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[]", "neither messages nor prompt"),
        ('{"messages": "hello"}', "neither messages nor prompt"),
        ('{"messages": [1]}', "neither messages nor prompt"),
        ('{"prompt": "hello"}', "neither messages nor prompt"),
        ('{"messages": []}', "last message must be the assistant's"),
        (chat(("user", "hello")), "last message must be the assistant's"),
        (chat(("system", "be kind"), ("user", "hello")), "system message"),
        (chat(("assistant", "hello")), "must be the user's"),
        (chat(("user", "a"), ("user", "b")), "must be the assistant's"),
        (chat(("user", "a"), ("robot", "b")), "must be the assistant's, not 'robot'"),
        (chat(("user", "a"), ("assistant", "  ")), "message 2 has no text"),
        (chat(("user", "a"), ("assistant", 7)), "message 2 has no text"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_cure(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ExamplesError, match=says) as caught:
        read_examples(write(tmp_path, GOOD, "", line, GOOD))
    assert caught.value.line == 3
    assert str(caught.value).startswith("Line 3: ")
    assert caught.value.cure


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_examples_is_an_error_of_the_whole_file(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_bytes(content)
    with pytest.raises(ExamplesError) as caught:
        read_examples(path)
    assert caught.value.line == 0


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExamplesError, match=r"nowhere\.jsonl cannot be read"):
        read_examples(tmp_path / "nowhere.jsonl")


def test_the_document_is_kept_and_all_problems_are_counted(tmp_path: Path) -> None:
    named = '{"prompt": "a", "completion": "b", "document": " kilns.html "}'
    path = write(tmp_path, named)
    (found,) = read_examples(path)
    assert found.document == "kilns.html"
    write_examples([found], path)
    assert read_examples(path) == [found]
    half = '{"prompt": "a", "completion": "\\ud800"}'
    deep = "[" * 100_000
    with pytest.raises(ExamplesError, match=r"Line 2: .*\(1 more rows have problems\.\)"):
        read_examples(write(tmp_path, named, deep, half))
