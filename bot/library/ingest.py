"""Files of the knowledge folder → documents that can be found. Every step can be repeated.

A document is ready only when its passages are in the records, in the keyword index and
recallable from Chroma. Ids of passages follow from the file's content, so a run that was killed
is finished by the next one. The records are the truth; what no record owns is swept away.

Files of a folder are indexed some hundred passages at a time, however many files these are: few
transactions, texts of one length embedded together, and storing done while embedding goes on.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from bot.damage import is_full, leave_note
from bot.errors import DocumentError, LibraryError, VectorStoreError
from bot.library import keywords, split
from bot.library.library import Library
from bot.library.load import SUFFIXES
from bot.library.names import numbered_name, safe_name
from bot.library.read_ahead import Ahead, read_ahead, stamp
from bot.library.reader import Reading
from bot.library.split import Passage
from bot.records import documents as records
from bot.records.documents import DocumentRow, StoredDocument, StoredPassage
from bot.records.locks import RecordsLock

TOGETHER_PASSAGES = 1024
STORED_PASSAGES = 64
LOCK_TIMEOUT_SECONDS = 600.0
PROVEN_PASSAGES = 2000
SAMPLED_PASSAGES = 500
TOLERATED_SHARE = 0.02
"""Of passages that a search with their own vector may miss: the search is approximate."""

_LAYOUT = f"{split.LAYOUT}/{keywords.ANALYSIS}"
_UPLOAD_PREFIX = ".upload-"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one document is; `done` and `total` count passages once they are known."""

    document: str
    stage: Literal["reading", "splitting", "embedding", "storing"]
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one document. `error` says why when it is not ready, as a sentence."""

    name: str
    status: Literal["ready", "unchanged", "duplicate", "removed", "failed"]
    passages: int
    error: str | None


Step = Progress | Ingested


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document that was read: its record once it is ready, and its passages."""

    record: StoredDocument
    passages: Sequence[Passage]


def sync_folder(library: Library) -> Iterator[Step]:
    """Bring the index in line with the knowledge folder: new, changed and deleted files.

    Quick when nothing changed: files are compared by size and time first. A file that cannot
    be read is reported as failed and does not stop the others. Types that cannot be read and
    hidden files are passed over.

    Raises:
        LibraryError: the folder is missing although it held documents, the library is locked,
            or the embedder or the vector store fails.
    """
    files = _files(library)
    for name in [name for name in files if not _is_text(name)]:
        del files[name]
        shown = name.encode(errors="replace").decode()
        yield Ingested(shown, "failed", 0, f"{shown} has a name that is not text. Rename it.")
    began_empty = not records.stored_documents(library.engine)
    with _locked(library):
        _mend(library)
        _remove_unfinished_uploads(library)
        gone = [d.name for d in records.stored_documents(library.engine) if d.name not in files]
        for name in gone:
            yield _remove(library, name)
        _sweep(library)
    counts = {row.name: row.passages for row in documents(library)}
    stored = {document.name: document for document in records.stored_documents(library.engine)}
    incomplete = _incomplete(library, stored.values())
    changed: list[str] = []
    lost: list[str] = []
    for name, path in files.items():
        document = stored.get(name)
        if document is None or not _is_current(document, path, stored):
            changed.append(name)
        elif name in incomplete:
            lost.append(name)
        elif document.status == "failed":
            yield Ingested(name, "failed", 0, document.error)
        elif document.status == "duplicate":
            yield _duplicate(name, document.duplicate_of)
        else:
            yield Ingested(name, "unchanged", counts[name], None)
    with _locked(library):
        yield from _restore(library, lost)
    with closing(_read_ahead(library, changed)) as files_ahead:
        for file in files_ahead:
            with _locked(library):
                yield from _index_files(library, chain([file], files_ahead))
    if began_empty:
        with _locked(library):
            _drop_unknown(library)


