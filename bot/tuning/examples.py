"""Training examples: a file of short chats → values, with every problem by its row; and back.

A line of JSON Lines holds either ``{"messages": [{"role": "user", "content": …}, {"role":
"assistant", …}]}`` or ``{"prompt": …, "completion": …}``, may name the ``document`` it was made
from, and says whether it is ``grounded``; a table has the columns question and answer
(`bot.tuning.table`). The system message is not the examples' business: the recipe adds the one
that is served, so that training and serving prompts are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import ExamplesError
from bot.messages import Message, Role
from bot.tuning import table

SHAPE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'

MOST_BYTES = 25_000_000
MOST_EXAMPLES = 20_000
MOST_CHARACTERS = 20_000
"""Of one message: far more than any context that is trained here holds."""

TABLE_SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class Example:
    """One chat to learn from: user and assistant in turn, the last word is the assistant's.

    Args:
        messages: the chat, without a system message.
        line: where it stands in its file, counted from 1; 0 when it came from elsewhere.
        document: name of the document it was made from; empty when unknown.
        grounded: whether passages of the library stand before its last question.
    """

    messages: tuple[Message, ...]
    line: int = 0
    document: str = ""
    grounded: bool = False


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of a file that is no example, with what could be read of it.

    Args:
        line: where it stands, counted as a text editor (JSON Lines) or a spreadsheet would.
        reason: what is wrong, in a sentence.
        cure: what to do about it.
    """

    line: int
    reason: str
    cure: str
    question: str = ""
    answer: str = ""
    document: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds: its examples, and the rows that are none."""

    examples: tuple[Example, ...]
    problems: tuple[RowProblem, ...]


def read_examples(path: Path) -> list[Example]:
    """Read and check every example of a file; blank lines are skipped.

    Raises:
        ExamplesError: the file cannot be read, holds no example, or a row is wrong; the error
            names the first such row and counts the others.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExamplesError(
            f"The examples at {path} cannot be read.", cure="Check the path and its permissions."
        ) from error
    reading = parse_examples(path.name, content)
    if reading.problems:
        first, *others = reading.problems
        more = f" ({len(others)} more rows have problems.)" if others else ""
        raise ExamplesError(
            f"{first.reason}{more}", line=first.line, cure=first.cure, unit=unit_of(path.name)
        )
    return list(reading.examples)


