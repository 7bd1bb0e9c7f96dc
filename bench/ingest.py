"""How fast documents become searchable: `python -m bench.ingest`.

Folders of Markdown of our own (bench/corpus.py) are read, split, embedded and stored in Chroma,
the keyword index and the records: passages per second, from the first file to the last one ready.
Chroma, the child that reads files and the models are started before the clock is. Two baselines:

- the bare embedder: texts of the same run in the same batches, and nothing else, measured in
  between on a sample that is spread over the folder while the clock of the run is held;
- the plain LangChain recipe on the same files in a process of its own: TextLoader,
  RecursiveCharacterTextSplitter, HuggingFaceEmbeddings (float32, as it comes) and
  Chroma.from_documents. Its splitter is given 1000 letters with 200 shared, as in LangChain's own
  tutorials. With the class's defaults (4000) three quarters of each text would be cut off by
  the embedding model, which reads 256 tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from bench import machine
from bench.corpus import write_folder
from bot.library.ingest import TOGETHER_PASSAGES, Ingested, documents, passages, sync_folder
from bot.library.split import Passage
from bot.services import Services, open_services
from bot.settings import ROOT, read_settings

EMBEDDER_LIMIT = 0.85
LANGCHAIN_LIMIT = 2.0
MEMORY_LIMIT_MB = 1500
BASELINE_MEGABYTES = 1.0
SAMPLES = 12
SPLITTER = {"chunk_size": 1000, "chunk_overlap": 200}


class Others:
    """The most memory that processes of a folder, or children of this one, held together."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._done = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(1.0):
            held = sum(map(_held_bytes, self._processes()))
            self.peak_mb = max(self.peak_mb, held / 1e6)

    def _processes(self) -> set[psutil.Process]:
        here = psutil.Process()
        found = set(here.children(recursive=True))
        for process in psutil.process_iter(["cmdline"]):
            if any(self._folder in part for part in process.info["cmdline"] or []):
                found.add(process)
        return found - {here}


def triptych(folder: Path, work: Path, size_mb: float) -> dict[str, Any]:
    """Index a folder, holding the clock now and then to embed the same texts bare."""
    settings = read_settings(data_dir=work / "data", knowledge_dir=folder)
    with closing(open_services(settings)) as services, Others(work) as others:
        services.library.vectors.prepare(services.library.embedder.identity)
        services.library.embedder.warm_up()
        services.library.reader.read(next(folder.iterdir()))
        expected_passages = size_mb * 1000
        done, held = 0, 0.0
        bare = _Bare(services, every=max(TOGETHER_PASSAGES, int(expected_passages / SAMPLES)))
        started = time.perf_counter()
        for step in sync_folder(services.library):
            if isinstance(step, Ingested):
                if step.status != "ready":
                    raise RuntimeError(f"{step.name}: {step.error}")
                done += step.passages
                held += bare.take(step.name)
        seconds = time.perf_counter() - started - held
        bare.finish()
        started = time.perf_counter()
        for _ in sync_folder(services.library):
            pass
        unchanged = time.perf_counter() - started
        return {
            "files": len(documents(services.library)),
            "passages": done,
            "seconds": round(seconds, 2),
            "passages_per_second": round(done / seconds, 1),
            "bare_passages": bare.passages,
            "bare_passages_per_second": round(bare.passages / bare.seconds, 1),
            "unchanged_seconds": round(unchanged, 2),
            "peak_mb": _peak_mb(),
            "others_peak_mb": round(others.peak_mb),
        }


class _Bare:
    """The embedder alone, on a sample of the documents that were indexed."""

    def __init__(self, services: Services, *, every: int) -> None:
        self._library = services.library
        self._every = every
        self._since = every
        self._waiting: list[Passage] = []
        self.passages = 0
        self.seconds = 0.0

    def take(self, name: str) -> float:
        """Look at a document that has become ready; gives the seconds that it took."""
        started = time.perf_counter()
        found = passages(self._library, name)
        self._since += len(found)
        if self._since >= self._every:
            self._waiting += found
        if len(self._waiting) >= TOGETHER_PASSAGES:
            self.finish()
            self._since = 0
        return time.perf_counter() - started

    def finish(self) -> None:
        """Embed what is waiting."""
        if not self._waiting:
            return
        texts = [passage.sourced_text for passage in self._waiting]
        started = time.perf_counter()
        self._library.embedder.embed(texts, giving_way=True)
        self.seconds += time.perf_counter() - started
        self.passages += len(texts)
        self._waiting = []


