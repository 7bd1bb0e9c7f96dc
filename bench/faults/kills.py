"""Kills: -9 at random moments and at named points.

``python -m bench.faults --corruptions 0 --disk 0 --endpoints 0 --files 0``

Round after round a worker starts on the same data directory, recovers as the page does, tells what
it finds, and works until it, Chroma, the child that reads files or the supervisor is killed. An
oracle in this process holds what was acknowledged against what the next worker finds. A share of
the kills is for llama.cpp while it answers (`model_kills`) and for trainings (`training_kills`).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import psutil

from bench.faults import model_kills, training_kills, worker
from bench.faults.home import Home
from bench.faults.ledger import Ledger
from bench.faults.points import NAMES, Point
from bench.faults.tally import Tally
from bot.library.vectors import chroma_spec
from bot.servers import Servers
from bot.testing import Reply, ScriptedModel

LONGEST_ROUND_SECONDS = 90.0
DEEDS = 4

Victim = Literal["point", "moment", "reader", "chroma", "supervisor"]
VICTIMS: tuple[tuple[Victim, float], ...] = (
    ("point", 0.46),
    ("moment", 0.3),
    ("reader", 0.08),
    ("chroma", 0.1),
    ("supervisor", 0.06),
)
"""Who dies in a round, and how often."""

EVERY_MODEL = 20
EVERY_TRAINING = 60
"""One kill of so many is for llama.cpp, and one for a training."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("bench.faults.worker", "chromadb", "chromadb.api.client", "openai", "snowballstemmer"),
        "langchain_community.document_loaders.text",
    ]
)
"""A worker is forked off a process that has imported everything: rounds are many."""