def parse_examples(name: str, content: bytes) -> Reading:
    """The examples of a file, and every row of it that is none.

    Args:
        name: of the file; its end says whether it is a table (.csv, .tsv) or JSON Lines.

    Raises:
        ExamplesError: it is about the whole file: no text, no row, too large, or a table
            without the columns that are needed.
    """
    if len(content) > MOST_BYTES:
        raise ExamplesError(
            f"{name} has {len(content) / 1e6:.0f} MB; at most {MOST_BYTES // 1_000_000} are read.",
            cure="Split it into several files.",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExamplesError(
            f"The examples in {name} are not UTF-8 text.",
            cure="Save the file as UTF-8; a spreadsheet calls it “CSV UTF-8”.",
        ) from error
    examples: list[Example] = []
    problems: list[RowProblem] = []
    for one in _table_rows(text) if is_table(name) else _lines(text):
        if len(examples) + len(problems) == MOST_EXAMPLES:
            raise ExamplesError(
                f"{name} has more than {MOST_EXAMPLES:,} rows.", cure="Split it into several files."
            )
        if isinstance(one, Example):
            examples.append(one)
        else:
            problems.append(one)
    if not examples and not problems:
        cure = f"Write lines like {SHAPE}"
        if is_table(name):
            cure = "Write a question and its answer in every row below the heading."
        raise ExamplesError(f"{name} holds no examples.", cure=cure)
    return Reading(tuple(examples), tuple(problems))


def write_examples(examples: Sequence[Example], path: Path) -> None:
    """Write examples as JSON Lines, in their order.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(as_json_lines(examples), encoding="utf-8")


def as_json_lines(examples: Sequence[Example]) -> str:
    """Examples as JSON Lines; the document is named where it is known."""
    lines = []
    for example in examples:
        record: dict[str, Any] = {"messages": [one.as_dict() for one in example.messages]}
        if example.document:
            record["document"] = example.document
        if example.grounded:
            record["grounded"] = True
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines)


def as_csv(examples: Sequence[Example]) -> str:
    """Examples of one question and one answer as a table; longer chats have no place in it."""
    short = [one for one in examples if len(one.messages) == 2]
    return table.write(
        (*(message.content for message in one.messages), one.document) for one in short
    )


def is_table(name: str) -> bool:
    """Whether a file of this name holds a table."""
    return Path(name).suffix.lower() in TABLE_SUFFIXES


def unit_of(name: str) -> str:
    """What the places in a file of this name are called."""
    return "Row" if is_table(name) else "Line"


# --- rows --------------------------------------------------------------------------------------


def _lines(text: str) -> Iterator[Example | RowProblem]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _of_line(line, number)


def _of_line(line: str, number: int) -> Example | RowProblem:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        return RowProblem(
            number, f"this is not JSON ({said}).", f"Write one object a line: {SHAPE}"
        )
    try:
        return _example(record, number)
    except ExamplesError as error:
        return _problem(error, number, record)


def _table_rows(text: str) -> Iterator[Example | RowProblem]:
    for row in table.read(text):
        record = {"question": row.question, "answer": row.answer, "document": row.document}
        if row.problem:
            yield RowProblem(row.number, row.problem, row.cure, *record.values())
            continue
        try:
            yield _example(record, row.number)
        except ExamplesError as error:
            yield _problem(error, row.number, record)


def _example(record: Any, number: int) -> Example:
    messages = tuple(_messages(record))
    if not messages or messages[-1].role != "assistant":
        raise ExamplesError(
            "the last message must be the assistant's answer.",
            cure="Add the answer that the model should learn.",
        )
    document = record.get("document")
    document = document.strip() if isinstance(document, str) else ""
    return Example(messages, number, document, record.get("grounded") is True)


def _messages(record: Any) -> Iterator[Message]:
    for position, (what, role, content) in enumerate(_turns(record)):
        if role == "system":
            raise ExamplesError(
                "a system message is not allowed here.",
                cure="Remove it: the recipe adds the system prompt that is served.",
            )
        expected: Role = "assistant" if position % 2 else "user"
        if role != expected:
            raise ExamplesError(
                f"{what} must be the {expected}'s, not {role!r}.",
                cure="Let user and assistant speak in turn, the user first.",
            )
        if not isinstance(content, str) or not content.strip():
            raise ExamplesError(
                f"{what} has no text.",
                cure=f"Write {what}, or delete the row."
                if what.startswith("the")
                else "Give every message a content that is not empty.",
            )
        yield Message(expected, _sound(what, content.strip()))


def _sound(what: str, content: str) -> str:
    if len(content) > MOST_CHARACTERS:
        raise ExamplesError(
            f"{what} has {len(content):,} characters; at most {MOST_CHARACTERS:,} are read.",
            cure="Shorten it.",
        )
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise ExamplesError(
            f"{what} holds half a character, which no file can keep.", cure="Write it again."
        ) from error
    return content


def _turns(record: Any) -> list[tuple[str, Any, Any]]:
    """What each turn is called, its role and its content, whichever shape a record has."""
    match record:
        case {"messages": [*messages]} if all(isinstance(item, dict) for item in messages):
            return [
                (f"message {number}", item.get("role"), item.get("content"))
                for number, item in enumerate(messages, start=1)
            ]
        case {"prompt": prompt, "completion": completion}:
            return [("the prompt", "user", prompt), ("the completion", "assistant", completion)]
        case {"question": question, "answer": answer}:
            return [("the question", "user", question), ("the answer", "assistant", answer)]
    raise ExamplesError(
        "neither messages nor prompt with completion is there.", cure=f"Write lines like {SHAPE}"
    )


def _problem(error: ExamplesError, number: int, record: Any) -> RowProblem:
    """A problem with what can be read of its row, so that it can be mended in place."""
    try:
        turns = _turns(record)
    except ExamplesError:
        turns = []
    said = {"user": "", "assistant": ""}
    for _, role, content in turns:
        if role in said and isinstance(content, str):
            said[role] = said[role] or content.strip()[:MOST_CHARACTERS]
    document = record.get("document") if isinstance(record, dict) else ""
    return RowProblem(
        number,
        error.reason,
        error.cure,
        question=said["user"],
        answer=said["assistant"],
        document=document if isinstance(document, str) else "",
    )
