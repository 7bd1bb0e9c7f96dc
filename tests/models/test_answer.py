"""An answer, event by event: what is text, what is counted, and when it is too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.models import sse
from bot.models.answer import Answer, longest


def piece(content: object, **more: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **more}}]}


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (piece("Nine"), "Nine"),
        (piece([{"type": "text", "text": "Ni"}, {"text": "ne"}, 7]), "Nine"),
        (piece(None, refusal="No."), "No."),
        (piece("\x00a\ud83d"), "a?"),
        (piece(None, reasoning_content="Hm"), ""),
        (piece(7), ""),
        ({"choices": [{"message": {"content": "Nine"}}]}, "Nine"),
        ({"choices": []}, ""),
        ({"choices": None}, ""),
        ({"choices": ["Nine"]}, ""),
        ({"choices": [{"delta": "Nine"}]}, ""),
        ({}, ""),
    ],
)
def test_what_is_text_of_an_event(event: dict[str, Any], text: str) -> None:
    assert Answer(40).take(event) == text


def test_tokens_are_counted_where_the_server_does_not() -> None:
    words, letters, whole = Answer(40), Answer(40), Answer(40)
    for word in (" warm", " kilns", " cool"):
        words.take(piece(word))
        for letter in word:
            letters.take(piece(letter))
    whole.take(piece(" warm kilns cool" * 10))
    assert (words.tokens, letters.tokens, whole.tokens) == (3, 4, 40)
    assert words.counted("completion_tokens") is None
    words.take({"usage": {"completion_tokens": 5, "prompt_tokens": -1}})
    assert words.counted("completion_tokens") == 5
    assert words.counted("prompt_tokens") is None


def test_an_answer_of_the_asked_length_is_never_too_long() -> None:
    for text in (" word", "7", "字", " incomprehensibilities", "-" * 60):
        answer = Answer(200)
        for _ in range(200):
            answer.take(piece(text))
        assert not answer.is_overlong, text


@pytest.mark.parametrize("text", [" word", "ab", "a", " ", "-" * 60, "word " * 9000])
def test_an_answer_without_an_end_is_too_long(text: str) -> None:
    answer, written = Answer(20), ""
    for _ in range(longest(20) * 8 + 1):
        written += answer.take(piece(text))
        if answer.is_overlong:
            break
    assert answer.is_overlong
    assert len(written) <= longest(20) * 64 + 64


def test_the_end_may_come_without_a_reason() -> None:
    short, full = Answer(2), Answer(2)
    short.take(piece("Nine"))
    short.end()
    for word in ("Nine", " hours"):
        full.take(piece(word))
    full.end()
    assert (short.reason, full.reason) == ("stop", "length")


def events(*pieces: bytes, limit_bytes: int = 10_000) -> list[dict[str, Any]]:
    async def body() -> AsyncIterator[bytes]:
        for one in pieces:
            yield one

    async def read() -> list[dict[str, Any]]:
        return [one async for one in sse.events(body(), limit_bytes=limit_bytes)]

    return asyncio.run(read())


def test_events_are_read_however_they_are_cut() -> None:
    stream = 'data: {"a": "ü"}\r\n\r\n: comment\nid: 7\nevent: x\ndata:{"b": 2}\n\ndata: [DONE]\n'
    raw = stream.encode()
    for size in range(1, len(raw) + 1):
        parts = [raw[start : start + size] for start in range(0, len(raw), size)]
        found = events(*parts)
        assert found == [{"a": "ü"}, {"b": 2}, {}]
        assert found[-1] is sse.END


def test_the_last_line_counts_when_it_is_whole() -> None:
    assert events(b'data: {"a": 1}\n\ndata: {"b": 2}') == [{"a": 1}, {"b": 2}]
    assert events(b'data: {"a": 1}\n\ndata: {"b": ') == [{"a": 1}]


def test_one_bare_object_is_an_event() -> None:
    assert events(b'{\n  "error": "no model"\n}\n') == [{"error": "no model"}]
    assert events(b"") == []


@pytest.mark.parametrize(
    "line", [b"data: {", b"data: 7", b"data: [1]", b"data: " + b"[" * 5000, b"<html>"]
)
def test_what_is_no_event_is_unreadable(line: bytes) -> None:
    with pytest.raises(sse.Unreadable):
        events(line + b"\n\n", limit_bytes=10_000)


def test_a_body_has_a_longest_length() -> None:
    with pytest.raises(sse.TooMuch):
        events(*[b": still here\n"] * 100, limit_bytes=1000)