def add_files(library: Library, paths: Sequence[Path]) -> Iterator[Step]:
    """Take files or whole folders in; what lies elsewhere is copied into the knowledge folder.

    Raises:
        LibraryError: the library is locked, or the embedder or the vector store fails.
    """
    home = library.knowledge_dir.resolve()
    taken: dict[str, str] = {}
    for path in _expanded(paths):
        if path.resolve().is_relative_to(home):
            with _locked(library):
                library.vectors.prepare(library.embedder.identity)
                name = path.resolve().relative_to(home).as_posix()
                yield from _index_files(library, _read_ahead(library, [name]))
            continue
        try:
            too_large = path.stat().st_size > library.upload_bytes
            content = b"" if too_large else path.read_bytes()
        except OSError:
            yield Ingested(path.name, "failed", 0, f"{path.name} cannot be opened.")
            continue
        if too_large:
            yield Ingested(path.name, "failed", 0, str(_too_large(library, path.name)))
        else:
            yield from _add_upload(library, path.name, content, taken)


def add_uploads(library: Library, files: Sequence[tuple[str, bytes]]) -> Iterator[Step]:
    """Take uploaded files in, given as (name, content); each appears in the folder whole or not.

    A file with the name of an existing one replaces it, once it has been read without error; a
    file whose name was only made equal by cleaning it gets a number. Content that is there
    already under another name is not stored again.

    Raises:
        LibraryError: the library is locked, or the embedder or the vector store fails.
    """
    taken: dict[str, str] = {}
    for given_name, content in files:
        yield from _add_upload(library, given_name, content, taken)
    came = [
        one.id for sha256 in taken.values() for one in records.passages_of(library.engine, sha256)
    ]
    with suppress(VectorStoreError):  # the next look at the folder does it as well
        library.vectors.look_at(library.vectors.unfindable(came[:PROVEN_PASSAGES]))


def forget(library: Library, name: str) -> None:
    """Delete a document: its file, its records, its keywords and its vectors.

    Raises:
        DocumentError: there is no document of this name, or its file cannot be deleted.
        LibraryError: the library is locked, or the embedder or the vector store fails.
    """
    with _locked(library):
        if records.stored_document(library.engine, name) is None:
            raise DocumentError(
                name,
                "is not in the library.",
                cure="`python -m bot documents` lists what is.",
            )
        try:
            _path(library, name).unlink(missing_ok=True)
        except OSError as error:
            raise DocumentError(
                name, "cannot be deleted.", cure="Check the permissions of the folder."
            ) from error
        _remove(library, name)
        # A copy of the same content now stands for it.
        copies = [
            copy.name
            for copy in records.stored_documents(library.engine)
            if copy.duplicate_of == name
        ]
        for _ in _index_files(library, _read_ahead(library, copies)):
            pass


def rebuild(library: Library) -> Iterator[Step]:
    """Make both indexes again from the records, embedding every passage anew.

    Raises:
        LibraryError: the library is locked, or the embedder or the vector store fails.
    """
    with _locked(library):
        library.vectors.clear()
        library.vectors.prepare(library.embedder.identity)
        library.keywords.clear()
        stored = records.stored_documents(library.engine)
        yield from _restore(library, [one.name for one in stored if one.status == "ready"])


def documents(library: Library) -> list[DocumentRow]:
    """Every document that was taken in or tried, by name."""
    return records.document_rows(library.engine)


def passages(library: Library, name: str) -> list[Passage]:
    """The passages of a document in reading order; of its twin when it is a duplicate.

    Raises:
        DocumentError: there is no document of this name.
    """
    document = records.stored_document(library.engine, name)
    if document is None:
        raise DocumentError(name, "is not in the library.")
    return [as_passage(stored) for stored in records.passages_of(library.engine, document.sha256)]


def as_passage(stored: StoredPassage) -> Passage:
    """A passage as the library speaks of it, from its record."""
    return Passage(
        id=stored.id,
        document=stored.document,
        title=stored.title,
        heading=stored.heading,
        page=stored.page,
        number=stored.number,
        text=stored.text,
    )


