"""The command line follows a training, and Ctrl+C is a request first and an order then."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bot.terminal import training_progress
from bot.tuning import adapters as shelf
from tests.tuning.house import PATIENCE_SECONDS, House, opened

FOLLOW = """
import json, sys
from pathlib import Path
from bot.commands import _trained, _training
from tests.tuning.house import opened
with opened(Path(sys.argv[1])) as house:
    seen = _trained(house.trainings, house.submit(sys.argv[2]))
    print(json.dumps(_training(seen)))
"""


@contextmanager
def followed(house: House, script: str) -> Iterator[subprocess.Popen[str]]:
    """A process that follows a training of its own, which has told of a step."""
    command = [sys.executable, "-c", FOLLOW, str(house.folder.parent), script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stderr
            training_id = process.stderr.readline().removeprefix("training ").strip()
            house.until_it_runs(training_id)
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[Any, str]:
    said, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return (json.loads(said) if said else None), errors


def test_it_ends_with_the_training(tmp_path: Path) -> None:
    with opened(tmp_path) as house, followed(house, "step step wait") as process:
        house.go()
        document, _ = ended(process)
    assert (document["state"], document["steps"], document["loss"]) == ("done", 2, 0.5)
    assert document["last_step"]["step"] == 2
    assert document["report"]["best_step"] == 2


def test_ctrl_c_cancels_and_keeps_the_best(tmp_path: Path) -> None:
    with opened(tmp_path) as house, followed(house, "step wait step") as process:
        process.send_signal(signal.SIGINT)
        document, errors = ended(process)
        assert document["state"] == "cancelled"
        assert "the best so far is kept" in errors
        assert shelf.adapter(house.adapters_dir, "tern").name == "tern"


def test_a_second_ctrl_c_ends_it_and_it_can_be_resumed(tmp_path: Path) -> None:
    with opened(tmp_path) as house, followed(house, "step deaf step") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert "Ctrl+C again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = ended(process)
        assert "KeyboardInterrupt" in errors
        (seen,) = house.trainings.all()
        assert (seen.state, seen.resumable) == ("interrupted", True)
        house.go()
        house.trainings.resume(seen.id)
        assert house.end(seen.id).state == "done"


def test_the_progress_line_says_where_it_is() -> None:
    step = {"step": 3, "steps": 9, "loss": 0.5, "fold": 2}
    step |= {"tokens_per_second": 99.6, "seconds_left": 12.2}
    training: dict[str, Any] = {"state": "running", "last_step": None, "last_evaluation": None}
    assert training_progress(training) == "reading the model"
    training |= {"last_step": step, "last_evaluation": {"correct": 4, "asked": 5}}
    assert training_progress(training) == (
        "fold 2  step 3 of 9  loss 0.500  correct 4 of 5  100 tokens/s  12 s left"
    )
    assert training_progress({"state": "queued", "place": 2}) == "waiting for 2 before it"
