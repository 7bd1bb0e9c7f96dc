"""The adapters on disk: listed when whole, explained when damaged, replaced all at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bot.errors import AdapterError
from bot.tuning import adapters as shelf
from tests.tuning.stand_in import BASE, fill


def a_dead_process() -> int:
    """The id of a process that was, and is no more."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return pid


def test_whole_adapters_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("tern", "avocet"):
        fill(tmp_path / name)
    found = shelf.adapters(tmp_path)
    assert [one.name for one in found] == ["avocet", "tern"]
    assert found[1] == shelf.adapter(tmp_path, "tern")
    assert found[1].base_sha256 == BASE
    assert found[1].created_at == "2026-01-02T03:04:05+00:00"
    assert found[1].size_bytes == sum(p.stat().st_size for p in (tmp_path / "tern").iterdir())


def test_no_folder_means_no_adapters(tmp_path: Path) -> None:
    assert shelf.adapters(tmp_path / "none") == []
    assert shelf.broken_adapters(tmp_path / "none") == []


def test_examples_alone_and_work_in_progress_are_not_broken(tmp_path: Path) -> None:
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting" / shelf.EXAMPLES_NAME).touch()
    (tmp_path / ".partial-tern.1").mkdir()
    (tmp_path / "README.md").touch()
    assert shelf.adapters(tmp_path) == []
    assert shelf.broken_adapters(tmp_path) == []


def test_damage_is_reported_with_its_reason_and_spares_the_rest(tmp_path: Path) -> None:
    fill(tmp_path / "whole")
    (fill(tmp_path / "changed") / shelf.GGUF_NAME).write_bytes(b"GGUF w3ights")
    (fill(tmp_path / "no-weights") / shelf.GGUF_NAME).unlink()
    (fill(tmp_path / "no-manifest") / shelf.MANIFEST_NAME).unlink()
    (fill(tmp_path / "no-recipe") / "recipe.json").unlink()
    fill(tmp_path / "Bad Name")
    manifest = fill(tmp_path / "odd-manifest") / shelf.MANIFEST_NAME
    manifest.write_text(json.dumps([]))
    reasons = {one.name: one.reason for one in shelf.broken_adapters(tmp_path)}
    assert [one.name for one in shelf.adapters(tmp_path)] == ["whole"]
    assert sorted(reasons) == [
        "Bad Name",
        "changed",
        "no-manifest",
        "no-recipe",
        "no-weights",
        "odd-manifest",
    ]
    assert "not the file that was trained" in reasons["changed"]
    assert "recipe.json" in reasons["no-recipe"]
    with pytest.raises(AdapterError, match="changed is damaged"):
        shelf.adapter(tmp_path, "changed")


def test_another_base_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "tern")
    found = shelf.adapter(tmp_path, "tern")
    shelf.require_base(found, BASE)
    with pytest.raises(AdapterError, match="other base weights"):
        shelf.require_base(found, "b" * 64)


def test_an_unknown_adapter_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    fill(tmp_path / "tern")
    with pytest.raises(AdapterError, match=r"no adapter named gull.*tern"):
        shelf.adapter(tmp_path, "gull")


@pytest.mark.parametrize("name", ["", ".", "..", "../tern", "a/b", "/tmp", ".partial-x", "A", "-a"])
def test_an_unsafe_name_is_refused_everywhere(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "tern")
    for use in (shelf.adapter, shelf.delete, shelf.begin):
        with pytest.raises(AdapterError, match="cannot be the name"):
            use(tmp_path, name)
    assert [one.name for one in shelf.adapters(tmp_path)] == ["tern"]


def test_delete_removes_whole_and_damaged_ones_only_by_name(tmp_path: Path) -> None:
    for name in ("tern", "gull"):
        fill(tmp_path / name)
    (tmp_path / "gull" / "recipe.json").unlink()
    shelf.delete(tmp_path, "tern")
    shelf.delete(tmp_path, "gull")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AdapterError, match="no adapter named tern"):
        shelf.delete(tmp_path, "tern")


def test_delete_does_not_follow_a_link_out_of_the_folder(tmp_path: Path) -> None:
    elsewhere = fill(tmp_path / "elsewhere")
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "tern").symlink_to(elsewhere)
    with pytest.raises(AdapterError):
        shelf.delete(tmp_path / "adapters", "tern")
    assert (elsewhere / shelf.GGUF_NAME).exists()


def test_publishing_replaces_the_previous_adapter(tmp_path: Path) -> None:
    previous = shelf.publish(fill(shelf.begin(tmp_path, "tern"), b"old"), tmp_path, "tern")
    published = shelf.publish(fill(shelf.begin(tmp_path, "tern"), b"new"), tmp_path, "tern")
    assert published.sha256 != previous.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["tern"]


def test_an_incomplete_folder_is_not_published(tmp_path: Path) -> None:
    shelf.publish(fill(shelf.begin(tmp_path, "tern"), b"old"), tmp_path, "tern")
    partial = fill(shelf.begin(tmp_path, "tern"), b"new")
    (partial / shelf.GGUF_NAME).unlink()
    with pytest.raises(AdapterError):
        shelf.publish(partial, tmp_path, "tern")
    assert shelf.adapter(tmp_path, "tern").gguf_path.read_bytes() == b"old"


def test_what_a_killed_training_left_is_cleared_and_a_live_one_is_not(tmp_path: Path) -> None:
    abandoned = shelf.partial_folder(tmp_path, "tern", a_dead_process())
    running = shelf.partial_folder(tmp_path, "gull", os.getppid())
    abandoned.mkdir()
    running.mkdir()
    shelf.begin(tmp_path, "avocet")
    assert not abandoned.exists()
    assert running.exists()


def test_a_replacement_that_was_cut_short_is_undone(tmp_path: Path) -> None:
    fill(tmp_path / f".replaced-tern.{a_dead_process()}", b"old")
    assert [one.name for one in shelf.adapters(tmp_path)] == ["tern"]
    assert shelf.adapter(tmp_path, "tern").gguf_path.read_bytes() == b"old"