def _add_upload(
    library: Library, given: str, content: bytes, taken: dict[str, str]
) -> Iterator[Step]:
    """Take one uploaded file in.

    Args:
        given: its name as it came.
        taken: safe name → SHA-256 of those that came together with it; added to.
    """
    if len(content) > library.upload_bytes:
        name = safe_name(given)
        yield Ingested(name, "failed", 0, str(_too_large(library, name)))
        return
    sha256 = hashlib.sha256(content).hexdigest()
    with _locked(library):
        library.vectors.prepare(library.embedder.identity)
        name = _free_name(library, given, sha256, taken)
        yield Progress(name, "reading", 0, 1)
        if twin := _twin(library, name, sha256):
            yield _duplicate(name, twin)
            return
        try:
            reading = _place(library, name, content)
        except DocumentError as error:
            yield Ingested(name, "failed", 0, str(error))
            return
        taken[name] = sha256
        if prepared := (yield from _prepare(library, reading)):
            yield from _index(library, [prepared])


def _index_files(library: Library, files: Iterator[Ahead]) -> Iterator[Step]:
    """Index files of the folder together, taking as many as make enough passages."""
    together: list[_Prepared] = []
    for file in files:
        reading = yield from _read(library, file)
        if reading is None:
            continue
        if any(reading.sha256 == other.record.sha256 for other in together):
            # The same content: once the first is ready, this one is its duplicate.
            yield from _index(library, together)
            together = []
        if prepared := (yield from _prepare(library, reading)):
            together.append(prepared)
        if sum(len(one.passages) for one in together) >= TOGETHER_PASSAGES:
            break
    yield from _index(library, together)


def _read_ahead(library: Library, names: Iterable[str]) -> Generator[Ahead, None, None]:
    """Files of the folder, being read one after the other."""
    return read_ahead(names, partial(_path, library), partial(_reading, library))


def _read(library: Library, file: Ahead) -> Generator[Step, None, Reading | None]:
    """What a file of the folder says now; its failure is recorded, not raised."""
    name, path = file.name, _path(library, file.name)
    yield Progress(name, "reading", 0, 1)
    wait([file.reading])
    try:
        return file.reading.result() if stamp(path) == file.stamp else _reading(library, name)
    except DocumentError as error:
        if not path.is_file():
            yield _remove(library, name)
            return None
        _record_failure(library, name, path, error)
        _sweep(library)
        yield Ingested(name, "failed", 0, str(error))
        return None


def _reading(library: Library, name: str) -> Reading:
    """Read a file of the folder.

    Raises:
        DocumentError: it cannot be read, or is too large.
    """
    path = _path(library, name)
    found = stamp(path)  # where there is none, the reader says what is wrong
    if found is not None and found[0] > library.upload_bytes:
        raise _too_large(library, name)
    return library.reader.read(path, name=name)


def _prepare(library: Library, reading: Reading) -> Generator[Step, None, _Prepared | None]:
    """Make a document that was read ready to be indexed, unless another one has its content."""
    name = reading.name
    record = StoredDocument(
        name=name,
        sha256=reading.sha256,
        title=reading.title,
        kind=reading.kind,
        size_bytes=reading.size_bytes,
        modified_ns=_path(library, name).stat().st_mtime_ns,
        layout=_LAYOUT,
        status="ready",
    )
    if twin := _twin(library, name, reading.sha256):
        duplicate = replace(record, status="duplicate", duplicate_of=twin)
        records.save_document(library.engine, replace(duplicate, error=f"Same content as {twin}."))
        _sweep(library)
        yield _duplicate(name, twin)
        return None
    yield Progress(name, "splitting", 0, 1)
    return _Prepared(record, reading.passages)


def _index(library: Library, together: Sequence[_Prepared]) -> Iterator[Step]:
    """Index documents that were read and cut up, after which they are ready."""
    under_way = []
    replaced = False
    for reading in together:
        record = reading.record
        before = records.stored_document(library.engine, record.name)
        replaced |= before is not None and before.sha256 != record.sha256
        if before is None or before.sha256 == record.sha256 or before.status != "ready":
            # Nothing older can be searched meanwhile; the list shows that it is under way.
            under_way.append(replace(record, status="indexing"))
    records.save_documents(library.engine, under_way)
    for reading in together:
        _drop_other_layout(library, reading.record.sha256, reading.passages)
    records.save_passages(
        library.engine,
        (_stored(p, reading.record.sha256) for reading in together for p in reading.passages),
    )
    yield from _store(library, [p for reading in together for p in reading.passages])
    records.save_documents(library.engine, [reading.record for reading in together])
    if replaced:  # to sweep is to look at every passage of the library
        _sweep(library)
    for reading in together:
        yield Ingested(reading.record.name, "ready", len(reading.passages), None)


