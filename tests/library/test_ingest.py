"""The knowledge folder and the index agree, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from bot.errors import DocumentError, LibraryError, VectorStoreError
from bot.library import embed, ingest
from bot.library.ingest import (
    Ingested,
    Progress,
    Step,
    add_files,
    add_uploads,
    documents,
    forget,
    passages,
    rebuild,
    sync_folder,
)
from bot.library.library import Library
from bot.library.reader import Reading
from bot.library.retrieve import search
from bot.records.documents import stored_document, stray_passage_ids
from tests.postgres import on_both, on_postgres

pytestmark = pytest.mark.integration

Write = Callable[[str, str], Path]

WREN = "# The Wren\n\nThe Wren 3 holds 38 litres.\n\n## Power\n\nIt draws 13 amps.\n"
HERON = "# The Heron\n\nThe Heron 5 holds 94 litres.\n"


def _results(steps: Iterable[Progress | Ingested]) -> dict[str, str]:
    return {step.name: step.status for step in steps if isinstance(step, Ingested)}


def _sync(library: Library) -> dict[str, str]:
    return _results(sync_folder(library))


def _found(library: Library, query: str) -> list[str]:
    """The texts that a search finds, after checking that nothing half-deleted is about."""
    assert stray_passage_ids(library.engine) == []
    return [scored.passage.text for scored in search(library, query)]


# -- The folder --------------------------------------------------------------------------------


def test_uploads_that_no_search_would_find_are_looked_at_one_by_one(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = set[str]()
    store = type(library.vectors)
    monkeypatch.setattr(store, "unfindable", lambda _, listed: set(listed))
    monkeypatch.setattr(store, "look_at", lambda _, strays: looked_at.update(strays))
    assert _results(add_uploads(library, [("wren.md", WREN.encode())])) == {"wren.md": "ready"}
    assert looked_at == {one.id for one in passages(library, "wren.md")}


def test_new_files_become_ready_and_can_be_found(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    write("sub/heron.md", HERON)
    assert _sync(library) == {"sub/heron.md": "ready", "wren.md": "ready"}
    assert _found(library, "litres Wren 3")[0] == "The Wren 3 holds 38 litres."
    rows = [(row.name, row.title, row.kind, row.passages, row.status) for row in documents(library)]
    assert rows == [
        ("sub/heron.md", "The Heron", "md", 1, "ready"),
        ("wren.md", "The Wren", "md", 2, "ready"),
    ]
    assert [p.heading for p in passages(library, "wren.md")] == ["", "Power"]


def test_nothing_is_read_or_embedded_when_nothing_changed(
    library: Library, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("wren.md", WREN)
    _sync(library)
    monkeypatch.setattr(library.reader, "read", None)
    assert _sync(library) == {"wren.md": "unchanged"}


def test_a_touched_file_is_not_embedded_again(
    library: Library, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("wren.md", WREN)
    _sync(library)
    os.utime(path, ns=(1, 1))
    monkeypatch.setattr(embed._Model, "vectors", None)
    assert _sync(library) == {"wren.md": "ready"}
    assert _sync(library) == {"wren.md": "unchanged"}


def test_a_changed_file_replaces_its_old_passages(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    _sync(library)
    old = [p.id for p in passages(library, "wren.md")]
    write("wren.md", "# The Wren\n\nThe Wren 3 holds 41 litres.\n")
    assert _sync(library) == {"wren.md": "ready"}
    assert _found(library, "litres Wren 3") == ["The Wren 3 holds 41 litres."]
    assert library.vectors.present(old) == set()
    assert library.keywords.present(old) == set()


def test_a_deleted_file_leaves_nothing_behind(library: Library, write: Write) -> None:
    path = write("wren.md", WREN)
    _sync(library)
    ids = [p.id for p in passages(library, "wren.md")]
    path.unlink()
    assert _sync(library) == {"wren.md": "removed"}
    assert documents(library) == []
    assert _found(library, "litres Wren 3") == []
    assert library.vectors.present(ids) == set()
    assert library.keywords.present(ids) == set()


def test_the_same_content_is_one_document(library: Library, write: Write) -> None:
    first = write("a.md", WREN)
    write("b.md", WREN)
    assert _sync(library) == {"a.md": "ready", "b.md": "duplicate"}
    assert len(_found(library, "litres Wren 3")) == 2
    assert [row.error for row in documents(library)] == ["", "Same content as a.md."]
    assert _sync(library) == {"a.md": "unchanged", "b.md": "duplicate"}
    first.unlink()
    assert _sync(library) == {"a.md": "removed", "b.md": "ready"}
    assert {p.document for p in passages(library, "b.md")} == {"b.md"}


def test_a_renamed_file_is_known_by_its_new_name(library: Library, write: Write) -> None:
    path = write("old_name.txt", "The kiln room is blue.\n" * 2)
    _sync(library)
    path.rename(path.with_name("new_name.txt"))
    assert _sync(library) == {"old_name.txt": "removed", "new_name.txt": "ready"}
    assert {p.title for p in passages(library, "new_name.txt")} == {"New name"}


def test_a_bad_file_is_reported_and_does_not_stop_the_others(
    library: Library, write: Write
) -> None:
    write("a.json", "{broken")
    write("b.md", WREN)
    assert _sync(library) == {"a.json": "failed", "b.md": "ready"}
    (bad, _) = documents(library)
    assert (bad.status, bad.passages) == ("failed", 0)
    assert bad.error.startswith("a.json is damaged")
    assert _sync(library) == {"a.json": "failed", "b.md": "unchanged"}
    write("a.json", '{"note": "mended"}')
    assert _sync(library) == {"a.json": "ready", "b.md": "unchanged"}


def test_a_file_that_became_bad_is_not_found_any_more(library: Library, write: Write) -> None:
    write("a.json", '{"note": "The Wren 3 holds 38 litres"}')
    _sync(library)
    write("a.json", "{broken")
    assert _sync(library) == {"a.json": "failed"}
    assert _found(library, "litres Wren 3") == []


def test_hidden_files_other_types_and_links_outside_are_passed_over(
    library: Library, write: Write, tmp_path: Path
) -> None:
    write(".hidden.md", WREN)
    write(".git/config.md", WREN)
    write("~$open.docx", "lock")
    write("photo.png", "not really")
    (tmp_path / "secret.md").write_text(HERON)
    (library.knowledge_dir / "link.md").symlink_to(tmp_path / "secret.md")
    assert _sync(library) == {}


def test_a_file_whose_name_is_not_text_is_reported(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    name = os.fsencode(library.knowledge_dir) + b"/caf\xe9.md"
    try:
        Path(os.fsdecode(name)).write_text(HERON)
    except OSError:
        pytest.skip("this file system takes no such name")
    steps = [step for step in sync_folder(library) if isinstance(step, Ingested)]
    assert steps[0] == Ingested(
        "caf?.md", "failed", 0, "caf?.md has a name that is not text. Rename it."
    )
    assert steps[1].status == "ready"
    assert len(documents(library)) == 1


def test_the_limit_of_size_holds_for_the_folder(library: Library, write: Write) -> None:
    write("large.txt", "word " * 200_001)
    assert _sync(library) == {"large.txt": "failed"}
    assert documents(library)[0].error.startswith("large.txt is larger than 1 MB.")


def test_a_missing_folder_does_not_empty_the_library(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    _sync(library)
    library.knowledge_dir.rename(library.knowledge_dir.with_name("moved"))
    with pytest.raises(LibraryError, match="is missing"):
        _sync(library)
    assert len(documents(library)) == 1


def test_progress_counts_passages(library: Library, write: Write) -> None:
    write("wren.md", "# T\n" + "".join(f"## H{n}\n\nText {n}.\n\n" for n in range(100)))
    steps = [step for step in sync_folder(library) if isinstance(step, Progress)]
    assert [s.stage for s in steps] == [
        *("reading", "splitting", "embedding", "embedding", "embedding", "storing"),
    ]
    embedding = [(s.done, s.total) for s in steps if s.stage == "embedding"]
    assert embedding == [(0, 100), (64, 100), (100, 100)]


# -- Read ahead --------------------------------------------------------------------------------


@pytest.fixture
def begun(library: Library, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Iterator[Step]]:
    """Begins to index a folder; the second of two files was read, the first is being embedded."""
    monkeypatch.setattr(ingest, "TOGETHER_PASSAGES", 1)
    really_read, read = library.reader.read, list[str]()
    both = Event()

    def noting(path: Path, *, name: str) -> Reading:
        try:
            return really_read(path, name=name)
        finally:
            read.append(name)
            if len(read) == 2:
                both.set()

    def begin() -> Iterator[Step]:
        monkeypatch.setattr(library.reader, "read", noting)
        steps = sync_folder(library)
        for step in steps:
            if isinstance(step, Progress) and step.stage == "embedding":
                break
        both.wait()
        return steps

    return begin


@pytest.mark.parametrize("was", [WREN, ""], ids=["good", "bad"])
def test_a_file_that_changed_after_it_was_read_ahead_is_read_again(
    library: Library, write: Write, begun: Callable[[], Iterator[Step]], was: str
) -> None:
    write("a.md", "# Other\n\nSomething else.\n")
    write("b.md", was)
    steps = begun()
    os.utime(write("b.md", HERON), ns=(1, 1))
    assert _results(steps) == {"a.md": "ready", "b.md": "ready"}
    assert _found(library, "Heron 5 litres")[0] == "The Heron 5 holds 94 litres."
    assert _sync(library) == {"a.md": "unchanged", "b.md": "unchanged"}


def test_a_file_that_became_bad_after_it_was_read_ahead_has_failed(
    library: Library, write: Write, begun: Callable[[], Iterator[Step]]
) -> None:
    write("a.md", WREN)
    write("b.md", HERON)
    steps = begun()
    os.utime(write("b.md", ""), ns=(1, 1))
    assert _results(steps) == {"a.md": "ready", "b.md": "failed"}
    assert "The Heron 5 holds 94 litres." not in _found(library, "Heron 5 litres")


def test_a_file_that_went_after_it_was_read_ahead_is_not_taken_in(
    library: Library, write: Write, begun: Callable[[], Iterator[Step]]
) -> None:
    write("a.md", WREN)
    gone = write("b.md", HERON)
    steps = begun()
    gone.unlink()
    assert _results(steps) == {"a.md": "ready", "b.md": "removed"}
    assert [row.name for row in documents(library)] == ["a.md"]


# -- Interrupted and damaged -------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", ["splitting", "embedding", "storing"])
def test_what_was_cut_off_is_finished_by_the_next_run(
    library: Library, write: Write, stop_after: str
) -> None:
    write("wren.md", WREN)
    for step in sync_folder(library):
        if isinstance(step, Progress) and step.stage == stop_after:
            break
    else:
        pytest.fail("the stage never came")
    assert _found(library, "litres Wren 3") == []
    assert _sync(library) == {"wren.md": "ready"}
    assert len(_found(library, "litres Wren 3")) == 2


def test_a_document_can_be_found_while_its_next_version_is_embedded(
    library: Library, write: Write
) -> None:
    write("wren.md", WREN)
    _sync(library)
    write("wren.md", HERON)
    for step in sync_folder(library):
        if isinstance(step, Progress) and step.stage == "storing":
            assert search(library, "Wren 3")[0].passage.text == "The Wren 3 holds 38 litres."
            break
    assert _sync(library) == {"wren.md": "ready"}
    assert _found(library, "Wren 3") == ["The Heron 5 holds 94 litres."]


def test_passages_that_an_index_lost_are_put_back(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    write("heron.md", HERON)
    _sync(library)
    library.vectors.delete([passages(library, "wren.md")[1].id])
    assert _sync(library) == {"heron.md": "unchanged", "wren.md": "ready"}
    library.keywords.delete([passages(library, "heron.md")[0].id])
    assert _sync(library) == {"heron.md": "ready", "wren.md": "unchanged"}


def test_another_embedder_makes_every_vector_anew(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    library.vectors.prepare("another embedder")
    with pytest.raises(VectorStoreError, match="another embedding model"):
        search(library, "Wren")
    assert _sync(library) == {"wren.md": "ready"}
    assert len(_found(library, "Wren 3")) == 2


def test_other_rules_of_splitting_cut_every_document_anew(
    library: Library, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("wren.md", WREN)
    _sync(library)
    before = library.vectors.vectors([p.id for p in passages(library, "wren.md")])
    read = library.reader.read

    def read_otherwise(path: Path, *, name: str) -> Reading:
        reading = read(path, name=name)
        return replace(reading, passages=(replace(reading.passages[0], text="Steel casing."),))

    monkeypatch.setattr(ingest, "_LAYOUT", "next")
    monkeypatch.setattr(library.reader, "read", read_otherwise)
    assert _sync(library) == {"wren.md": "ready"}
    assert _found(library, "steel") == ["Steel casing."]
    after = library.vectors.vectors(list(before))
    assert len(before) == 2
    assert len(after) == 1
    assert all(float(before[id_] @ vector) < 0.99 for id_, vector in after.items())
    record = stored_document(library.engine, "wren.md")
    assert record is not None
    assert record.layout == "next"


def test_rebuild_makes_both_indexes_from_the_records(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    _sync(library)
    library.vectors.clear()
    library.keywords.clear()
    assert _results(rebuild(library)) == {"wren.md": "ready"}
    (best, *_) = search(library, "litres Wren 3")
    assert best.keyword_score > 0
    assert best.dense_score > 0.5


def test_threads_take_turns(library: Library) -> None:
    files = [(f"file{n}.md", f"# File {n}\n\nKiln {n} is red.\n".encode()) for n in range(4)]
    threads = [Thread(target=lambda f=f: list(add_uploads(library, [f]))) for f in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.status for row in documents(library)] == ["ready"] * 4
    assert set(_sync(library).values()) == {"unchanged"}


@on_both
def test_a_library_locked_for_too_long_says_so(
    library: Library, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "LOCK_TIMEOUT_SECONDS", 0.0)
    write("wren.md", WREN)
    steps = sync_folder(library)
    next(steps)
    with pytest.raises(LibraryError, match="changing the library"):
        list(add_uploads(library, [("b.md", b"# B\n\nText.\n")]))
    assert _results(steps) == {"wren.md": "ready"}


@on_postgres
def test_a_library_with_its_records_in_postgresql(library: Library, write: Write) -> None:
    write("wren.md", WREN)
    path = write("sub/heron.md", HERON)
    assert _sync(library) == {"sub/heron.md": "ready", "wren.md": "ready"}
    assert _sync(library) == {"sub/heron.md": "unchanged", "wren.md": "unchanged"}
    assert _found(library, "litres Wren 3")[0] == "The Wren 3 holds 38 litres."
    path.unlink()
    assert _sync(library) == {"sub/heron.md": "removed", "wren.md": "unchanged"}
    assert _results(rebuild(library)) == {"wren.md": "ready"}
    forget(library, "wren.md")
    assert documents(library) == []


# -- Uploads and paths -------------------------------------------------------------------------


def test_uploads_land_in_the_folder_under_safe_names(library: Library) -> None:
    files = [("../../wren.md", WREN.encode()), ("C:\\docs\\heron.md", HERON.encode())]
    assert _results(add_uploads(library, files)) == {"wren.md": "ready", "heron.md": "ready"}
    assert sorted(p.name for p in library.knowledge_dir.iterdir()) == ["heron.md", "wren.md"]
    assert (library.knowledge_dir / "wren.md").read_bytes() == WREN.encode()
    assert _sync(library) == {"heron.md": "unchanged", "wren.md": "unchanged"}


def test_an_upload_of_known_content_is_not_stored_again(library: Library) -> None:
    list(add_uploads(library, [("wren.md", WREN.encode())]))
    (*_, last) = add_uploads(library, [("copy.md", WREN.encode())])
    assert last == Ingested("copy.md", "duplicate", 0, "Same content as wren.md.")
    assert [p.name for p in library.knowledge_dir.iterdir()] == ["wren.md"]


def test_two_files_that_come_with_one_name_are_both_kept(library: Library) -> None:
    files = [("a/x.md", WREN.encode()), ("b/x.md", HERON.encode()), ("a/x.md", WREN.encode())]
    steps = add_uploads(library, files)
    kept = {s.name: s.status for s in steps if isinstance(s, Ingested)}
    assert kept == {"x.md": "ready", "x (2).md": "ready"}
    assert (library.knowledge_dir / "x.md").read_text() == WREN
    assert (library.knowledge_dir / "x (2).md").read_text() == HERON


def test_a_name_that_was_cleaned_replaces_nothing(library: Library) -> None:
    list(add_uploads(library, [("wren.md", WREN.encode())]))
    spoofed = ("wren\u202e.md", HERON.encode())
    assert _results(add_uploads(library, [spoofed])) == {"wren (2).md": "ready"}
    assert (library.knowledge_dir / "wren.md").read_text() == WREN
    mended = ("wren.md", WREN.encode() + b"More.\n")
    assert _results(add_uploads(library, [mended])) == {"wren.md": "ready"}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.md", b"", "is empty"),
        ("a.exe", b"MZ", "of a type that cannot be read"),
        ("a.json", b"{", "is damaged"),
        ("a.txt", b"x" * 1_000_001, "larger than 1 MB"),
        ("noname", b"text", "of a type that cannot be read"),
    ],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    library: Library, name: str, content: bytes, error: str
) -> None:
    (*_, last) = add_uploads(library, [(name, content)])
    assert isinstance(last, Ingested)
    assert (last.name, last.status) == (name, "failed")
    assert error in (last.error or "")
    assert list(library.knowledge_dir.iterdir()) == []
    assert documents(library) == []


def test_a_bad_upload_does_not_replace_a_good_file(library: Library) -> None:
    list(add_uploads(library, [("a.json", b'{"kiln": "Wren 3"}')]))
    assert _results(add_uploads(library, [("a.json", b"{")])) == {"a.json": "failed"}
    assert _sync(library) == {"a.json": "unchanged"}


def test_an_upload_that_was_cut_off_is_cleared_away(library: Library) -> None:
    (library.knowledge_dir / ".upload-abc").write_text("half")
    assert _sync(library) == {}
    assert list(library.knowledge_dir.iterdir()) == []


def test_paths_from_elsewhere_are_copied_and_folders_opened(
    library: Library, write: Write, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "heron.md").write_text(HERON)
    inside = write("sub/wren.md", WREN)
    steps = list(add_files(library, [elsewhere, inside, tmp_path / "none.md"]))
    assert _results(steps) == {"heron.md": "ready", "sub/wren.md": "ready", "none.md": "failed"}
    assert (elsewhere / "heron.md").exists()
    assert (library.knowledge_dir / "heron.md").read_text() == HERON


# -- Forgetting --------------------------------------------------------------------------------


def test_forget_takes_everything(library: Library, write: Write) -> None:
    path = write("wren.md", WREN)
    _sync(library)
    ids = [p.id for p in passages(library, "wren.md")]
    forget(library, "wren.md")
    assert not path.exists()
    assert documents(library) == []
    assert library.vectors.present(ids) | library.keywords.present(ids) == set()


def test_forgetting_one_of_two_copies_keeps_the_content(library: Library, write: Write) -> None:
    write("a.md", WREN)
    write("b.md", WREN)
    _sync(library)
    forget(library, "a.md")
    assert [(row.name, row.status) for row in documents(library)] == [("b.md", "ready")]
    assert len(_found(library, "litres Wren 3")) == 2


@pytest.mark.parametrize("name", ["unknown.md", "../outside.md", ""])
def test_unknown_names_are_a_document_error(library: Library, name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text(WREN)
    with pytest.raises(DocumentError, match="is not in the library"):
        forget(library, name)
    with pytest.raises(DocumentError, match="is not in the library"):
        passages(library, name)
    assert outside.exists()
