"""Corruptions: one file of a Triptych is damaged, and it must mend itself and say so.

``python -m bench.faults --kills 0 --disk 0 --endpoints 0 --files 0``. Files of Chroma, of SQLite
and of adapters are truncated, emptied, removed, or overwritten with garbage, before a start or in
the middle of use. Documents must all be found again. Of conversations a part may be gone with the
file, but then a note says so and the damaged file is still there.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.faults import kills
from bench.faults.home import Home
from bench.faults.ledger import Key, Ledger, recall
from bench.faults.tally import Tally
from bench.faults.worker import make_adapter, prepare
from bot.damage import notes, set_aside
from bot.errors import TriptychError
from bot.library.ingest import add_uploads, sync_folder
from bot.records import conversations as records
from bot.records.conversations import NewAnswer
from bot.services import Services
from bot.tuning import adapters as shelf

ROWS = 1100
"""Passages of the template: Chroma writes its search index to files after a thousand."""

CONVERSATIONS = 40
PATIENCE_SECONDS = 60.0


def run(count: int, seed: int, *, defect: str = "", only: tuple[str, str] | None = None) -> Tally:
    """Damage this many files, one at a time, each in a fresh copy of the same home.

    Args:
        count: how many.
        seed: of which files, and how.
        defect: one of `bench.faults.defects`, planted in every process.
        only: this damage to the file of this name in Chroma's folder, at rest.
    """
    tally = Tally("corruptions", tried=0)
    chance = random.Random(seed)
    with TemporaryDirectory(prefix="triptych-corruptions-") as place, kills.model() as port:
        template = Home(Path(place) / "template", port)
        log = Path(place) / "workers.log"
        ledger = _made(template, log)
        for number in range(count):
            home = Home(Path(place) / f"home{number}", port)
            shutil.copytree(template.folder, home.folder)
            _corrupt(home, number, chance, ledger, tally, log, defect, only)
            shutil.rmtree(home.folder, ignore_errors=True)
            tally.tried += 1
        tally.tracebacks += kills.tracebacks(log, tally)
    return tally


def _made(template: Home, log: Path) -> Ledger:
    """Fill the template in a process of its own, and remember what is in it."""
    template.folder.mkdir(parents=True)
    ours, theirs = kills.PROCESSES.Pipe(duplex=False)
    process = kills.PROCESSES.Process(target=fill, args=(template, theirs, log), daemon=True)
    process.start()
    theirs.close()
    ledger = Ledger(kept=ours.recv())
    process.join()
    for leftover in ("servers.json", "servers.owner", "servers.lock"):
        (template.data_dir / leftover).unlink(missing_ok=True)
    return ledger


def fill(template: Home, pipe: Connection, log: Path) -> None:
    """Documents, conversations and two adapters."""
    prepare(log, "")
    services = template.open()
    rows = "\n".join(f"kiln {n},shelf {n * 7},cone {n * 13}" for n in range(ROWS))
    prices = f"name,part,size\n{rows}\n".encode()
    few = [
        (f"doc{n}.md", f"# Kiln {n}\n\nIt reaches {n * 100} degrees.\n".encode()) for n in (1, 2)
    ]
    for _ in add_uploads(services.library, [("prices.csv", prices), *few]):
        pass
    for number in range(CONVERSATIONS):
        records.add_turn(
            services.engine,
            conversation_id=f"c{number}",
            title=f"Kiln {number}",
            turn_id=f"t{number}",
            question=f"How hot is number {number}? " * 30,
            answers=[NewAnswer(f"a{number}", "prompt", "scripted", "Scripted")],
            owner="nobody",
        )
        done = {"status": "complete", "text": f"It reaches {number} degrees. " * 20}
        records.update_answer(services.engine, f"a{number}", done)
    for name in ("tern", "wren"):
        make_adapter(template.adapters_dir, name, name.encode() * 5000)
    found, problems = recall(services)
    assert not problems, problems
    services.close()
    pipe.send(found)


Damage = Callable[[Path, random.Random], None]


def _truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, int(path.stat().st_size * chance.uniform(0.05, 0.95)))


def _empty(path: Path, chance: random.Random) -> None:
    os.truncate(path, 0)


def _remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def _garbage(path: Path, chance: random.Random) -> None:
    """Overwrite some blocks in a row, as a failing disk does."""
    size = path.stat().st_size
    blocks = max(1, size // 4096)
    first = chance.randrange(blocks)
    length = min(size - first * 4096, 4096 * chance.randint(1, 4))
    with path.open("r+b") as file:
        file.seek(first * 4096)
        file.write(chance.randbytes(length))


def _begin_with_garbage(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.write(chance.randbytes(min(100, path.stat().st_size)))


DAMAGES: tuple[Damage, ...] = (_truncate, _empty, _remove, _garbage, _begin_with_garbage)


def _corrupt(
    home: Home,
    number: int,
    chance: random.Random,
    ledger: Ledger,
    tally: Tally,
    log: Path,
    defect: str,
    only: tuple[str, str] | None,
) -> None:
    part = ("chroma", "sqlite", "chroma", "adapter")[number % 4]
    path = chance.choice(_files(home, part))
    damage = chance.choice(DAMAGES)
    in_use = part != "adapter" and chance.random() < 0.4
    if only is not None:
        part, in_use = "chroma", False
        damage = next(one for one in DAMAGES if one.__name__ == f"_{only[0]}")
        path = next(one for one in _files(home, part) if one.name == only[1])
    when = "in use" if in_use else "at rest"
    title = f"{damage.__name__.strip('_')} {path.relative_to(home.folder)} {when}"
    if not in_use:
        damage(path, chance)
    ours, theirs = kills.PROCESSES.Pipe()
    process = kills.PROCESSES.Process(
        target=visit, args=(home, part, in_use, theirs, log, defect), daemon=True
    )
    process.start()
    theirs.close()
    try:
        if in_use:
            ours.recv()
            damage(path, chance)
            ours.send("damaged")
        found, problems, told = ours.recv()
    except (EOFError, OSError):
        process.join()
        tally.crashes += 1
        tally.problems.append(f"{title}: the process ended with {process.exitcode}")
        return
    process.join()
    excused = {"title", "turn", "answer", "vote"} if part == "sqlite" and told else set[str]()
    if part == "adapter":
        found.setdefault(("adapter", path.parent.name), None)
        problems += _adapter_problems(home, path.parent.name, found)
        excused.add("adapter")
    lost = [*Ledger(dict(ledger.kept)).lost(found, frozenset(excused)), *problems]
    tally.lost += len(lost)
    tally.problems += [f"{title}: {one}" for one in lost[:5]]


def _files(home: Home, part: str) -> list[Path]:
    if part == "sqlite":
        return [home.data_dir / "triptych.db"]
    folder = home.data_dir / "chroma" if part == "chroma" else home.adapters_dir / "tern"
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if path.name != shelf.EXAMPLES_NAME]


def _adapter_problems(home: Home, name: str, found: dict[Key, object]) -> list[str]:
    """A damaged adapter must be refused in words, and the other one must still be there."""
    problems = []
    if found.get(("adapter", "wren")) != hashlib.sha256(b"wren" * 5000).hexdigest():
        problems.append("the sound adapter is gone")
    try:
        kept = shelf.adapter(home.adapters_dir, name)
    except TriptychError as error:
        return problems if str(error) else [*problems, "it is refused without a word"]
    if kept.sha256 != hashlib.sha256(b"tern" * 5000).hexdigest():
        problems.append("a changed adapter is served")
    return problems


def visit(home: Home, part: str, in_use: bool, pipe: Connection, log: Path, defect: str) -> None:
    """Start as the page does, use everything, and tell what can be recalled in the end."""
    prepare(log, defect)
    services = home.open()
    if in_use:
        _use(services)
        pipe.send("in use")
        pipe.recv()
    for _ in range(3):  # a person who is told to try again, tries again
        _use(services)
    services.indexing.wait(PATIENCE_SECONDS)
    try:
        found, problems = recall(services)
    except TriptychError as error:
        found, problems = {}, [f"nothing can be recalled: {error}"]
    told = bool(notes(home.data_dir))
    if told and part == "chroma" and not set_aside(home.data_dir):
        problems.append("what was damaged is not there any more")
    services.close()
    pipe.send((found, problems, told))


def _use(services: Services) -> None:
    """Everything a page does; what fails is said in words."""

    def read_folder() -> None:
        for _ in sync_folder(services.library):
            pass

    def ask() -> None:
        services.retrieve("kiln 500", 1)

    def read_conversations() -> None:
        for row in services.chat.conversations():
            services.chat.turns(row.id)

    for work in (read_conversations, ask, read_folder, services.adapters):
        try:
            work()
        except TriptychError:
            continue
