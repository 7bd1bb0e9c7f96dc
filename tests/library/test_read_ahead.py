"""Files are read while those before them are indexed, in their order and not too many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.errors import DocumentError
from bot.library import read_ahead as module
from bot.library.read_ahead import read_ahead, stamp
from bot.library.reader import Reading


def _reading(name: str) -> Reading:
    return Reading(name, sha256="", title=name, kind="txt", size_bytes=4, passages=())


def _noted(taken: list[str]) -> Iterator[str]:
    """The names of the files, each noted when it is taken."""
    for name in "abcde":
        taken.append(name)
        yield name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of four bytes, of which eight bytes are read ahead."""
    monkeypatch.setattr(module, "AHEAD_BYTES", 8)
    for name in "abcde":
        (tmp_path / name).write_text("text")
    return tmp_path


def test_files_come_in_their_order_with_what_they_say(folder: Path) -> None:
    files = list(read_ahead("abcde", folder.joinpath, _reading))
    assert [file.name for file in files] == list("abcde")
    assert [file.reading.result().title for file in files] == list("abcde")
    assert {file.stamp for file in files} == {stamp(folder / name) for name in "abcde"}


def test_as_many_as_are_allowed_are_begun_behind_the_one_given_out(folder: Path) -> None:
    begun: list[str] = []
    seen = []
    for file in read_ahead(_noted(begun), folder.joinpath, _reading):
        seen.append((file.name, "".join(begun)))
    assert seen == [("a", "abc"), ("b", "abcd"), ("c", "abcde"), ("d", "abcde"), ("e", "abcde")]


def test_the_next_one_is_begun_however_large_it_is(folder: Path) -> None:
    (folder / "b").write_text("long" * 100)
    begun: list[str] = []
    first = next(read_ahead(_noted(begun), folder.joinpath, _reading))
    assert (first.name, begun) == ("a", ["a", "b"])


def test_a_failure_is_the_files_own(folder: Path) -> None:
    (folder / "b").unlink()

    def read(name: str) -> Reading:
        if not (folder / name).exists():
            raise DocumentError(name, "is gone.")
        return _reading(name)

    good, bad, other = read_ahead("abc", folder.joinpath, read)
    assert (good.reading.result().name, other.reading.result().name) == ("a", "c")
    assert bad.stamp is None
    with pytest.raises(DocumentError, match="b is gone"):
        bad.reading.result()


def test_nothing_more_is_read_when_nobody_wants_it(folder: Path) -> None:
    may_end, read = threading.Event(), []

    def slow(name: str) -> Reading:
        read.append(name)
        may_end.wait()
        return _reading(name)

    files = read_ahead("abcde", folder.joinpath, slow)
    first = next(files)
    files.close()
    may_end.set()
    first.reading.result()
    for thread in threading.enumerate():
        if thread.name.startswith("triptych-read-ahead"):
            thread.join()
    assert read == ["a"]