def _restore(library: Library, names: Iterable[str]) -> Iterator[Step]:
    """Put the recorded passages of documents that are ready into both indexes again."""
    together: dict[str, list[Passage]] = {}
    for name in names:
        with suppress(DocumentError):  # it was deleted meanwhile
            together[name] = passages(library, name)
        if sum(map(len, together.values())) >= TOGETHER_PASSAGES:
            yield from _store_all(library, together)
            together = {}
    yield from _store_all(library, together)


def _store_all(library: Library, together: Mapping[str, Sequence[Passage]]) -> Iterator[Step]:
    """Put the passages of documents that are ready into both indexes again."""
    yield from _store(library, [passage for some in together.values() for passage in some])
    for name, some in together.items():
        yield Ingested(name, "ready", len(some), None)


def _mend(library: Library) -> None:
    """Prove that what Chroma lists can also be found; set a damaged index aside, with a note.

    A few that no search finds are no damage: searches look at them one by one from then on. A
    library of up to `PROVEN_PASSAGES` is proven whole, a larger one by a sample: damage that is
    not confined to a few passages is seen either way.

    Raises:
        VectorStoreError: Chroma cannot be used for another reason, or not even when empty.
    """
    try:
        library.vectors.prepare(library.embedder.identity)
        damage, strays = _damage(library)
        if not damage:
            library.vectors.look_at(strays)
            return
    except VectorStoreError as error:
        if is_full(library.lock_path.parent):
            raise VectorStoreError(
                "The search index cannot be used: the disk is full.", cure="Make room, try again."
            ) from error
        damage = error.message.split("\n")[0]
    place = library.vectors.set_aside()
    if place is not None:
        leave_note(
            place,
            f"The search index was damaged and is made again from the records. ({damage}) "
            f"The damaged one was moved to {place}; delete it when you do not need it.",
        )
    library.vectors.prepare(library.embedder.identity)


def _damage(library: Library) -> tuple[str, set[str]]:
    """What is wrong with the index, as a sentence, empty when nothing is; and the passages that no
    search finds."""
    by_content = records.passage_ids(library.engine)
    ids = sorted(id_ for some in by_content.values() for id_ in some)
    if len(ids) > PROVEN_PASSAGES:
        ids = random.sample(ids, SAMPLED_PASSAGES)
    listed = library.vectors.present(ids)
    lost = library.vectors.unfindable(sorted(listed))
    if len(lost) <= TOLERATED_SHARE * len(listed):
        return "", lost
    return f"{len(lost)} of {len(listed)} passages that it lists cannot be found in it.", lost


def _store(library: Library, found: Sequence[Passage]) -> Iterator[Progress]:
    """Put passages into both indexes and make sure that they are there.

    Raises:
        VectorStoreError: Chroma does not give back what it took.
    """
    totals = Counter(passage.document for passage in found)
    done: Counter[str] = Counter()
    for name, total in totals.items():
        yield Progress(name, "embedding", 0, total)
    for start in range(0, len(found), TOGETHER_PASSAGES):
        some = found[start : start + TOGETHER_PASSAGES]
        for embedded in _store_some(library, some):
            here = Counter(passage.document for passage in embedded)
            done += here
            for name in here:
                yield Progress(name, "embedding", done[name], totals[name])
    for name, total in totals.items():
        yield Progress(name, "storing", total, total)


