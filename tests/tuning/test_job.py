"""The job seen from outside: its events, its errors, its death."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bot.errors import AdapterError, ExamplesError, RecipeError, TuningError
from bot.tuning import adapters as shelf
from bot.tuning.job import TrainingStep, _follow, run_training
from bot.tuning.recipe import TrainingRecipe
from tests.tuning.stand_in import fill

RECIPE = TrainingRecipe(system_prompt="Be brief.", base_sha256="0" * 64)
STEP = TrainingStep(1, 2, 1, 0.5, 0.001, 100.0, 3.0)
TELL_STEP = f"print({json.dumps({'step': {f: getattr(STEP, f) for f in STEP.__slots__}})!r})"


def play(script: str, adapters_dir: Path) -> list[object]:
    """Follow a job that is the given Python script."""
    return list(_follow([sys.executable, "-c", script], RECIPE, adapters_dir, "tern"))


def write_examples(folder: Path) -> Path:
    path = folder / "some.jsonl"
    path.write_text('{"prompt": "What colour?", "completion": "Green."}\n')
    return path


def test_steps_come_as_they_are_told_and_the_adapter_last(tmp_path: Path) -> None:
    fill(tmp_path / "tern")
    events = play(f"{TELL_STEP}; print('noise'); {TELL_STEP}", tmp_path)
    assert events == [STEP, STEP, shelf.adapter(tmp_path, "tern")]


def test_the_recipe_reaches_the_job(tmp_path: Path) -> None:
    fill(tmp_path / "tern")
    script = "import json, sys; assert json.loads(input())['system_prompt'] == 'Be brief.'"
    assert len(play(script, tmp_path)) == 1


@pytest.mark.parametrize("kind", [ExamplesError, RecipeError, AdapterError, TuningError])
def test_an_error_of_the_job_is_raised_here(tmp_path: Path, kind: type[TuningError]) -> None:
    error = {"kind": kind.__name__, "message": "Line 4: too long.", "cure": "Cut.", "line": 4}
    with pytest.raises(kind) as caught:
        play(f"print({json.dumps({'error': error})!r}); raise SystemExit(1)", tmp_path)
    assert type(caught.value) is kind
    assert str(caught.value) == "Line 4: too long. Cut."
    if isinstance(caught.value, ExamplesError):
        assert caught.value.line == 4


def test_a_dead_job_is_explained_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match=r"exit status 1\): MemoryError: no room") as caught:
        play("raise MemoryError('no room')", tmp_path)
    assert "Traceback" not in str(caught.value)


def test_closing_the_iterator_ends_the_job_and_clears_its_folder(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys;"
        f"pathlib.Path({str(tmp_path)!r}, f'.partial-tern.{{os.getpid()}}').mkdir();"
        f"{TELL_STEP}; sys.stdout.flush(); sys.stdin.read(); sys.stdin.read()"
    )
    events = _follow([sys.executable, "-c", script], RECIPE, tmp_path, "tern")
    assert next(events) == STEP
    (partial,) = tmp_path.iterdir()
    events.close()
    assert not psutil.pid_exists(int(partial.name.rpartition(".")[2]))
    assert list(tmp_path.iterdir()) == []


def test_wrong_examples_and_names_are_refused_before_anything_starts(tmp_path: Path) -> None:
    base, wrong = tmp_path / "base.gguf", tmp_path / "wrong.jsonl"
    wrong.write_text("{}\n")
    with pytest.raises(ExamplesError, match="Line 1"):
        run_training(wrong, RECIPE, base, tmp_path / "adapters", "tern")
    with pytest.raises(AdapterError, match="cannot be the name"):
        run_training(write_examples(tmp_path), RECIPE, base, tmp_path / "adapters", "../tern")
    assert not (tmp_path / "adapters").exists()


def test_other_base_weights_are_refused(tmp_path: Path) -> None:
    base = tmp_path / "base.gguf"
    base.write_bytes(b"GGUF")
    with pytest.raises(RecipeError, match="other base weights"):
        list(run_training(write_examples(tmp_path), RECIPE, base, tmp_path / "adapters", "tern"))
    assert list((tmp_path / "adapters").iterdir()) == []


def test_the_job_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """The parent is killed with -9 while the job reads a base that never ends."""
    base = tmp_path / "base.gguf"
    subprocess.run(["mkfifo", base], check=True)
    script = (
        "import sys; from pathlib import Path; from bot.tuning.job import run_training;"
        "from bot.tuning.recipe import TrainingRecipe;"
        "recipe = TrainingRecipe(system_prompt='', base_sha256='0' * 64);"
        "examples, base, folder = map(Path, sys.argv[1:]);"
        "next(run_training(examples, recipe, base, folder, 'tern'))"
    )
    arguments = [write_examples(tmp_path), base, tmp_path / "adapters"]
    parent = subprocess.Popen([sys.executable, "-c", script, *arguments], stdin=subprocess.DEVNULL)
    with base.open("wb"):  # opens when the job opens it for reading
        (job,) = psutil.Process(parent.pid).children()
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([job], timeout=60)
    assert not alive
    assert shelf.adapters(tmp_path / "adapters") == []
