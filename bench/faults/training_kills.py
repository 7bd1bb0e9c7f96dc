"""Kills of a real training, or of the process that it works for: nothing half-made counts.

The adapter before it still verifies and answers, and a new training of that name succeeds.
``python -m bench.faults.training_kills EXAMPLES ADAPTERS`` is the process that is killed.
"""

from __future__ import annotations

import json
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
from bench.faults.worker import prepare
from bot.chat.columns import Options
from bot.errors import TriptychError
from bot.models.catalog import EMBEDDED_SHA256, embedded_weights
from bot.services import Services
from bot.tuning import adapters as shelf
from bot.tuning.adapters import Adapter
from bot.tuning.job import run_training
from bot.tuning.recipe import TrainingRecipe

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
PATIENCE_SECONDS = 60.0


def suffer(home: Home, seed: int, count: int, pipe: Connection, log: Path) -> None:
    """Kill this many trainings at random moments, and tell what should not be."""
    prepare(log, "")
    chance = random.Random(seed)
    services = home.open()
    examples = home.folder / "some.jsonl"
    lines = [{"prompt": f"How hot is kiln {n}?", "completion": f"{n}00."} for n in range(EXAMPLES)]
    examples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    began = time.monotonic()
    before = _trained(examples, home.adapters_dir)
    longest_seconds = time.monotonic() - began
    for number in range(count):
        whole = chance.random() < 0.5
        seconds = chance.uniform(0.0, longest_seconds)
        _kill(examples, home.adapters_dir, seconds, whole=whole)
        title = f"training {number}, killed after {seconds:.1f} s"
        for problem in _faults_of(services, before):
            pipe.send(("problem", f"{title}: {problem}"))
        try:
            before = _trained(examples, home.adapters_dir)
        except TriptychError as error:
            pipe.send(("problem", f"{title}: the next one says: {error}"))
        pipe.send(("tried", ""))
    services.close()


def _trained(examples: Path, adapters_dir: Path) -> Adapter:
    (*_, made) = run_training(examples, RECIPE, embedded_weights().path, adapters_dir, NAME)
    assert isinstance(made, Adapter)
    return made


def _kill(examples: Path, adapters_dir: Path, seconds: float, *, whole: bool) -> None:
    """Begin a training, and kill its process or the one that it works for after a while."""
    command = [sys.executable, "-m", "bench.faults.training_kills", str(examples)]
    person = psutil.Popen([*command, str(adapters_dir)], stderr=subprocess.PIPE, text=True)
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


def main(examples: Path, adapters_dir: Path) -> int:
    """Train as a person does; what fails is said in words."""
    try:
        _trained(examples, adapters_dir)
    except TriptychError as error:
        sys.stderr.write(f"in words: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
