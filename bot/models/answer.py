"""One streamed answer, put together event by event and held to the length that was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BYTES_PER_TOKEN = 4
_USUAL_BYTES = range(2, 17)
"""Deltas of this many bytes on average are taken for one token each."""

_MOST_LETTERS, _MOST_BYTES = 8, 64
"""No text has more letters, or more bytes, than these for one of its tokens."""


@dataclass
class Answer:
    """What has come of an answer.

    Args:
        max_tokens: the longest answer that was asked for.
        deltas: pieces that came, thoughts included.
        size_bytes: their length in UTF-8.
        wrote: whether any of it was text, and not only thoughts.
        reason: why the server stopped, in its own word; empty while it goes on.
        usage: the server's own counts.
    """

    max_tokens: int
    deltas: int = 0
    size_bytes: int = 0
    wrote: bool = False
    called_tool: bool = False
    reason: str = ""
    usage: Mapping[str, Any] | None = None

    def take(self, event: Mapping[str, Any]) -> str:
        """Take in an event of the stream.

        Returns:
            The text it adds; empty for an event that is about something else.
        """
        if isinstance(event.get("usage"), dict):
            self.usage = event["usage"]
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""
        if isinstance(choice.get("finish_reason"), str):
            self.reason = choice["finish_reason"]
        piece = choice.get("delta") or choice.get("message")
        if not isinstance(piece, dict):
            return ""
        self.called_tool = self.called_tool or bool(piece.get("tool_calls"))
        text = _text(piece.get("content")) or _text(piece.get("refusal"))
        thought = _text(piece.get("reasoning_content")) or _text(piece.get("reasoning"))
        return self.write(text) if text else self._count(thought)

    def write(self, text: str) -> str:
        """Take in text; what no answer is long enough for is left out.

        Returns:
            The text it adds.
        """
        text = _storable(text)[: max(0, self._most_bytes - self.size_bytes) + 1]
        self._count(text)
        self.wrote = self.wrote or bool(text)
        return text

    def _count(self, text: str) -> str:
        if text:
            self.deltas += 1
            self.size_bytes += len(text.encode())
        return ""

    def end(self) -> None:
        """Take in that the server has said everything, though maybe not why."""
        self.reason = self.reason or ("length" if self.tokens >= self.max_tokens else "stop")

    @property
    def is_over(self) -> bool:
        """Whether nothing more is needed of it."""
        return self.is_overlong or bool(self.reason and self.usage)

    @property
    def tokens(self) -> int:
        """How many tokens came, by our own count.

        Most servers send one token a delta. Where deltas are letters or paragraphs, four bytes
        are taken for a token.
        """
        if self.deltas and self.size_bytes // self.deltas in _USUAL_BYTES:
            return self.deltas
        return math.ceil(self.size_bytes / _BYTES_PER_TOKEN)

    @property
    def is_overlong(self) -> bool:
        """Whether the server goes on far beyond the length that was asked for."""
        most = longest(self.max_tokens)
        return (
            (self.deltas > most and self.size_bytes >= 2 * self.deltas)
            or self.deltas > most * _MOST_LETTERS
            or self.size_bytes > self._most_bytes
        )

    @property
    def _most_bytes(self) -> int:
        return longest(self.max_tokens) * _MOST_BYTES

    def counted(self, name: str) -> int | None:
        """One of the server's own counts; None where it gives none."""
        value = (self.usage or {}).get(name)
        return value if isinstance(value, int) and 0 <= value < 2**31 else None


def longest(max_tokens: int) -> int:
    """Tokens after which an answer is cut off that was to end after `max_tokens`: servers may
    count a little differently."""
    return max_tokens + max(16, max_tokens // 2)


def most_bytes(max_tokens: int) -> int:
    """More than the events of an answer of this length can take, with all their trimmings."""
    return 1_000_000 + 2_000 * max_tokens


def _text(content: object) -> str:
    """The text of a delta's content, which some servers send in parts."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    return _storable(content) if isinstance(content, str) else ""


def _storable(text: str) -> str:
    """Text without what no database or page can hold."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
