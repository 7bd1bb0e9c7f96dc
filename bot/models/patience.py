"""How long a server is waited for: by its tokens, since bytes alone say nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

TRICKLE_TOKENS = 4
"""A server that writes fewer tokens than this within the time of a silence is given up, too:
nobody waits for an answer of one token a minute."""

T = TypeVar("T")


class Patience:
    """The time that is left for the next token, beginning with the first wait.

    The first token may take `seconds`, and so may any `TRICKLE_TOKENS` after it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.tokens = 0
        self._latest: deque[float] = deque(maxlen=TRICKLE_TOKENS)

    @property
    def deadline(self) -> float:
        """When patience ends, in the event loop's time."""
        return (self._latest[0] if self._latest else _now()) + self.seconds

    @property
    def left_seconds(self) -> float:
        """The time until then; negative when it is over."""
        return self.deadline - _now()

    @property
    def is_trickle(self) -> bool:
        """Whether there were tokens lately, though too few."""
        return self.tokens > 1 and self._latest[-1] + self.seconds / 2 > _now()

    def progress(self) -> None:
        """A token came."""
        if not self.tokens:
            self._latest.clear()
        self.tokens += 1
        self._latest.append(_now())

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Wait for something for as long as patience lasts.

        Raises:
            TimeoutError: it is over.
        """
        if not self._latest:
            self._latest.append(_now())
        async with asyncio.timeout_at(self.deadline):
            return await awaitable


def _now() -> float:
    return asyncio.get_running_loop().time()
