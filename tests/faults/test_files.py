"""A tenth of the battery of bad files, and proof that it sees what it is there to see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.faults.bad_files import BadFile, bad_files
from bench.faults.files import Battery, opened
from bench.faults.tally import Tally
from bot.errors import DocumentError
from bot.library import ingest
from bot.library.library import Library
from bot.library.reader import Limits

SEED = 308
SOUND = BadFile("sound", "kiln.md", b"The quiet kiln stands in row 4.")
BROKEN = BadFile("broken", "kiln.json", b"{")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with opened(tmp_path_factory.mktemp("bad_files"), Limits(seconds=3.0)) as library:
        yield library


def tried(library: Library, *files: BadFile) -> Tally:
    tally = Tally("bad files", tried=0)
    battery = Battery(library, tally)
    for bad in files:
        battery.attempt(bad)
    return tally


def test_the_files_of_a_seed_are_all_different_and_always_the_same() -> None:
    files = list(bad_files(30, seed=SEED))
    assert len({(bad.name, bad.content) for bad in files}) == 30
    again = [(bad.what, bad.name) for bad in bad_files(20, seed=SEED)]
    assert [(bad.what, bad.name) for bad in files[:20]] == again  # encryption adds salt of its own


@pytest.mark.integration
def test_bad_files_end_as_a_sentence_or_as_a_document(library: Library) -> None:
    tally = tried(library, *bad_files(20, seed=SEED))
    assert tally.problems == []
    assert (tally.lost, tally.crashes, tally.tracebacks) == (0, 0, 0)


@pytest.mark.integration
def test_planted_defects_are_seen(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(ingest, "_sweep", lambda library: None)
        problems = tried(library, SOUND).problems
    assert any("passages without owner in Chroma" in problem for problem in problems)
    ingest._sweep(library)
    with monkeypatch.context() as planted:
        planted.setattr(DocumentError, "__str__", lambda error: "")
        problems = tried(library, BROKEN).problems
    assert any("refused without a sentence" in problem for problem in problems)
    with monkeypatch.context() as planted:
        planted.setattr(type(library.reader), "read", lambda *_, **__: [][0])
        tally = tried(library, SOUND)
    assert tally.tracebacks == tally.crashes == 3
    assert tried(library, SOUND, BROKEN).problems == []
