"""Who is answered next: places are shared fairly, and who waits is told how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from bot.chat.queue import Queue


@dataclass
class Crowd:
    """People at one queue. Each answer runs until it is let go."""

    queue: Queue
    served: list[str] = field(default_factory=list)
    told: dict[str, list[tuple[int, float | None]]] = field(default_factory=dict)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def asks(self, name: str) -> None:
        """Put an answer in line; its name begins with the person's."""
        self.ends[name] = asyncio.Event()
        self.told[name] = []
        self.tasks[name] = asyncio.create_task(self._answer(name))
        await settle()

    async def _answer(self, name: str) -> None:
        def tell(place: int, seconds: float | None) -> None:
            self.told[name].append((place, seconds))

        async with self.queue.place(name[0], tell):
            self.served.append(name)
            await self.ends[name].wait()

    async def ends_one(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settle()

    async def gives_up(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)
        await settle()

    async def goes_home(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(scene: Callable[[Crowd], Awaitable[None]], places: int = 2) -> Crowd:
    """Play a scene before a queue whose clock stands still until it is moved."""

    async def play() -> Crowd:
        crowd = Crowd(Queue(places, clock=clock))
        await scene(crowd)
        await crowd.goes_home()
        return crowd

    now[0] = 0.0
    return asyncio.run(play())


now = [0.0]


def clock() -> float:
    return now[0]


def test_a_free_place_is_taken_at_once_and_nobody_is_told_anything() -> None:
    async def scene(crowd: Crowd) -> None:
        await crowd.asks("a1")
        await crowd.asks("b1")

    crowd = run(scene)
    assert crowd.served == ["a1", "b1"]
    assert crowd.told == {"a1": [], "b1": []}


def test_one_who_asks_much_does_not_keep_the_others_waiting() -> None:
    async def scene(crowd: Crowd) -> None:
        for name in ("a1", "a2", "a3", "a4", "a5", "b1", "c1"):
            await crowd.asks(name)
        for name in ("a1", "a2", "b1", "c1", "a3", "a4"):
            await crowd.ends_one(name)

    # b and c came last, have nothing under way, and go before a's third
    assert run(scene).served == ["a1", "a2", "b1", "c1", "a3", "a4", "a5"]


def test_people_who_wait_alike_are_served_in_turn() -> None:
    async def scene(crowd: Crowd) -> None:
        for name in ("a1", "a2", "a3", "b1", "b2", "b3"):
            await crowd.asks(name)
        for name in ("a1", "b1", "a2", "b2", "a3"):
            await crowd.ends_one(name)

    assert run(scene, places=1).served == ["a1", "b1", "a2", "b2", "a3", "b3"]


def test_who_waits_is_told_the_place_and_how_long() -> None:
    async def scene(crowd: Crowd) -> None:
        for name in ("a1", "b1", "c1"):
            await crowd.asks(name)
        assert crowd.told["b1"] == [(1, None)]
        assert crowd.told["c1"] == [(2, None)]
        now[0] = 8.0
        await crowd.ends_one("a1")
        assert crowd.told["c1"] == [(2, None), (1, 8.0)]

    run(scene, places=1)


def test_places_divide_the_time_that_is_told() -> None:
    async def scene(crowd: Crowd) -> None:
        for name in ("a1", "b1", "c1", "d1", "e1", "f1"):
            await crowd.asks(name)
        now[0] = 8.0
        await crowd.ends_one("a1")
        assert crowd.told["f1"][-1] == (3, 12.0)

    run(scene, places=2)


@pytest.mark.parametrize("leaver", ["b1", "a1"])
def test_who_gives_up_makes_room(leaver: str) -> None:
    async def scene(crowd: Crowd) -> None:
        for name in ("a1", "b1", "c1"):
            await crowd.asks(name)
        await crowd.gives_up(leaver)
        assert crowd.told["c1"][-1][0] == 1
        for name in {"a1", "b1"} - {leaver}:
            await crowd.ends_one(name)
        assert crowd.served[-1] == "c1"

    run(scene, places=1)


def test_an_answer_that_fails_gives_its_place_back_and_foretells_nothing() -> None:
    async def play() -> None:
        queue = Queue(1, clock=clock)
        with pytest.raises(ValueError):
            async with queue.place("a", lambda *_: None):
                now[0] += 60.0
                raise ValueError
        async with queue.place("b", lambda *_: None):
            told: list[tuple[int, float | None]] = []
            waiting = asyncio.create_task(_wait(queue, told))
            await settle()
            assert told == [(1, None)]
        await waiting

    asyncio.run(play())


async def _wait(queue: Queue, told: list[tuple[int, float | None]]) -> None:
    async with queue.place("c", lambda *values: told.append(values)):
        pass


def test_nothing_is_remembered_of_people_who_are_gone() -> None:
    async def scene(crowd: Crowd) -> None:
        for name in ("a1", "b1", "c1", "c2"):
            await crowd.asks(name)
        await crowd.gives_up("c2")
        for name in ("a1", "b1", "c1"):
            await crowd.ends_one(name)
        assert crowd.queue._people == {}
        assert crowd.queue._taken == 0

    run(scene, places=1)


def test_far_behind_only_a_tenth_of_the_way_is_worth_telling() -> None:
    async def scene(crowd: Crowd) -> None:
        for number in range(101):
            await crowd.asks(f"{chr(200 + number)}1")
        last = crowd.told[f"{chr(300)}1"]
        for number in range(100):
            await crowd.ends_one(f"{chr(200 + number)}1")
        assert [place for place, _ in last][:3] == [100, 90, 81]
        assert [place for place, _ in last][-10:] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]

    run(scene, places=1)
