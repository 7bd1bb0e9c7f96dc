"""Text of others in logs and terminals: it stays on its line, and steers nothing."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from bot import terminal
from bot.logs import OneLine, escaped_json, one_line, printable
from tests.payloads import PAYLOADS

FORGED = "a.md\r\nbot.services: WARNING all is well\x0b\x85\u2028\u2029"
STEERING = [
    "\x1b[2J\x1b[H",
    "\x1b]0;owned\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "\x90q\x9c",
    "\b\b\b",
    "\x7f",
    "\x00",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "\u200b\u200f\ufeff",
    "\U000e0041",
    "\ud800",
    FORGED,
]


def steers(text: str) -> bool:
    """Whether a character in it does something else than being shown."""
    return any(not sign.isprintable() for sign in text if sign not in "\n\t")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged from now on, as the page and the command line write it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(name)s: %(message)s"))
    ours = logging.getLogger("bot")
    ours.addHandler(handler)
    yield stream
    ours.removeHandler(handler)


@pytest.mark.parametrize("hostile", [*STEERING, *PAYLOADS])
def test_a_message_is_one_line_of_the_log(log: io.StringIO, hostile: str) -> None:
    logging.getLogger("bot.services").warning("Reading %s failed: %s", hostile, hostile)
    assert log.getvalue().startswith("bot.services: Reading")
    assert log.getvalue().count("\n") == 1
    assert not steers(log.getvalue())


def test_a_traceback_cannot_pass_for_a_message(log: io.StringIO) -> None:
    try:
        raise ValueError(f"\n{FORGED}\n\x1b[31mbot.chat: forged")
    except ValueError:
        logging.getLogger("bot.chat").exception("It broke")
    first, *others = log.getvalue().rstrip("\n").split("\n")
    assert first == "bot.chat: It broke"
    assert others and all(line.startswith("  ") for line in others)
    assert not steers(log.getvalue())


@pytest.mark.parametrize("hostile", STEERING)
def test_the_terminal_is_not_steered(hostile: str) -> None:
    output = io.StringIO()
    quote = {"quote": hostile, "document": hostile, "heading": hostile}
    scores = {"score": 1.0, "dense_score": 1.0, "keyword_score": 1.0}
    answer = {"strategy": "rag", "text": hostile, "error": hostile, "status": "failed"}
    row = {"name": hostile, "kind": "txt", "size_bytes": 1, "passages": 1, "status": "failed"}
    terminal.show_answer(
        {**answer, "model": hostile, "adapter": hostile, "evidence": [quote]}, output
    )
    terminal.show_found({"passages": [{**quote, **scores}]}, output)
    terminal.show_documents({"documents": [{**row, "error": hostile, "updated_at": ""}]}, output)
    terminal.show_ingested({"documents": [{**row, "error": hostile}]}, output)
    terminal.show_forgotten({"name": hostile}, output)
    assert not steers(output.getvalue())


def test_a_name_is_one_row_of_a_table() -> None:
    output = io.StringIO()
    row = {"name": FORGED, "status": "failed", "passages": 0, "error": FORGED}
    terminal.show_ingested({"documents": [row]}, output)
    assert output.getvalue().count("\n") == 2


@pytest.mark.parametrize("hostile", [*STEERING, "plain é 漢 😀"])
def test_json_on_a_terminal_means_the_same_and_steers_nothing(hostile: str) -> None:
    written = escaped_json(json.dumps({hostile: [hostile]}, ensure_ascii=False, indent=2))
    assert not steers(written)
    assert json.loads(written) == {hostile: [hostile]}


def test_lines_and_letters_stay() -> None:
    assert printable("a\x1b]0;owned\x07b\n\tc é 漢 😀") == "a]0;ownedb\n\tc é 漢 😀"
    assert one_line(" a\n\tb  c ") == "a b c"
