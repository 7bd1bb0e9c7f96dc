"""A full disk: a small one of our own is filled to the last block, and people go on working.

Each action on it is acknowledged or fails with a sentence; the page can be read meanwhile; with
room again the same action works, in the same process. Needs root, which may mount a file system
in memory; anybody else is told that it was skipped.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench.faults import kills
from bench.faults.home import Home
from bench.faults.ledger import Ledger, recall
from bench.faults.tally import Tally
from bench.faults.worker import Worker, prepare
from bot.chat import live
from bot.errors import TriptychError
from bot.library.ingest import documents, sync_folder
from bot.services import Services

DISK_BYTES = 96_000_000
LEFT_BYTES = (0, 4096, 16_384, 65_536, 262_144, 1_000_000)
"""How much room is left; most actions get stuck half-way in some of them."""

BALLAST = "ballast"


def can_mount() -> str:
    """Why no disk can be mounted here; empty when one can."""
    if not sys.platform.startswith("linux"):
        return "only Linux mounts file systems in memory"
    if os.geteuid() != 0:
        return "only root may mount a file system"
    with TemporaryDirectory(prefix="triptych-disk-") as place:
        if _mount(Path(place), 1_000_000).returncode:
            return "no file system can be mounted here, not even by root"
        subprocess.run(["umount", place], check=True)
    return ""


def _mount(folder: Path, size_bytes: int) -> subprocess.CompletedProcess[bytes]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True)


def run(count: int, seed: int, *, defect: str = "") -> Tally:
    """Fill the disk this many times."""
    tally = Tally("disk full", tried=0)
    if why := can_mount():
        tally.problems.append(f"skipped: {why}")
        return tally
    with TemporaryDirectory(prefix="triptych-disk-") as place, kills.model() as port:
        log = Path(place) / "workers.log"
        with _disk(Path(place) / "disk") as folder:
            home = Home(folder, port)
            ledger = Ledger()
            _follow(home, seed, count, ledger, tally, log, defect)
            with kills.warm(home):  # after a restart, all of it is still there
                process, pipe = kills.start(home, seed, log=log, deeds=0)
                while (message := _received(pipe)) is not None:
                    if message[0] == "state":
                        lost = [*ledger.lost(message[1]), *message[2]]
                        tally.lost += len(lost)
                        tally.problems += [f"after the restart: {one}" for one in lost]
                process.join()
        tally.tracebacks += kills.tracebacks(log, tally)
    return tally


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """A file system of a fixed size."""
    folder.mkdir()
    _mount(folder, DISK_BYTES).check_returncode()
    try:
        yield folder
    finally:
        for one in kills.of_home(Home(folder, 0)):
            with suppress(psutil.Error):
                one.kill()
                one.wait(10)
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _follow(
    home: Home, seed: int, count: int, ledger: Ledger, tally: Tally, log: Path, defect: str
) -> None:
    ours, theirs = kills.PROCESSES.Pipe(duplex=False)
    process = kills.PROCESSES.Process(
        target=suffer, args=(home, seed, count, theirs, log, defect), daemon=True
    )
    process.start()
    theirs.close()
    while (message := _received(ours)) is not None:
        match message:
            case ("filled", _, _):
                tally.tried += 1
            case ("problem", text, _):
                tally.lost += 1
                tally.problems.append(text)
            case ("state", found, problems):
                lost = [*ledger.lost(found), *problems]
                tally.lost += len(lost)
                tally.problems += [f"disk {tally.tried}: {one}" for one in lost]
            case _:
                ledger.take(message)
    process.join()
    if process.exitcode:
        tally.crashes += 1
        tally.problems.append(f"disk {tally.tried}: the process ended with {process.exitcode}")


def _received(pipe: Connection) -> tuple[str, object, object] | None:
    try:
        return pipe.recv()  # type: ignore[no-any-return]
    except (EOFError, OSError):
        return None


def suffer(home: Home, seed: int, count: int, pipe: Connection, log: Path, defect: str) -> None:
    """Work on a disk that is filled and freed again and again."""
    prepare(log, defect)
    live.SAVE_AGAIN_SECONDS = 0.1
    chance = random.Random(seed)
    services = home.open()
    worker = Worker(services, chance, lambda *said: pipe.send(said))
    for deed in (worker.upload, worker.put_file, worker.ask, worker.train):
        deed()
    deeds = (worker.upload, worker.put_file, worker.train_in_folder, worker.ask, worker.vote)
    deeds += (worker.rename, worker.train)
    for number in range(count):
        deed = deeds[number % len(deeds)]
        left = chance.choice(LEFT_BYTES)
        pipe.send(("filled", left, None))
        _fill(home, left)
        try:
            deed()
        except (TriptychError, OSError) as error:
            if not isinstance(error, TriptychError) and deed != worker.put_file:
                raise  # the person's own program writes the file there
            print(f"in words: {error}", file=sys.stderr)
        _look(services, pipe)
        (home.folder / BALLAST).unlink()
        try:
            deed()
            for _ in sync_folder(services.library):
                pass
        except TriptychError as error:
            pipe.send(("problem", f"with room again, {deed.__name__} says: {error}", None))
        _settle(services)
        pipe.send(("state", *recall(services)))
    services.close()


def _fill(home: Home, left_bytes: int) -> None:
    """Leave this much room on the disk."""
    with (home.folder / BALLAST).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError:
            pass
    with suppress(OSError):
        size = (home.folder / BALLAST).stat().st_size
        os.truncate(home.folder / BALLAST, max(0, size - left_bytes))


def _look(services: Services, pipe: Connection) -> None:
    """What a page reads must be readable on a full disk."""
    try:
        documents(services.library)
        for row in services.chat.conversations():
            services.chat.turns(row.id)
        services.adapters()
    except TriptychError as error:
        pipe.send(("problem", f"on a full disk the page cannot be read: {error}", None))


def _settle(services: Services) -> None:
    """Wait until every answer is written."""
    for row in services.chat.conversations():
        for turn in services.chat.turns(row.id):
            while any(answer.unsaved or not answer.finished for answer in turn.answers.values()):
                services.chat.wait(turn, turn.version, 0.2)
