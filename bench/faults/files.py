"""Bad files: each is uploaded and laid into the folder, and must end as a sentence or a document
that can be found, with nothing half-indexed. ``python -m bench.faults.files``"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select
from sqlalchemy.orm import Session

from bench.faults.bad_files import BadFile, bad_files
from bench.faults.tally import Tally
from bot.errors import TriptychError
from bot.library.embed import Embedder
from bot.library.ingest import Ingested, Progress, add_uploads, documents, forget, sync_folder
from bot.library.keywords import KeywordIndex
from bot.library.library import Library
from bot.library.reader import Limits, Reader
from bot.library.retrieve import search
from bot.library.vectors import VectorStore, chroma_spec
from bot.records import documents as records
from bot.records.database import open_database
from bot.records.postings import MemberRecord
from bot.servers import Servers

UPLOAD_BYTES = 25_000_000
MEMORY_BYTES = 1_500_000_000
SECONDS_BESIDES_READING = 30.0
LONGEST_SENTENCE = 500
GOOD = "heron.md"
GOOD_TEXT = "# The Heron\n\nThe Heron 5 holds 94 litres and is fired to 1280 degrees.\n"
QUESTION = "How many litres does the Heron 5 hold?"
LIMITS = Limits(seconds=10.0)
"""As in the product, but for the time: bombs that only burn time would take an hour."""


def run(count: int, seed: int, limits: Limits = LIMITS) -> Tally:
    """Try so many bad files on a library of their own, with real embedder and real Chroma."""
    tally = Tally("bad files", tried=0)
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), limits) as library:
        battery = Battery(library, tally)
        for bad in bad_files(count, seed):
            tally.tried += 1
            battery.attempt(bad)
    return tally


@contextmanager
def opened(folder: Path, limits: Limits) -> Iterator[Library]:
    """An empty library in a folder, with servers of its own."""
    engine = open_database(folder / "triptych.db")
    (folder / "knowledge").mkdir()
    with closing(Servers(folder)) as servers, closing(Reader(limits)) as reader:
        vectors = VectorStore(lambda: servers.address(chroma_spec(folder)))
        keywords = KeywordIndex(engine)
        with closing(vectors):
            yield Library(
                engine, vectors, keywords, Embedder(), folder / "knowledge", UPLOAD_BYTES, reader
            )
    engine.dispose()


class Battery:
    """A library with one good document, on which bad files are tried.

    Args:
        library: an empty one.
        tally: where counts and problems go.
    """

    def __init__(self, library: Library, tally: Tally) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest: Counter[str] = Counter()
        self._library = library
        self._tally = tally
        self._process = psutil.Process()
        self._consume(lambda: add_uploads(library, [(GOOD, GOOD_TEXT.encode())]), "the good file")

    def attempt(self, bad: BadFile) -> None:
        """Upload a file, then lay it into the folder; look after each that all is in order."""
        which = f"{bad.what} {bad.name[:40]!a}"
        upload = [(bad.name, bad.content)]
        self._take_in(lambda: add_uploads(self._library, upload), f"{which}, uploaded")
        if path := self._laid_into_folder(bad):
            self._take_in(lambda: sync_folder(self._library), f"{which}, in the folder")
            path.unlink(missing_ok=True)
            self._take_in(lambda: sync_folder(self._library), f"{which}, gone again")

    def _take_in(self, events: Callable[[], Iterable[Progress | Ingested]], which: str) -> None:
        started = time.perf_counter()
        for result in self._consume(events, which):
            self.outcomes[result.status] += 1
            if result.status == "failed":
                self._check_sentence(result, which)
        seconds = time.perf_counter() - started
        self.slowest[which] = round(seconds * 1000)
        if seconds > self._library.reader.limits.seconds + SECONDS_BESIDES_READING:
            self._crashed(f"took {seconds:.0f} seconds", which)
        if (memory := self._process.memory_info().rss) > MEMORY_BYTES:
            self._crashed(f"left the process with {memory >> 20} MB", which)
        self._check_order(which)
        self._check_recall(which)
        for row in documents(self._library):
            if row.name != GOOD and not which.endswith("in the folder"):
                self._consume(lambda row=row: self._forgetting(row.name), which)
        if not which.endswith("in the folder"):
            self._check_order(f"{which}, then forgotten")

    def _forgetting(self, name: str) -> Iterator[Ingested]:
        forget(self._library, name)
        yield Ingested(name, "removed", 0, None)

    def _consume(
        self, events: Callable[[], Iterable[Progress | Ingested]], which: str
    ) -> list[Ingested]:
        try:
            return [event for event in events() if isinstance(event, Ingested)]
        except TriptychError as error:
            self._crashed(f"stopped the library: {error}", which)
        except Exception:
            self._tally.tracebacks += 1
            self._crashed(traceback.format_exc(limit=-2).strip().replace("\n", " | "), which)
        return []

    def _laid_into_folder(self, bad: BadFile) -> Path | None:
        """The file under its own name, when the file system takes it."""
        name = os.fsencode(bad.name.replace("\ud800", "\udcff"))
        path = Path(os.fsdecode(os.fsencode(self._library.knowledge_dir) + b"/" + name))
        try:
            if path.resolve().parent != self._library.knowledge_dir.resolve():
                return None
            path.write_bytes(bad.content)
        except (OSError, ValueError):
            return None
        return path

    # -- What has to hold at all times ----------------------------------------------------------

    def _check_sentence(self, result: Ingested, which: str) -> None:
        sentence = result.error or ""
        named = sentence.startswith(result.name) and sentence.endswith(".")
        plain = "Traceback" not in sentence and len(sentence) < LONGEST_SENTENCE
        if not (named and plain and len(sentence) > len(result.name) + 10):
            self._problem(f"is refused without a sentence: {sentence[:200]!r}", which)
        if "crashes on it" in sentence:
            self._problem("made the reading child crash", which)

    def _check_order(self, which: str) -> None:
        """Records, keywords and vectors hold the passages of ready documents and no others."""
        kept = records.stored_documents(self._library.engine)
        if odd := [one.name for one in kept if one.status not in ("ready", "duplicate", "failed")]:
            self._problem(f"left {odd} half-indexed", which)
        passages = records.passage_ids(self._library.engine)
        owned = {id_ for one in kept if one.status == "ready" for id_ in passages[one.sha256]}
        with Session(self._library.engine) as session:
            keywords = set(session.scalars(select(MemberRecord.passage_id)))
        found = {
            "records": {id_ for some in passages.values() for id_ in some},
            "keywords": keywords,
            "Chroma": self._in_chroma(),
        }
        for place, ids in found.items():
            if ids - owned:
                self._problem(f"left {len(ids - owned)} passages without owner in {place}", which)
            if owned - ids:
                self._tally.lost += 1
                self._problem(f"made {place} lose {len(owned - ids)} passages", which)
        if any(self._library.knowledge_dir.glob(".upload-*")) and ".upload-" not in which:
            self._problem("left an unfinished upload in the folder", which)

    def _in_chroma(self) -> set[str]:
        def request(client: Any) -> set[str]:
            collection = client.get_collection("passages", embedding_function=None)
            return set(collection.get(include=[])["ids"])

        return self._library.vectors._ask(request)

    def _check_recall(self, which: str) -> None:
        """Every ready document is found by its own words, the good one by a question."""
        if [p.passage.document for p in search(self._library, QUESTION)[:1]] != [GOOD]:
            self._tally.lost += 1
            self._problem("hides the good document", which)
        by_content = records.passage_ids(self._library.engine)
        for one in records.stored_documents(self._library.engine):
            if one.status != "ready" or one.name == GOOD:
                continue
            stored = records.passages_of(self._library.engine, one.sha256)[0]
            results = search(self._library, stored.text[:1000], top=20)
            if stored.text not in {result.passage.text for result in results}:  # it may have twins
                self._tally.lost += 1
                self._problem(
                    f"is ready with {len(by_content[one.sha256])} passages unfound", which
                )

    def _crashed(self, how: str, which: str) -> None:
        self._tally.crashes += 1
        self._problem(how, which)

    def _problem(self, what: str, which: str) -> None:
        self._tally.problems.append(f"{which}: {what}")


def main() -> int:
    """Run the battery; the exit status is 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.files", description=__doc__)
    parser.add_argument("--count", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=None, help="for the same files again")
    given = parser.parse_args()
    seed = time.time_ns() % 10**6 if given.seed is None else given.seed
    started = time.perf_counter()
    tally = run(given.count, seed)
    seconds = time.perf_counter() - started
    print(
        f"{tally.name}, seed {seed}: {tally.tried} tried in {seconds:.0f} s, {tally.lost} lost, "
        f"{tally.crashes} crashes, {tally.tracebacks} tracebacks, {len(tally.problems)} problems"
    )
    for problem in tally.problems:
        print(f"  {problem}")
    return 1 if tally.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
