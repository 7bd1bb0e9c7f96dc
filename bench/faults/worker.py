"""What goes on in a process that is killed: it recovers, says what it finds, and works on."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

from bench.faults import defects, points
from bench.faults.home import Home
from bench.faults.ledger import Key, recall
from bot.chat.columns import Options
from bot.chat.live import LiveTurn
from bot.errors import TriptychError, TuningError
from bot.evidence.parity import Parity, write_parity
from bot.library.ingest import Ingested, add_uploads, forget, sync_folder
from bot.messages import Message
from bot.models.catalog import EMBEDDED_SHA256
from bot.services import Services
from bot.tuning import adapters as shelf
from bot.tuning.examples import Example
from bot.tuning.job import unwritten
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.trainings import Trainings

MOST_DOCUMENTS = 6
MOST_CONVERSATIONS = 6
EXAMPLES = [Example((Message("user", "How hot?"), Message("assistant", "1,300 °C.")))]
RECIPE = TrainingRecipe(system_prompt="Be brief.", base_sha256=EMBEDDED_SHA256)
PATIENCE_SECONDS = 60.0
WORDS = tuple(f"{clay}{number}" for clay in ("kiln", "cone", "glaze") for number in range(9))


class Worker:
    """Does what people do, and acknowledges it as the page would.

    Args:
        tell: takes ("try" or "done", key, value); a value of None stands for deletion.
    """

    def __init__(
        self,
        services: Services,
        chance: random.Random,
        tell: Callable[[str, Key, object], None],
    ) -> None:
        self.services = services
        self.chance = chance
        self.tell = tell

    def act(self) -> None:
        """One thing that a person does; what fails with a sentence is not acknowledged."""
        deeds = (self.upload, self.upload, self.put_file, self.forget, self.ask, self.ask)
        deeds += (self.vote, self.rename, self.delete, self.train)
        try:
            self.chance.choice(deeds)()
        except TriptychError as error:
            print(f"in words: {error}", file=sys.stderr)

    def upload(self) -> None:
        """Add or replace a document on the page."""
        name = f"doc{self.chance.randrange(MOST_DOCUMENTS)}.md"
        content = self._content().encode()
        key, sha256 = ("document", name), hashlib.sha256(content).hexdigest()
        self.tell("try", key, sha256)
        for step in add_uploads(self.services.library, [(name, content)]):
            if isinstance(step, Ingested) and step.status == "ready":
                self.tell("done", ("document", step.name), sha256)

    def put_file(self) -> None:
        """Put a file into the knowledge folder, and let the folder be read."""
        name = f"file{self.chance.randrange(MOST_DOCUMENTS)}.md"
        path = self.services.settings.knowledge_dir / name
        content = self._content().encode()
        key, sha256 = ("document", name), hashlib.sha256(content).hexdigest()
        self.tell("try", key, sha256)
        draft = path.with_name(f".{name}")
        draft.write_bytes(content)
        draft.rename(path)
        for step in sync_folder(self.services.library):
            if isinstance(step, Ingested) and step.status == "ready" and step.name == name:
                self.tell("done", key, sha256)

    def forget(self) -> None:
        """Delete a document."""
        rows = sorted(self.services.settings.knowledge_dir.glob("*.md"))
        if rows:
            name = self.chance.choice(rows).name
            self.tell("try", ("document", name), None)
            forget(self.services.library, name)
            self.tell("done", ("document", name), None)

    def ask(self) -> None:
        """Ask in a new conversation or an old one, and read the answers to their end."""
        chat = self.services.chat
        rows = chat.conversations()
        fresh = len(rows) < MOST_CONVERSATIONS and self.chance.random() < 0.5
        conversation = chat.create() if fresh or not rows else self.chance.choice(rows).id
        question = f"What of the {' '.join(self.chance.choices(WORDS, k=4))}?"
        options = Options(30, 0.0, 7, 1, "", models=("scripted",))
        turn = chat.ask(conversation, question, ["prompt", "rag"], options)
        chat.attach(turn.id, "worker")
        self.tell("done", ("turn", conversation, turn.id), question)
        self._read(turn)
        chat.detach(turn.id, "worker")

    def _read(self, turn: LiveTurn) -> None:
        seen, told = -1, set[str]()
        while len(told) < len(turn.answers):
            seen = self.services.chat.wait(turn, seen, 5.0)
            for answer in turn.answers.values():
                if answer.finished and not answer.unsaved and answer.id not in told:
                    told.add(answer.id)
                    key = ("answer", turn.conversation_id, answer.id)
                    self.tell("done", key, (answer.status, answer.text))

    def vote(self) -> None:
        """Vote for some answer."""
        chat = self.services.chat
        rows = chat.conversations()
        turns = chat.turns(self.chance.choice(rows).id) if rows else []
        answers = [(turn.conversation_id, a.id) for turn in turns for a in turn.answers.values()]
        if answers:
            key, vote = ("vote", *self.chance.choice(answers)), self.chance.choice((-1, 1))
            self.tell("try", key, vote)
            chat.vote(key[2], vote)
            self.tell("done", key, vote)

    def rename(self) -> None:
        """Give a conversation another title."""
        rows = self.services.chat.conversations()
        if rows:
            row, title = self.chance.choice(rows), f"About {uuid4().hex[:8]}"
            self.tell("try", ("title", row.id), title)
            self.services.chat.rename(row.id, title)
            self.tell("done", ("title", row.id), title)

    def delete(self) -> None:
        """Delete a conversation, when there are many."""
        rows = self.services.chat.conversations()
        if len(rows) >= MOST_CONVERSATIONS:
            row = self.chance.choice(rows)
            self.tell("try", ("title", row.id), None)
            self.services.chat.delete(row.id)
            self.tell("done", ("title", row.id), None)

    def train(self) -> None:
        """Make an adapter as a training does, with stand-in weights."""
        folder, name = self.services.settings.adapters_dir, f"tern{self.chance.randrange(2)}"
        weights = self.chance.randbytes(20_000)
        key, sha256 = ("adapter", name), hashlib.sha256(weights).hexdigest()
        self.tell("try", key, sha256)
        try:
            make_adapter(folder, name, weights)
        except OSError as error:  # as the training's own process says it
            raise unwritten(error) from error
        self.tell("done", key, sha256)

    def train_in_folder(self) -> None:
        """Train as the page does, with a loop that only writes; one that failed is resumed."""
        with closing(small_trainings(self.services)) as trainings:
            known = [one for one in trainings.all() if one.resumable]
            if known:
                training_id = known[0].id
                trainings.resume(training_id)
            else:
                training_id = trainings.submit(EXAMPLES, RECIPE, "small")
            ended = trainings.wait(training_id, PATIENCE_SECONDS)
            if ended.state != "done":
                raise TuningError(f"{ended.state}: {ended.error}")
            trainings.remove(training_id)

    def _content(self) -> str:
        parts = [f"# {uuid4().hex[:8]}\n"]
        for number in range(self.chance.randint(1, 8)):
            parts.append(f"## Part {number}\n\n{' '.join(self.chance.choices(WORDS, k=40))}.\n")
        return "\n".join(parts)


def small_trainings(services: Services) -> Trainings:
    """Trainings in the folder of the services, whose loop only writes."""
    settings = services.settings
    return Trainings(
        settings.data_dir / "trainings",
        settings.adapters_dir,
        base=lambda _: settings.data_dir,
        check=lambda _: None,
        job=(sys.executable, "-m", "bench.faults.small_training"),
    )


def make_adapter(adapters_dir: Path, name: str, weights: bytes) -> None:
    """The steps by which a training puts an adapter in its place."""
    partial = shelf.begin(adapters_dir, name)
    RECIPE.save(partial)
    (partial / shelf.GGUF_NAME).write_bytes(weights)
    shelf.write_manifest(partial, {"created_at": "2026-01-02T03:04:05+00:00"})
    shelf.publish(partial, adapters_dir, name)
    let_through(adapters_dir, name)


def let_through(adapters_dir: Path, name: str) -> None:
    """Have an adapter offered: the gate, which takes its time, is not what is tested here."""
    found = shelf.adapter(adapters_dir, name)
    parity = Parity(passed=True, adapter_sha256=found.sha256, base_sha256=found.base_sha256)
    write_parity(parity, found.folder)


def run(
    home: Home,
    seed: int,
    deeds: int,
    point: points.Point | None,
    defect: str,
    pipe: Connection,
    log: Path,
) -> None:
    """The whole life of a worker: recover, report, act, and end well if nobody kills it."""
    prepare(log, defect)
    if point is not None:
        points.arm(point)
    try:
        _live(home, seed, deeds, pipe)
    except BaseException:
        traceback.print_exc()
        raise


def prepare(log: Path, defect: str) -> None:
    """Send what this process says to a file, and plant a defect in it."""
    with log.open("a") as errors:
        os.dup2(errors.fileno(), 2)
    logging.basicConfig(level=logging.WARNING, force=True)
    defects.plant(defect)


def _live(home: Home, seed: int, deeds: int, pipe: Connection) -> None:
    services = home.open()
    try:
        for _ in sync_folder(services.library):
            pass
        pipe.send(("state", *recall(services)))
    except TriptychError as error:  # a server was killed under it
        print(f"in words: {error}", file=sys.stderr)
        pipe.send(("words", str(error), None))
    worker = Worker(services, random.Random(seed), lambda *said: pipe.send(said))
    for _ in range(deeds):
        worker.act()
    services.close()
    pipe.send(("end", None, None))
