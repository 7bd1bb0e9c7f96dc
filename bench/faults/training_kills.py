"""Kills of a real training, or of the process that it works for: nothing half-made counts.

The adapter before it still verifies and answers, and resuming makes the same adapter, with the same
losses, as without the kill. ``python -m bench.faults.training_kills TRAININGS ADAPTERS`` is the
process that is killed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from bench.faults.home import Home
from bench.faults.worker import let_through, prepare
from bot.chat.columns import Options
from bot.messages import Message
from bot.models.catalog import EMBEDDED_SHA256, embedded_weights
from bot.services import Services
from bot.tuning import adapters as shelf
from bot.tuning.adapters import Adapter
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.trainings import Training, Trainings

NAME = "tern"
EXAMPLES = 6
RECIPE = TrainingRecipe(
    system_prompt="Be brief.",
    base_sha256=EMBEDDED_SHA256,
    rank=2,
    alpha=4,
    layers=1,
    epochs=4,
    batch_size=3,
)
PATIENCE_SECONDS = 240.0


def suffer(home: Home, seed: int, count: int, pipe: Connection, log: Path) -> None:
    """Kill this many trainings at random moments, and tell what should not be."""
    prepare(log, "")
    chance = random.Random(seed)
    services = home.open()
    trainings = _trainings(home.data_dir / "trainings", home.adapters_dir)
    began = time.monotonic()
    first = trainings.wait(trainings.submit(_examples(), RECIPE, NAME), PATIENCE_SECONDS)
    longest_seconds = time.monotonic() - began
    before = shelf.adapter(home.adapters_dir, NAME)
    for number in range(count):
        whole = chance.random() < 0.5
        seconds = chance.uniform(0.0, longest_seconds)
        _kill(home, seconds, whole=whole)
        title = f"training {number}, killed after {seconds:.1f} s"
        for problem in (*_faults_of(services, before), *_faults_resumed(trainings, first)):
            pipe.send(("problem", f"{title}: {problem}"))
        now = shelf.adapter(home.adapters_dir, NAME)
        if now.sha256 != before.sha256:
            pipe.send(("problem", f"{title}: another adapter came out than without the kill"))
        before = now
        pipe.send(("tried", ""))
    trainings.close()
    services.close()


def _trainings(folder: Path, adapters_dir: Path) -> Trainings:
    return Trainings(
        folder,
        adapters_dir,
        base=lambda _: embedded_weights().path,
        check=lambda name: let_through(adapters_dir, name),
    )


def _examples() -> list[Example]:
    return [
        Example((Message("user", f"How hot is kiln {n}?"), Message("assistant", f"{n}00.")))
        for n in range(EXAMPLES)
    ]


def _kill(home: Home, seconds: float, *, whole: bool) -> None:
    """Begin a training, and kill its process or the one that it belongs to after a while."""
    places = [str(home.data_dir / "trainings"), str(home.adapters_dir)]
    command = [sys.executable, "-m", "bench.faults.training_kills", *places]
    person = psutil.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        with suppress(psutil.TimeoutExpired):
            person.wait(seconds)
        with suppress(psutil.NoSuchProcess):  # it was quicker this time
            jobs = person.children()
            for one in [person] if whole or not jobs else jobs:
                one.kill()
            psutil.wait_procs(jobs, timeout=PATIENCE_SECONDS)
    finally:
        said = person.communicate()[1]
    print(said, file=sys.stderr)


def _faults_resumed(trainings: Trainings, first: Training) -> Iterator[str]:
    """What is wrong with the training that was killed, and when it is resumed."""
    last = trainings.all()[0]
    if last.id == first.id:  # it was killed before it had asked for anything
        return
    if last.state not in ("interrupted", "done"):
        yield f"it is {last.state}: {last.error}"
    if last.state == "interrupted":
        trainings.resume(last.id)
        last = trainings.wait(last.id, PATIENCE_SECONDS)
        if last.state != "done":
            yield f"resumed, it is {last.state}: {last.error}"
        if [one.loss for one in last.steps] != [one.loss for one in first.steps]:
            yield "resumed, its losses are others than without the kill"
    trainings.remove(last.id)


def _faults_of(services: Services, before: Adapter) -> Iterator[str]:
    """What is wrong after a training was killed; the one before it was whole."""
    adapters_dir = services.settings.adapters_dir
    found = [one.name for one in shelf.adapters(adapters_dir)]
    if found != [NAME] or (broken := shelf.broken_adapters(adapters_dir)):
        yield f"there are {found}, and {broken if found == [NAME] else 'others'}"
        return
    if left := [path.name for path in adapters_dir.glob(".*")]:
        yield f"{', '.join(left)} was left behind"
    now = shelf.adapter(adapters_dir, NAME)
    let_through(adapters_dir, NAME)
    if now.sha256 != before.sha256 and now.created_at < before.created_at:
        yield "the adapter is another one"
    turn = services.chat.ask(services.chat.create(), "How hot?", ["adapter"], _OPTIONS)
    services.chat.attach(turn.id, "person")
    seen = -1
    while not turn.done:
        seen = services.chat.wait(turn, seen, 5.0)
    (answer,) = turn.answers.values()
    if answer.status != "complete":
        yield f"the adapter does not answer: {answer.error}"


_OPTIONS = Options(4, 0.0, 7, 1, NAME, models=("embedded",))


def main(folder: Path, adapters_dir: Path) -> int:
    """Train as a person does; what fails is said in words."""
    trainings = _trainings(folder, adapters_dir)
    training = trainings.wait(trainings.submit(_examples(), RECIPE, NAME), PATIENCE_SECONDS)
    sys.stderr.write(f"in words: {training.state} {training.error}\n")
    return int(training.state != "done")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