def _store_some(library: Library, found: Sequence[Passage]) -> Iterator[Sequence[Passage]]:
    """Put passages into both indexes; gives those that have been embedded, as it goes on.

    Raises:
        VectorStoreError: Chroma does not give back what it took.
    """
    ids = [passage.id for passage in found]
    there = library.vectors.present(ids)
    yield [passage for passage in found if passage.id in there]
    missing = [passage for passage in found if passage.id not in there]
    with ThreadPoolExecutor(1, thread_name_prefix="triptych-storing") as storing:
        texts = {passage.id: passage.sourced_text for passage in found}
        stored = [storing.submit(library.keywords.add, texts)]
        made = library.embedder.embed_each([texts[p.id] for p in missing], giving_way=True)
        while some := [(missing[n], vector) for n, vector in islice(made, STORED_PASSAGES)]:
            vectors = {passage.id: vector for passage, vector in some}
            documents_of = {passage.id: passage.document for passage, _ in some}
            stored.append(storing.submit(library.vectors.add, vectors, documents_of))
            yield [passage for passage, _ in some]
        for job in stored:
            job.result()
    if lost := set(ids) - library.vectors.present(ids):
        names = ", ".join(sorted({p.document for p in found if p.id in lost}))
        raise VectorStoreError(
            f"Chroma does not give back {len(lost)} of the passages of {names}.",
            cure="Rebuild the index.",
        )


def _drop_other_layout(library: Library, sha256: str, found: Iterable[Passage]) -> None:
    """Forget passages of the same content that were cut or titled in another way."""
    wanted = {passage.id: _stored(passage, sha256) for passage in found}
    other = [
        stored.id
        for stored in records.passages_of(library.engine, sha256)
        if wanted.get(stored.id) != stored
    ]
    _delete_passages(library, other)


def _drop_unknown(library: Library) -> None:
    """Delete vectors that no record knows: those of an index that outlived its records."""
    known = {id_ for ids in records.passage_ids(library.engine).values() for id_ in ids}
    library.vectors.delete(sorted(library.vectors.ids() - known))


def _sweep(library: Library) -> None:
    """Delete every passage that no document owns any more."""
    _delete_passages(library, records.stray_passage_ids(library.engine))


def _delete_passages(library: Library, ids: Sequence[str]) -> None:
    """Delete passages everywhere; from the records last, so that a killed run is repeated."""
    if ids:
        library.vectors.delete(ids)
        library.keywords.delete(ids)
        records.delete_passages(library.engine, ids)


def _remove(library: Library, name: str) -> Ingested:
    records.delete_document(library.engine, name)
    _sweep(library)
    return Ingested(name, "removed", 0, None)


def _record_failure(library: Library, name: str, path: Path, error: DocumentError) -> None:
    with suppress(OSError):
        stat = path.stat()
        records.save_document(
            library.engine,
            StoredDocument(
                name=name,
                sha256="",
                title=name,
                kind=path.suffix.lstrip(".").lower(),
                size_bytes=stat.st_size,
                modified_ns=stat.st_mtime_ns,
                layout=_LAYOUT,
                status="failed",
                error=str(error),
            ),
        )


def _twin(library: Library, name: str, sha256: str) -> str:
    """The name of another document that is ready and has this content, or ""."""
    return next(
        (
            other.name
            for other in records.documents_of(library.engine, sha256)
            if other.name != name and other.status == "ready"
            if _path(library, other.name).is_file()
        ),
        "",
    )


def _is_current(document: StoredDocument, path: Path, stored: dict[str, StoredDocument]) -> bool:
    """Whether a file is as it was when it was last read, by size and time, then by content."""
    if document.layout != _LAYOUT or document.status == "indexing":
        return False
    if document.status == "duplicate":
        twin = stored.get(document.duplicate_of)
        if twin is None or twin.status != "ready" or twin.sha256 != document.sha256:
            return False
    return stamp(path) == (document.size_bytes, document.modified_ns)


def _incomplete(library: Library, stored: Iterable[StoredDocument]) -> set[str]:
    """Documents called ready of which an index has lost a passage."""
    by_content = records.passage_ids(library.engine)
    ids = {
        document.name: by_content.get(document.sha256, [])
        for document in stored
        if document.status == "ready"
    }
    every = [id_ for some in ids.values() for id_ in some]
    there = library.vectors.present(every) & library.keywords.present(every)
    return {name for name, some in ids.items() if not there.issuperset(some)}


