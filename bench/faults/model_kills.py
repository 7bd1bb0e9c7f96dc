"""Kills of llama.cpp while it answers: the card says so, keeps its text, and a retry succeeds."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from bench.faults.home import Home
from bench.faults.worker import prepare
from bot.chat.answers import LiveAnswer, LiveTurn
from bot.chat.columns import Options
from bot.records import conversations as records
from bot.services import Services

QUESTION = "Tell a long story about a kiln, its keeper and a heron."
OPTIONS = Options(48, 0.0, 7, 1, "", models=("embedded",))
LONGEST_SEEN_CHARACTERS = 100
PERSON = "person"


def suffer(home: Home, seed: int, count: int, pipe: Connection, log: Path) -> None:
    """Ask the embedded model, kill its server this many times, and tell what should not be."""
    prepare(log, "")
    chance = random.Random(seed)
    services = home.open()
    for number in range(count):
        seen = chance.choice((0, chance.randint(1, LONGEST_SEEN_CHARACTERS)))
        for problem in _killed(services, seen):
            pipe.send(("problem", f"llama.cpp {number}, killed after {seen} characters: {problem}"))
        pipe.send(("tried", ""))
    services.close()


def _killed(services: Services, characters: int) -> Iterator[str]:
    """What is wrong after the server was killed when so much of its answer was there."""
    chat = services.chat
    services.models.get("embedded").endpoint()
    turn = chat.ask(chat.create(), QUESTION, ["prompt"], OPTIONS)
    chat.attach(turn.id, PERSON)
    (answer,) = turn.answers.values()
    _wait(services, turn, lambda: answer.finished or len(answer.text) >= characters)
    seen = answer.text
    _kill(services)
    _wait(services, turn, lambda: turn.done)
    yield from _faults_of(answer, seen)
    ((stored,),) = [one.answers for one in records.turns(services.engine, turn.conversation_id)]
    if (stored.status, stored.text) != (answer.status, answer.text):
        yield f"the card says {answer.status}, the records {stored.status}"
    again = chat.retry(answer.id, OPTIONS)
    chat.attach(again.id, PERSON)
    (retried,) = again.answers.values()
    _wait(services, again, lambda: again.done)
    if retried.status != "complete" or not retried.text.startswith(seen):
        yield f"the retry ended as {retried.status}: {retried.error} {retried.text!r} ({seen!r})"


def _faults_of(answer: LiveAnswer, seen: str) -> Iterator[str]:
    """What is wrong with a card whose server was killed when it showed this text."""
    if not answer.text.startswith(seen):
        yield f"{seen!r} was seen, {answer.text!r} was kept"
    if answer.status == "complete" and not seen:
        return  # killed before it was asked, and started again in time
    said = f"{answer.error} {answer.cure}"
    if answer.status != "failed":
        yield f"it ended as {answer.status}"
    elif not (answer.error.endswith(".") and answer.cure) or "Error(" in said or "\n" in said:
        yield f"this is no sentence: {said!r}"


def _kill(services: Services) -> None:
    (pid,) = [one.pid for one in services.servers.status() if one.name == "model"]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def _wait(services: Services, turn: LiveTurn, until: Callable[[], bool]) -> None:
    seen = -1
    while not until():
        seen = services.chat.wait(turn, seen, 5.0)
