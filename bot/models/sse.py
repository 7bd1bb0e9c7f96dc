"""What a model server streams, line by line: bytes in, JSON objects out, within bounds."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, cast

END: Final[dict[str, Any]] = {}
"""This very object stands for the event `[DONE]`: the server says that nothing more comes."""

_FIELDS = (b":", b"event:", b"id:", b"retry:")
_MOST_LOOSE_BYTES = 65_536


class Unreadable(ValueError):
    """What came is not what a model server streams."""


class TooMuch(ValueError):
    """More came than any answer needs."""


async def events(body: AsyncIterator[bytes], *, limit_bytes: int) -> AsyncGenerator[dict[str, Any]]:
    """The JSON objects of an event stream, and `END` where the server says that it is over.

    Every data line is taken for a whole event: no server of this protocol splits one. A line that
    the connection broke off is left out. A body that is one bare JSON object is that one event.
    Bytes that are not UTF-8 become U+FFFD.

    Args:
        limit_bytes: the most that the whole body, or one line of it, may take.

    Raises:
        Unreadable: a line is neither an event nor a part of one.
        TooMuch: the body is longer than its limit.
    """
    pending = bytearray()
    loose = bytearray()
    total = 0
    found = False
    async for piece in body:
        total += len(piece)
        if total > limit_bytes:
            raise TooMuch
        searched = len(pending)
        pending += piece
        if pending.find(b"\n", searched) < 0:
            continue
        *lines, pending = pending.split(b"\n")
        for line in lines:
            if (event := _data(line, loose)) is not None:
                found = True
                yield _parsed(event)
    if (event := _data(pending, loose)) is not None and _is_whole(event):
        found = True
        yield _parsed(event)
    if not found and loose:
        yield _parsed(bytes(loose))


def _data(line: bytearray, loose: bytearray) -> bytes | None:
    """What a data line carries; the lines of something else are collected."""
    text = bytes(line).strip()
    if text.startswith(b"data:"):
        return text[5:].strip() or None
    if text and not text.startswith(_FIELDS) and len(loose) < _MOST_LOOSE_BYTES:
        loose += text + b"\n"
    return None


def _parsed(data: bytes) -> dict[str, Any]:
    if data.startswith(b"[DONE]"):
        return END
    try:
        event = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:  # nested a thousand deep
        raise Unreadable from error
    if not isinstance(event, dict):
        raise Unreadable
    return cast(dict[str, Any], event)


def _is_whole(data: bytes) -> bool:
    try:
        _parsed(data)
    except Unreadable:
        return False
    return True