def _files(library: Library) -> dict[str, Path]:
    """The readable files of the knowledge folder by name, in the order of their names.

    Raises:
        LibraryError: the folder is missing although it held documents.
    """
    home = library.knowledge_dir
    if not home.is_dir():
        if records.stored_documents(library.engine):
            raise LibraryError(
                f"The knowledge folder {home} is missing.",
                cure="Bring it back, or set TRIPTYCH_KNOWLEDGE_DIR to where it is.",
            )
        home.mkdir(parents=True, exist_ok=True)
    return {
        path.relative_to(home).as_posix(): path
        for path in sorted(home.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith((".", "~$")) for part in path.relative_to(home).parts)
        and path.is_file()
        and path.resolve().is_relative_to(home.resolve())
    }


def _is_text(name: str) -> bool:
    """Whether a file name can be kept: on Linux it may hold any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expanded(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        else:
            yield path


def _path(library: Library, name: str) -> Path:
    """The file of a document.

    Raises:
        DocumentError: the name leads out of the knowledge folder.
    """
    path = library.knowledge_dir / name
    if not path.resolve().is_relative_to(library.knowledge_dir.resolve()):
        raise DocumentError(name, "is not in the knowledge folder.")
    return path


def _free_name(library: Library, given: str, sha256: str, taken: dict[str, str]) -> str:
    """The safe name under which an upload replaces nothing that it was not meant to replace.

    That is what another file of the same upload is called, or what only became its name when it
    was cleaned; the same content may take its own place again.
    """
    name = wanted = safe_name(given)
    number, was_cleaned = 1, re.split(r"[\\/]", given)[-1] != wanted
    while taken.get(name, sha256) != sha256 or (was_cleaned and _is_other(library, name, sha256)):
        number += 1
        name = numbered_name(wanted, number)
    return name


def _is_other(library: Library, name: str, sha256: str) -> bool:
    """Whether there is a document of this name that holds something else."""
    document = records.stored_document(library.engine, name)
    if document is None:
        return _path(library, name).exists()
    return document.sha256 != sha256


def _place(library: Library, name: str, content: bytes) -> Reading:
    """Read new content beside its place, and move it there only when it could be read.

    Raises:
        DocumentError: the content cannot be read, or the folder cannot be written.
    """
    unfinished = ""
    try:
        library.knowledge_dir.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(prefix=_UPLOAD_PREFIX, dir=library.knowledge_dir)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        reading = library.reader.read(Path(unfinished), name=name)
        Path(unfinished).chmod(0o644)
        Path(unfinished).replace(_path(library, name))
    except OSError as error:
        full = is_full(library.knowledge_dir)
        raise DocumentError(
            name,
            "cannot be stored: the disk is full." if full else "cannot be stored.",
            cure="Make room, then add it again."
            if full
            else "Check the room and permissions of the folder.",
        ) from error
    finally:
        if unfinished:
            Path(unfinished).unlink(missing_ok=True)
    return reading


def _remove_unfinished_uploads(library: Library) -> None:
    for unfinished in library.knowledge_dir.glob(f"{_UPLOAD_PREFIX}*"):
        unfinished.unlink(missing_ok=True)


def _duplicate(name: str, twin: str) -> Ingested:
    return Ingested(name, "duplicate", 0, f"Same content as {twin}.")


def _too_large(library: Library, name: str) -> DocumentError:
    limit = library.upload_bytes // 1_000_000
    return DocumentError(
        name,
        f"is larger than {limit} MB.",
        cure="Split it, or raise TRIPTYCH_UPLOAD_MEGABYTES.",
    )


def _stored(passage: Passage, sha256: str) -> StoredPassage:
    return StoredPassage(
        id=passage.id,
        sha256=sha256,
        document=passage.document,
        title=passage.title,
        heading=passage.heading,
        page=passage.page,
        number=passage.number,
        text=passage.text,
    )


@contextmanager
def _locked(library: Library) -> Iterator[None]:
    """Hold the library's lock; one change at a time, across threads, processes and machines.

    Raises:
        LibraryError: somebody else has held it for too long.
        RecordsError: it cannot be taken.
    """
    lock = RecordsLock(library.engine, "library")
    if not lock.acquire(LOCK_TIMEOUT_SECONDS):
        raise LibraryError(
            "Another process has been changing the library for a long time.",
            cure="Wait until it has finished, or stop it.",
        )
    try:
        yield
    finally:
        lock.release()
