"""Who is answered next: the places at a model server, shared fairly between the people who ask.

A server generates a few answers at once and takes the others first come, first served: one person
with many questions would keep everybody else waiting. So those who wait, wait here. A free place
goes to the person with the fewest answers under way, and among these to the one who was served
longest ago (round robin: J. Nagle, "On Packet Switches with Infinite Storage", RFC 970).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from weakref import WeakKeyDictionary

from bot.models.client import Endpoint

REMEMBERED_ANSWERS = 16
"""How many of the last answers say how long the next ones will take."""

Tell = Callable[[int, float | None], None]
"""Told the place in the queue, from 1 on, and the seconds it will take, None when unknown."""


@dataclass(eq=False)
class _Waiting:
    person: str
    tell: Tell
    served: asyncio.Future[None]
    told: int = 0


@dataclass
class _Person:
    under_way: int = 0
    last_served: int = 0


@dataclass
class Queue:
    """The places at one server; used within one event loop.

    Args:
        places: how many answers are generated at once.
        clock: seconds of a clock that never goes back.
    """

    places: int
    clock: Callable[[], float] = time.monotonic
    _taken: int = 0
    _turn: int = 0
    _waiting: list[_Waiting] = field(default_factory=list)
    _people: dict[str, _Person] = field(default_factory=dict)
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED_ANSWERS))

    @asynccontextmanager
    async def place(self, person: str, tell: Tell) -> AsyncGenerator[None]:
        """Hold a place for as long as the block runs; wait for it first.

        Args:
            person: who asks; everybody has the same share.
            tell: called when the place in the queue changes, never when one is free at once.
        """
        if self._taken < self.places and not self._waiting:
            self._take(person)
        else:
            await self._wait(person, tell)
        since = self.clock()
        try:
            yield
            self._seconds.append(self.clock() - since)  # one that was broken off says nothing
        finally:
            self._leave(person)

    async def _wait(self, person: str, tell: Tell) -> None:
        waiting = _Waiting(person, tell, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._tell_all()
        try:
            await waiting.served
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._forget(person)
                self._tell_all()
            else:  # it was served in the same moment
                self._leave(person)
            raise

    def _take(self, person: str) -> None:
        self._taken += 1
        self._turn += 1
        record = self._people.setdefault(person, _Person())
        record.under_way += 1
        record.last_served = self._turn

    def _leave(self, person: str) -> None:
        self._taken -= 1
        self._people[person].under_way -= 1
        while self._waiting and self._taken < self.places:
            served = self._order()[0]
            self._waiting.remove(served)
            self._take(served.person)
            served.served.set_result(None)
        self._forget(person)
        self._tell_all()

    def _order(self) -> list[_Waiting]:
        """Those who wait, in the order in which they will be served if nobody else comes."""
        lines: dict[str, deque[_Waiting]] = {}
        for waiting in self._waiting:
            lines.setdefault(waiting.person, deque()).append(waiting)
        turn = self._turn
        nobody = _Person()
        due = [
            (record.under_way, record.last_served, number, name)
            for number, name in enumerate(lines)
            for record in [self._people.get(name, nobody)]
        ]
        heapify(due)
        order = []
        while due:
            under_way, _, number, name = heappop(due)
            order.append(lines[name].popleft())
            turn += 1
            if lines[name]:
                heappush(due, (under_way + 1, turn, number, name))
        return order

    def _tell_all(self) -> None:
        for number, waiting in enumerate(self._order() if self._waiting else (), start=1):
            if _worth_telling(waiting.told, number):
                waiting.told = number
                waiting.tell(number, self._seconds_until(number))

    def _seconds_until(self, number: int) -> float | None:
        if not self._seconds:
            return None
        return number * sum(self._seconds) / len(self._seconds) / self.places

    def _forget(self, person: str) -> None:
        """Remember nothing of a person who neither waits nor is answered."""
        record = self._people.get(person)
        if record and not record.under_way and all(one.person != person for one in self._waiting):
            del self._people[person]


def _worth_telling(told: int, number: int) -> bool:
    """Every step near the front; far behind, only a tenth of the way."""
    return told != number and (number < 10 or not told or abs(told - number) >= told // 10)


_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Queue]] = WeakKeyDictionary()


def queue_at(endpoint: Endpoint) -> Queue | None:
    """The queue before a server in this event loop; None for a server that keeps its own."""
    if not endpoint.places:
        return None
    queues = _queues.setdefault(asyncio.get_running_loop(), {})
    return queues.setdefault(endpoint.base_url, Queue(endpoint.places))
