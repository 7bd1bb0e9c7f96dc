"""Corruptions: one file of a Triptych is damaged, and it must mend itself and say so.

``python -m bench.faults --kills 0 --disk 0 --endpoints 0 --files 0``. Files of Chroma, of SQLite,
of adapters and of models are truncated, emptied, removed, or overwritten with garbage, before a
start or in the middle of use. Documents must all be found again. Of conversations a part may be
gone with the file, but only what nobody can read in it, and a note says so. Damaged weights and
adapters are refused in a sentence, and the others answer.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.faults import kills
from bench.faults.home import Home
from bench.faults.ledger import Key, Ledger, recall
from bench.faults.tally import Tally
from bench.faults.worker import make_adapter, prepare
from bot.chat.answers import LiveAnswer
from bot.chat.columns import Options
from bot.damage import notes, set_aside
from bot.errors import TriptychError
from bot.library.ingest import add_uploads, sync_folder
from bot.models.catalog import EMBEDDED_FILE, EMBEDDED_PACKAGE, embedded_weights
from bot.records import conversations as records
from bot.records.conversations import NewAnswer
from bot.services import Services
from bot.tuning import adapters as shelf

ROWS = 1100
"""Passages of the template: Chroma writes its search index to files after a thousand."""

CONVERSATIONS = 40
PATIENCE_SECONDS = 60.0
PARTS = ("chroma", "sqlite", "weights", "adapter", "chroma", "sqlite")
"""What is damaged, one after the other."""


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
        make_adapter(template.adapters_dir, name, _lora(template.folder / "lora.gguf", name))
    found, problems = recall(services)
    assert not problems, problems
    services.close()
    pipe.send(found)


def _lora(path: Path, name: str) -> bytes:
    """A LoRA of random numbers on one matrix of the embedded model, which can be served."""
    from gguf import GGUFWriter

    numbers = np.random.default_rng(list(name.encode()))
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    for side, shape in (("a", (4, 576)), ("b", (576, 4))):
        tensor = numbers.normal(size=shape).astype(np.float32)
        writer.add_tensor(f"blk.0.attn_output.weight.lora_{side}", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = path.read_bytes()
    path.unlink()
    return content


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
    part = PARTS[number % len(PARTS)]
    if part == "weights":
        _copy_weights(home)
    path = chance.choice(_files(home, part))
    damage = chance.choice(DAMAGES)
    if path == home.local_weights and damage == _garbage:
        damage = _truncate  # nobody can tell what a file of the person's own must be
    in_use = part in ("chroma", "sqlite") and chance.random() < 0.4
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
        target=visit, args=(home, part, path, in_use, theirs, log, defect), daemon=True
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
    if part == "sqlite":
        problems += _left_behind(home, ledger, found)
    if part == "adapter":
        excused.add("adapter")
        wren = ("adapter", "wren")
        if found.get(wren) != ledger.kept[wren]:
            problems.append("the sound adapter is gone")
    lost = [*Ledger(dict(ledger.kept)).lost(found, frozenset(excused)), *problems]
    tally.lost += len(lost)
    tally.problems += [f"{title}: {one}" for one in lost[:5]]


def _copy_weights(home: Home) -> None:
    """Model files that may be damaged: a package of the embedded model, and a person's own."""
    package = home.folder / "packages" / EMBEDDED_PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for place in (package / EMBEDDED_FILE, home.local_weights):
        shutil.copyfile(embedded_weights().path, place)


def _files(home: Home, part: str) -> list[Path]:
    if part == "sqlite":
        return [home.data_dir / "triptych.db"]
    if part == "weights":
        return [home.folder / "packages" / EMBEDDED_PACKAGE / EMBEDDED_FILE, home.local_weights]
    folder = home.data_dir / "chroma" if part == "chroma" else home.adapters_dir / "tern"
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if path.name != shelf.EXAMPLES_NAME]


def _left_behind(home: Home, ledger: Ledger, found: dict[Key, object]) -> list[str]:
    """What can be read in the damaged file that was set aside, and is not in the new one.

    It is read here row by row, by their numbers, which is another way than the mending takes.
    """
    files = [path for path in set_aside(home.data_dir) if not path.name.endswith("-journal")]
    if not files:
        return []
    readable: dict[Key, object] = {}
    with closing(sqlite3.connect(f"file:{files[0]}?immutable=1", uri=True)) as connection:
        for id_, title in _rows(connection, "conversations", "id, title"):
            readable["title", id_] = title
        for id_, owner, question in _rows(connection, "turns", "id, conversation_id, question"):
            if ("title", owner) in readable:
                readable["turn", owner, id_] = question
        for id_, turn, *rest, vote in _rows(
            connection, "answers", "id, turn_id, status, text, vote"
        ):
            owner = f"c{turn[1:]}"
            if ("turn", owner, turn) in readable:
                readable["answer", owner, id_] = tuple(rest)
                readable["vote", owner, id_] = vote
    return [
        f"{' '.join(key)} can be read in the damaged file, and was left behind"
        for key, value in readable.items()
        if ledger.kept.get(key) == value and found.get(key) != value
    ]


def _rows(connection: sqlite3.Connection, table: str, names: str) -> Iterator[tuple[str, ...]]:
    """The rows of a table that can be read each by itself."""
    for number in range(1, CONVERSATIONS + 1):
        with suppress(sqlite3.DatabaseError, ValueError):
            yield from connection.execute(
                f"SELECT {names} FROM {table} NOT INDEXED WHERE rowid = ?",
                (number,),
            ).fetchall()


def visit(
    home: Home,
    part: str,
    path: Path,
    in_use: bool,
    pipe: Connection,
    log: Path,
    defect: str,
) -> None:
    """Start as the page does, use everything, and tell what can be recalled in the end."""
    prepare(log, defect)
    sys.path.insert(0, str(home.folder / "packages"))
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
    if part in ("adapter", "weights"):
        problems += _answers(services, part, path)
    told = bool(notes(home.data_dir))
    if told and part == "chroma" and not set_aside(home.data_dir):
        problems.append("what was damaged is not there any more")
    services.close()
    pipe.send((found, problems, told))


def _answers(services: Services, part: str, path: Path) -> Iterator[str]:
    """What is wrong with the answers of what was damaged, and of what stands beside it."""
    if part == "adapter":
        bad = _asked(services, "adapter", "embedded", path.parent.name)
        good = _asked(services, "adapter", "embedded", "wren")
    else:
        model = "embedded" if path.name == EMBEDDED_FILE else f"gguf:{path}"
        bad = _asked(services, "prompt", model, "")
        good = _asked(services, "prompt", "scripted", "")
    if good.status != "complete":
        yield f"what is sound does not answer: {good.status} {good.error}"
    said = f"{bad.error} {bad.cure}".strip()
    if bad.status != "failed":
        yield f"what is damaged answers: {bad.status} {bad.text!r}"
    elif not said.endswith(".") or "Error(" in said or "\n" in said:
        yield f"this is no sentence: {said!r}"


def _asked(services: Services, strategy: str, model: str, adapter: str) -> LiveAnswer:
    """An answer, or why there is none."""
    chat = services.chat
    options = Options(4, 0.0, 7, 1, adapter, models=(model,))
    turn = chat.ask(chat.create(), "How hot is it?", [strategy], options)
    chat.attach(turn.id, "person")
    seen = -1
    while not turn.done:
        seen = chat.wait(turn, seen, 5.0)
    (answer,) = turn.answers.values()
    return answer


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
