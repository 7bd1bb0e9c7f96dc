"""What a killed training leaves behind: nothing that counts, and the adapter before it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from bot.tuning import adapters as shelf
from tests.tuning.stand_in import fill


def test_a_replacement_that_was_cut_short_is_undone_for_whoever_asks(tmp_path: Path) -> None:
    fill(tmp_path / "tern")
    (tmp_path / "tern").rename(tmp_path / ".replaced-tern.999999999")
    assert shelf.adapter(tmp_path, "tern").name == "tern"


def test_a_process_that_only_has_the_number_of_the_dead_one_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = fill(shelf.partial_folder(tmp_path, "tern", os.getpid()))
    assert shelf.adapters(tmp_path) == []
    assert partial.exists(), "its process is alive: it is this one"
    born = partial.stat().st_ctime + 60
    monkeypatch.setattr(psutil.Process, "create_time", lambda _process: born)
    assert shelf.adapters(tmp_path) == []
    assert not partial.exists(), "a process that was born later did not make it"


def test_every_file_of_an_adapter_counts(tmp_path: Path) -> None:
    folder = fill(tmp_path / "tern")
    recipe = folder / "recipe.json"
    recipe.write_text(recipe.read_text().replace("Be brief.", "Be rude."))
    assert shelf.adapters(tmp_path) == []
    (broken,) = shelf.broken_adapters(tmp_path)
    assert "recipe.json is not the file that was trained" in broken.reason