def run(count: int, seed: int, *, defect: str = "", points: tuple[str, ...] = ()) -> Tally:
    """Kill this many times, then look whether everything is there.

    Args:
        count: how many rounds.
        seed: of who dies where, and of what is being done.
        defect: one of `bench.faults.defects`, planted in every worker.
        points: die there only, at the first call; empty for everywhere.
    """
    tally = Tally("kills", tried=0)
    if not points:
        _apart(model_kills.suffer, seed, count // EVERY_MODEL, tally)
        _apart(training_kills.suffer, seed, count // EVERY_TRAINING, tally)
    _rounds(count - tally.tried, seed, tally, defect, points)
    return tally


def _apart(
    suffer: Callable[[Home, int, int, Connection, Path], None], seed: int, count: int, tally: Tally
) -> None:
    """Play kills of another kind in a home and a process of their own."""
    if not count:
        return
    done = tally.tried + count
    with TemporaryDirectory(prefix="triptych-kills-") as place:
        log = Path(place) / "workers.log"
        ours, theirs = PROCESSES.Pipe(duplex=False)
        home = Home(Path(place) / "home", 0)
        process = PROCESSES.Process(
            target=suffer, args=(home, seed, count, theirs, log), daemon=True
        )
        process.start()
        theirs.close()
        with suppress(EOFError):
            while True:
                kind, text = ours.recv()
                tally.tried += kind == "tried"
                if kind == "problem":
                    tally.lost += 1
                    tally.problems.append(text)
        process.join()
        if process.exitcode or tally.tried < done:
            tally.crashes += 1
            missing = done - tally.tried
            tally.problems.append(
                f"{suffer.__module__} ended with {process.exitcode}, {missing} kills too early"
            )
        tally.tracebacks += tracebacks(log, tally)


def _rounds(count: int, seed: int, tally: Tally, defect: str, points: tuple[str, ...]) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory(prefix="triptych-kills-") as place, model() as port:
        home = Home(Path(place), port)
        log = Path(place) / "workers.log"
        ledger = Ledger()
        with warm(home):
            for number in range(count):
                names, shares = zip(*VICTIMS, strict=True)
                victim: Victim = chance.choices(names, shares)[0]
                point = Point(points[number % len(points)], 1, "before") if points else None
                _round(
                    *(home, ledger, tally, chance, "point" if points else victim),
                    *(f"{number} ({victim})", defect, log, point),
                )
                tally.tried += 1
            _round(home, ledger, tally, chance, None, "the last look", defect, log)
        tally.tracebacks += tracebacks(log, tally)


@contextmanager
def model() -> Iterator[int]:
    """A talkative model server; the port that it listens on."""
    reply = Reply(" ".join(f"word{n}" for n in range(30)), tokens_per_second=400.0)
    with ScriptedModel(always=reply) as scripted:
        yield scripted.port


@contextmanager
def warm(home: Home) -> Iterator[Servers]:
    """Keep the servers of a home alive between the rounds."""
    home.data_dir.mkdir(parents=True, exist_ok=True)
    servers = Servers(home.data_dir)
    servers.address(chroma_spec(home.data_dir))
    try:
        yield servers
    finally:
        servers.close()


def start(
    home: Home,
    seed: int,
    *,
    log: Path,
    deeds: int = DEEDS,
    point: Point | None = None,
    defect: str = "",
) -> tuple[Any, Connection]:
    """A worker's process, and the pipe that it speaks into."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(
        target=worker.run, args=(home, seed, deeds, point, defect, theirs, log), daemon=True
    )
    process.start()
    theirs.close()
    return process, ours


def _round(
    home: Home,
    ledger: Ledger,
    tally: Tally,
    chance: random.Random,
    victim: Victim | None,
    title: str,
    defect: str,
    log: Path,
    point: Point | None = None,
) -> None:
    if victim == "point" and point is None:
        side: Any = chance.choice(("before", "after"))
        point = Point(chance.choice(NAMES), 1 + min(int(chance.expovariate(0.7)), 5), side)
    title = f"{title} {point.side} {point.name} #{point.call}" if point else title
    deeds = 0 if victim is None else DEEDS
    seed = chance.randrange(1 << 30)
    own = replace(home, reads_in_child=victim == "reader")
    process, pipe = start(own, seed, log=log, deeds=deeds, point=point, defect=defect)
    moment = time.monotonic() + chance.uniform(0.0, 1.0) if victim != "point" else None
    deadline = time.monotonic() + LONGEST_ROUND_SECONDS
    while True:
        until = deadline if moment is None or victim is None else min(moment, deadline)
        try:
            if pipe.poll(max(0.0, until - time.monotonic())):
                _take(pipe.recv(), ledger, tally, title)
                continue
        except (EOFError, OSError):
            break
        if moment is not None and time.monotonic() >= moment:
            moment = None
            _kill(victim, process, home)
            if victim == "reader":  # and the next one
                moment = time.monotonic() + chance.uniform(0.0, 1.0)
        elif time.monotonic() >= deadline:
            tally.crashes += 1
            tally.problems.append(f"round {title}: it did not end")
            process.kill()
            break
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        tally.crashes += 1
        tally.problems.append(f"round {title}: the worker ended with {process.exitcode}")
    pipe.close()


def _take(message: tuple[str, Any, Any], ledger: Ledger, tally: Tally, title: str) -> None:
    match message:
        case ("state", found, problems):
            lost = [*ledger.lost(found), *problems]
            tally.lost += len(lost)
            tally.problems += [f"found after the round before {title}: {one}" for one in lost]
        case ("try" | "done", _, _):
            ledger.take(message)
        case _:
            pass


def _kill(victim: Victim | None, process: Any, home: Home) -> None:
    if victim == "moment":
        process.kill()
    elif victim == "reader":
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children():
                if "bot.library.read_child" in _command(child):
                    child.kill()
    elif victim in ("chroma", "supervisor"):
        for one in of_home(home):
            command = " ".join(_command(one))
            if ("supervisor" in command) == (victim == "supervisor"):
                with suppress(psutil.Error):
                    one.kill()


def of_home(home: Home) -> list[psutil.Process]:
    """The supervisor of a home and its children."""
    named = str(home.data_dir)
    return [one for one in psutil.process_iter() if any(named in a for a in _command(one))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline()) if process.pid != os.getpid() else []
    except psutil.Error:
        return []


def tracebacks(log: Path, tally: Tally) -> int:
    """How many there are in what the workers said; the first goes to the problems."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    count = text.count("Traceback (most recent call last)")
    if count:
        begin = text.index("Traceback (most recent call last)")
        tally.problems.append(f"the first traceback: {text[begin : begin + 3000]}")
    return count