def langchain(folder: Path, work: Path) -> dict[str, Any]:
    """The plain recipe on the same files."""
    warnings.simplefilter("ignore")
    os.environ |= {"ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1"}
    from langchain_community.document_loaders import TextLoader
    from langchain_community.embeddings import HuggingFaceEmbeddings
    from langchain_community.vectorstores import Chroma
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    from bot.library.embed import weights_folder

    embeddings = HuggingFaceEmbeddings(
        model_name=str(weights_folder()), model_kwargs={"device": "cpu"}
    )
    embeddings.embed_query("warm up")
    started = time.perf_counter()
    loaded = [
        document
        for path in sorted(folder.iterdir())
        for document in TextLoader(str(path), encoding="utf-8").load()
    ]
    parts = RecursiveCharacterTextSplitter(**SPLITTER).split_documents(loaded)
    Chroma.from_documents(parts, embeddings, persist_directory=str(work / "langchain"))
    seconds = time.perf_counter() - started
    return {
        "passages": len(parts),
        "seconds": round(seconds, 2),
        "passages_per_second": round(len(parts) / seconds, 1),
        "peak_mb": _peak_mb(),
    }


def compare(size_mb: float, *, baseline_mb: float) -> dict[str, Any]:
    """Both ways of one size, each in a process of its own, one after the other."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        size_bytes = write_folder(work / "text", megabytes=size_mb)
        ours = _in_process("triptych", work, size_mb)
        found: dict[str, Any] = {
            "megabytes": round(size_bytes / 1e6, 2),
            "triptych": ours,
            "of_embedder": round(ours["passages_per_second"] / ours["bare_passages_per_second"], 3),
            "langchain": None,
            "of_langchain": None,
            "of_langchain_by_text": None,
        }
        if size_mb <= baseline_mb:
            theirs = _in_process("langchain", work, size_mb)
            found["langchain"] = theirs
            found["of_langchain"] = round(
                ours["passages_per_second"] / theirs["passages_per_second"], 2
            )
            found["of_langchain_by_text"] = round(theirs["seconds"] / ours["seconds"], 2)
        found["passed"] = passed(found)
        return found


def passed(found: dict[str, Any]) -> bool:
    """Whether one size is within all limits."""
    return bool(
        found["of_embedder"] >= EMBEDDER_LIMIT
        and (found["of_langchain"] is None or found["of_langchain"] >= LANGCHAIN_LIMIT)
        and found["triptych"]["peak_mb"] <= MEMORY_LIMIT_MB
    )


def table(sizes: Sequence[dict[str, Any]]) -> str:
    """The rows of a README table."""
    rows = [
        "| text | passages | passages/s | bare embedder | ratio | LangChain | ratio | memory "
        "| of children | nothing changed |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for size in sizes:
        ours, theirs = size["triptych"], size["langchain"]
        rows.append(
            f"| {size['megabytes']} MB | {ours['passages']:,} | {ours['passages_per_second']} "
            f"| {ours['bare_passages_per_second']} | {size['of_embedder']} "
            f"| {theirs['passages_per_second'] if theirs else '–'} "
            f"| {size['of_langchain'] or '–'} | {ours['peak_mb']} MB "
            f"| {ours['others_peak_mb']} MB | {ours['unchanged_seconds']} s |"
        )
    return "\n".join(rows)


def _in_process(part: str, work: Path, size_mb: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.ingest", "--part", part, str(work), str(size_mb)]
    answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _peak_mb() -> int:
    """The most memory this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def _held_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def main() -> int:
    """Measure and print; the exit status is 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument(
        "--megabytes",
        type=float,
        nargs="+",
        default=[1.0, 10.0],
        metavar="MB",
        help="sizes of the folders; 100 takes about half an hour",
    )
    parser.add_argument(
        "--baseline-megabytes",
        type=float,
        default=BASELINE_MEGABYTES,
        metavar="MB",
        help="the largest size that LangChain's recipe is run on",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        part, work, size_mb = given.part[0], Path(given.part[1]), float(given.part[2])
        found = (
            langchain(work / "text", work)
            if part == "langchain"
            else triptych(work / "text", work, size_mb)
        )
        print(json.dumps(found))
        return 0

    described = machine.describe()
    sizes = [compare(size, baseline_mb=given.baseline_megabytes) for size in given.megabytes]
    good = all(size["passed"] for size in sizes)
    if given.json:
        result = {"machine": described, "splitter": SPLITTER, "sizes": sizes, "passed": good}
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return 0 if good else 1
    print(machine.line(described))
    print(f"LangChain's recipe up to {given.baseline_megabytes:g} MB, splitter {SPLITTER}\n")
    print(table(sizes))
    print(
        f"\naims: ≥ {EMBEDDER_LIMIT} of the bare embedder, ≥ {LANGCHAIN_LIMIT} × LangChain, "
        f"≤ {MEMORY_LIMIT_MB} MB"
    )
    print("passed" if good else "NOT passed")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
