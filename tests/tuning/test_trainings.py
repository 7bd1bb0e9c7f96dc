"""Trainings from outside: their order, their states, their ends, in real processes of a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from bot.errors import AdapterError, ExamplesError, TuningError
from bot.messages import Message
from bot.tuning import adapters as shelf
from bot.tuning.digest import file_sha256
from bot.tuning.examples import Example, read_examples
from bot.tuning.trainings import Trainings
from tests.tuning.house import JOB, PATIENCE_SECONDS, House, opened, recipe, scripted
from tests.tuning.scripted_job import evaluation, report, step
from tests.tuning.stand_in import fill

RECIPE = replace(recipe(), targets=("q_proj", "v_proj"))


@contextmanager
def other_process(house: House, script: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that submitted a training, and its id; it ends with its standard input."""
    code = (
        "import sys; from pathlib import Path;"
        "from tests.tuning.house import House;"
        "house = House(Path(sys.argv[1]));"
        "print(house.submit(sys.argv[2], 'theirs'), flush=True); sys.stdin.read();"
        "house.trainings.close()"
    )
    command = [sys.executable, "-c", code, str(house.folder.parent), script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        yield house


def test_a_training_tells_its_steps_and_ends_with_an_adapter(house: House) -> None:
    training_id = house.trainings.submit(scripted("step step"), RECIPE, "tern")
    seen = house.end(training_id)
    assert (seen.state, seen.error, seen.place, seen.resumable) == ("done", "", 0, False)
    assert seen.steps == (step(1), step(2))
    assert seen.evaluations == (evaluation(1), evaluation(2))
    assert seen.report == report(2)
    assert (seen.name, seen.examples) == ("tern", 1)
    assert len(seen.recipe.examples_sha256) == 64
    assert seen.recipe.targets == RECIPE.targets
    made = shelf.adapter(house.adapters_dir, "tern")
    assert read_examples(made.folder / "examples.jsonl")[0].messages == (
        Message("user", "step step"),
        Message("assistant", "Yes."),
    )
    assert [one.name for one in house.adapters_dir.iterdir()] == ["tern"]
    assert house.trainings.all() == house.open().all() == [seen]
    assert house.checked == ["tern"]


def test_trainings_run_one_at_a_time_in_their_order(house: House) -> None:
    first, second, third = (house.submit("step wait", name) for name in ("one", "two", "three"))
    house.running(first)
    waiting = [house.trainings.get(one) for one in (second, third)]
    assert [(one.state, one.place) for one in waiting] == [("queued", 1), ("queued", 2)]
    current = house.open().current()
    assert current and current.id == first
    house.go()
    assert [house.end(one).state for one in (first, second, third)] == ["done"] * 3
    made = [shelf.adapter(house.adapters_dir, name).folder for name in ("one", "two", "three")]
    assert sorted(made, key=lambda folder: folder.stat().st_ctime_ns) == made
    assert house.trainings.current() is None
    assert [one.id for one in house.trainings.all()] == [third, second, first]


def test_a_training_of_another_process_comes_first_and_is_seen_here(house: House) -> None:
    with other_process(house, "step wait") as (other, training_id):
        here = house.submit("step")
        seen = house.until_it_runs(training_id)
        waiting = house.trainings.wait(here, timeout_seconds=0.6)
        assert (waiting.state, waiting.place) == ("queued", 1)
        assert (seen.state, seen.steps) == ("running", (step(1),))
        house.go()
        assert house.end(training_id).state == house.end(here).state == "done"
        other.stdin.close()  # type: ignore[union-attr]
        assert other.wait(PATIENCE_SECONDS) == 0


def test_the_death_of_its_owner_interrupts_a_training_that_anybody_resumes(house: House) -> None:
    with other_process(house, "step wait step") as (other, training_id):
        house.until(training_id, lambda one: bool(one.steps))
        queued = house.submit("step", "next")
        (job,) = psutil.Process(other.pid).children()
        other.kill()
        other.wait()
        assert not psutil.wait_procs([job], PATIENCE_SECONDS)[1], "it outlived its owner"
        seen = house.until(training_id, lambda one: one.state == "interrupted")
        assert seen.resumable
        assert "Resume it" in seen.error
    house.end(queued)
    assert house.trainings.get(queued).state == "done", "the dead do not stand in line"
    house.go()
    house.trainings.resume(training_id)
    seen = house.end(training_id)
    assert (seen.state, seen.error, seen.steps) == ("done", "", (step(1), step(2)))
    with pytest.raises(TuningError, match="cannot be resumed: it is done"):
        house.trainings.resume(training_id)


def test_a_killed_process_is_interrupted_and_resumes_where_it_was(house: House) -> None:
    seen = house.end(house.submit("step lost torn kill step", seed=3))
    assert (seen.state, seen.resumable) == ("interrupted", True)
    assert "SIGKILL" in seen.error
    assert [one.step for one in seen.steps] == [1, 2]
    house.trainings.resume(seen.id)
    seen = house.end(seen.id)
    assert (seen.state, seen.error) == ("done", "")
    assert [one.step for one in seen.steps] == [1, 2, 3]
    assert [one.step for one in seen.evaluations] == [1, 3]
    assert [*house.adapters_dir.glob(".*")] == []


def test_a_process_killed_for_want_of_memory_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = iter((4, 5))
    monkeypatch.setattr("bot.tuning.process._killed_for_memory", lambda: next(counter))
    seen = house.end(house.submit("step kill"))
    assert (seen.state, seen.resumable) == ("failed", True)
    assert "ran out of memory" in seen.error


@pytest.mark.parametrize(
    ("script", "words", "resumable"),
    [
        ("memory", "ran out of memory", True),
        ("tensor", "ran out of memory", True),
        ("disk", "the disk is full. Make room", True),
        ("crash", "crashed (SIGSEGV); memory may be short", True),
        ("defect", "mat1 and mat2 cannot be multiplied", False),
    ],
)
def test_a_failed_training_says_why_and_leaves_the_adapter_before_it(
    house: House, script: str, words: str, resumable: bool
) -> None:
    fill(house.adapters_dir / "tern", b"the one before")
    before = shelf.adapter(house.adapters_dir, "tern")
    seen = house.end(house.submit(f"step {script} step"))
    assert (seen.state, seen.resumable, seen.report) == ("failed", resumable, None)
    assert words in seen.error
    assert "Traceback" not in seen.error
    assert shelf.adapter(house.adapters_dir, "tern") == before
    assert [one.name for one in house.adapters_dir.iterdir()] == ["tern"]
    if resumable:
        house.trainings.resume(seen.id)
        assert house.end(seen.id).state == "done"
        assert shelf.adapter(house.adapters_dir, "tern").sha256 != before.sha256


def test_cancelling_keeps_the_best_so_far(house: House) -> None:
    training_id = house.submit("step step wait step")
    house.until(training_id, lambda seen: len(seen.evaluations) == 2)
    house.open().cancel(training_id)
    seen = house.end(training_id)
    assert (seen.state, seen.report) == ("cancelled", report(2, "cancelled"))
    assert shelf.adapter(house.adapters_dir, "tern").name == "tern"
    assert house.checked == ["tern"], "what is kept is checked like any other"


def test_cancelling_before_anything_was_measured_leaves_the_adapter_before(house: House) -> None:
    fill(house.adapters_dir / "tern", b"the one before")
    before = shelf.adapter(house.adapters_dir, "tern")
    training_id = house.submit("lost wait step")
    house.running(training_id)
    house.trainings.cancel(training_id)
    seen = house.end(training_id)
    assert (seen.state, seen.report, seen.error) == ("cancelled", None, "")
    assert shelf.adapter(house.adapters_dir, "tern") == before
    assert [one.name for one in house.adapters_dir.iterdir()] == ["tern"]
    assert house.checked == []


def test_one_that_waits_can_be_cancelled_and_others_move_up(house: House) -> None:
    first, second, third = (house.submit("step wait", name) for name in ("one", "two", "three"))
    house.running(first)
    house.trainings.cancel(second)
    assert house.trainings.get(second).state == "cancelled"
    assert house.trainings.get(third).place == 1
    house.go()
    assert house.end(third).state == "done"
    assert house.trainings.get(second).state == "cancelled"
    assert [one.name for one in shelf.adapters(house.adapters_dir)] == ["one", "three"]


def test_closing_ends_the_process_and_interrupts_what_ran_and_what_waited(house: House) -> None:
    first, second = house.submit("step wait"), house.submit("step", "next")
    process = house.running(first)
    house.trainings.close()
    assert not process.is_running()
    house.trainings = house.open()
    assert [house.trainings.get(one).state for one in (first, second)] == ["interrupted"] * 2
    house.go()
    house.trainings.resume(second)
    house.trainings.resume(first)
    assert [house.end(one).state for one in (first, second)] == ["done", "done"]


def test_an_adapter_is_checked_before_its_training_is_done(house: House) -> None:
    seen = []

    def check(name: str) -> None:
        assert shelf.adapter(house.adapters_dir, name).name == "tern"
        seen.append(house.open().get(training_id).state)
        raise AdapterError("It answers otherwise.", cure="Train it again.")

    house.check = check
    training_id = house.submit("step")
    ended = house.end(training_id)
    assert seen == ["checking"]
    assert (ended.state, ended.error) == ("done", "It answers otherwise. Train it again.")
    assert ended.report == report(1)


def test_an_interrupted_check_is_made_up_for(house: House) -> None:
    """The owner dies while it checks: the adapter is there, and only the check is left."""
    seen = house.end(house.submit("step"))
    outcome = house.folder / seen.id / "outcome.json"
    outcome.write_text(json.dumps(json.loads(outcome.read_text()) | {"checked": False}))
    before = shelf.adapter(house.adapters_dir, "tern")
    house.until(seen.id, lambda one: one.state == "interrupted")
    house.trainings.resume(seen.id)
    assert house.end(seen.id).state == "done"
    assert house.checked == ["tern", "tern"]
    assert shelf.adapter(house.adapters_dir, "tern") == before


def test_a_process_of_the_same_number_is_not_the_owner(house: House) -> None:
    training_id = house.submit("step wait")
    house.running(training_id)
    owner = house.folder / training_id / "owner.json"
    written = json.loads(owner.read_text())
    assert written["pid"] == os.getpid()
    owner.write_text(json.dumps(written | {"started": written["started"] - 60}))
    assert house.trainings.get(training_id).state == "interrupted"
    owner.write_text(json.dumps(written))
    assert house.trainings.get(training_id).state == "running"


def test_no_process_runs_while_another_holds_the_lock(house: House) -> None:
    house.folder.mkdir()
    with FileLock(house.folder / "job.lock"):
        training_id = house.submit("step")
        house.until(training_id, lambda seen: seen.state == "running")
        assert not house.trainings.wait(training_id, 0.5).steps
    assert house.end(training_id).state == "done"


def test_what_is_over_can_be_removed_and_its_adapter_stays(house: House) -> None:
    training_id = house.submit("step wait")
    house.running(training_id)
    with pytest.raises(TuningError, match="still under way"):
        house.trainings.remove(training_id)
    house.go()
    house.end(training_id)
    house.trainings.remove(training_id)
    assert house.trainings.all() == []
    for wrong in (training_id, "../adapters", ""):
        with pytest.raises(TuningError, match="There is no training"):
            house.trainings.get(wrong)
    assert shelf.adapter(house.adapters_dir, "tern").name == "tern"


def test_a_damaged_folder_does_not_hide_the_others(house: House) -> None:
    good, bad = house.end(house.submit("step")), house.end(house.submit("step", "other"))
    (house.folder / bad.id / "request.json").write_text('{"name"')
    fresh = house.open()
    assert fresh.all() == [good]
    fresh.remove(bad.id)
    assert not (house.folder / bad.id).exists()


def test_wrong_requests_are_refused_before_anything_is_written(house: House) -> None:
    with pytest.raises(AdapterError, match="cannot be the name"):
        house.submit("step", "../tern")
    with pytest.raises(ExamplesError, match="no examples"):
        house.trainings.submit([], RECIPE, "tern")
    assert not house.folder.exists()


def test_a_folder_that_cannot_be_written_is_told_in_words(house: House, tmp_path: Path) -> None:
    house.folder.write_text("a file where the folder should be")
    with pytest.raises(TuningError, match="cannot be written"):
        house.submit("step")


def test_a_recipe_that_wants_passages_gets_them_made_anew(tmp_path: Path) -> None:
    seeds: list[int] = []

    def ground(plain: Sequence[Example], seed: int) -> list[Example]:
        seeds.append(seed)
        return [replace(one, grounded=True) for one in plain]

    house = House(tmp_path)
    house.trainings = Trainings(
        house.folder,
        house.adapters_dir,
        base=lambda _: Path("/base.gguf"),
        check=house.check,
        ground=ground,
        job=JOB,
    )
    given = [*scripted("step"), replace(scripted("of an earlier training")[0], grounded=True)]
    try:
        for grounding, learnt in ((0.0, [False]), (0.4, [False, True])):
            wanted = replace(recipe(), grounding=grounding, seed=3)
            seen = house.end(house.trainings.submit(given, wanted, "tern"))
            assert (seen.state, seen.examples) == ("done", 1)
            kept = read_examples(house.adapters_dir / "tern" / "examples.jsonl")
            assert [one.grounded for one in kept] == learnt
            assert seen.recipe.examples_sha256 == file_sha256(
                house.adapters_dir / "tern" / "examples.jsonl"
            )
    finally:
        house.trainings.close()
    assert seeds == [3]
