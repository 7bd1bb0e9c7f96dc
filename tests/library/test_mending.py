"""A damaged search index: set aside, made again from the records, and said."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults.home import BareServices, Home
from bot.damage import dismiss, notes, set_aside
from bot.library import ingest, vectors
from bot.library.ingest import add_uploads, sync_folder
from bot.library.vectors import chroma_folder

pytestmark = [
    pytest.mark.integration,
    # chromadb leaves the connections of a client that cannot be made to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[BareServices]:
    """Real servers, with one small document in the library."""
    services = Home(tmp_path, model_port=1).open()
    assert isinstance(services, BareServices)
    for _ in add_uploads(services.library, [("wren.md", b"# Wren\n\nThe Wren holds 38 litres.\n")]):
        pass
    yield services
    services.close()
    gc.collect()


def cut(services: BareServices) -> None:
    """Damage what Chroma keeps while nobody looks."""
    folder = chroma_folder(services.settings.data_dir)
    os.truncate(folder / "chroma.sqlite3", 5000)


def found(services: BareServices) -> list[str]:
    return [passage.text for passage in services.retrieve("Wren holds litres", 1).passages]


def test_a_question_finds_its_answer_although_the_index_was_damaged(
    services: BareServices,
) -> None:
    before = found(services)
    assert before
    cut(services)
    assert found(services) == before
    (place,) = set_aside(services.settings.data_dir)
    (note,) = services.notes()
    assert str(place) in note.text
    assert "made again from the records" in note.text
    dismiss(note)
    assert services.notes() == []
    assert place.exists(), "what is damaged is never deleted"


def test_an_index_that_is_sound_is_left_alone(services: BareServices) -> None:
    for _ in sync_folder(services.library):
        pass
    assert notes(services.settings.data_dir) == []
    assert set_aside(services.settings.data_dir) == []


def test_a_few_passages_that_no_search_finds_are_looked_at_one_by_one(
    services: BareServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, before = services.library.vectors, found(services)
    looked_at = set[str]()
    monkeypatch.setattr(ingest, "TOLERATED_SHARE", 1.0)  # there is but one here
    monkeypatch.setattr(type(store), "unfindable", lambda _, listed: set(listed))
    monkeypatch.setattr(type(store), "look_at", lambda _, strays: looked_at.update(strays))
    for _ in sync_folder(services.library):
        pass
    assert looked_at == store.ids()
    assert set_aside(services.settings.data_dir) == []
    assert found(services) == before


def test_an_index_that_vanished_is_made_again(services: BareServices) -> None:
    before = found(services)
    services.library.vectors.clear()
    assert found(services) == before


def test_a_server_that_hangs_is_started_again(
    services: BareServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "TIMEOUT_SECONDS", 1.0)
    services.library.vectors.close()
    before = services.library.vectors.ids()
    (chroma,) = (one for one in services.servers.status() if one.name == "chroma")
    assert chroma.pid is not None
    os.kill(chroma.pid, signal.SIGSTOP)
    assert services.library.vectors.ids() == before
