"""What goes wrong in a training's process, in a sentence; and what the kernel counts."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bot.errors import AdapterError, ExamplesError, TuningError
from bot.tuning.job import explained
from bot.tuning.process import OUT_OF_MEMORY, _killed_for_memory


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        caused(TuningError("The base cannot be read."), RuntimeError("std::bad_alloc")),
    ],
)
def test_want_of_memory_is_one_sentence_however_it_is_said(error: Exception) -> None:
    assert explained(error) == {"message": OUT_OF_MEMORY, "resumable": True}


@pytest.mark.parametrize(
    ("error", "words", "resumable"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full. Make room", True),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system. Make room", True),
        (caused(AdapterError("Unwritten."), OSError(errno.ENOSPC, "")), "Unwritten.", True),
        (ExamplesError("too long.", line=4, cure="Cut it."), "Line 4: too long. Cut it.", False),
    ],
)
def test_other_failures_keep_their_words(error: Exception, words: str, resumable: bool) -> None:
    said = explained(error)
    assert words in said["message"]
    assert said["resumable"] is resumable


def test_a_defect_is_not_explained_away() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        explained(RuntimeError("mat1 and mat2 cannot be multiplied"))


@pytest.mark.skipif(not Path("/proc/vmstat").exists(), reason="only Linux counts them")
def test_the_kernel_tells_how_many_it_killed_for_memory() -> None:
    lines = Path("/proc/vmstat").read_text().splitlines()
    assert _killed_for_memory() >= int(dict(map(str.split, lines)).get("oom_kill", 0))
