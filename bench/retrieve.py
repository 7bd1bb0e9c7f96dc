"""How long a search takes, and what it misses: `python -m bench.retrieve`.

A whole search: the question is embedded, Chroma and BM25 are asked, both are fused, and the
evidence is chosen, in a library that grows to 1,000, 10,000 and 100,000 passages. The baseline is
exact search: every vector compared with every question's.

The passages are text of our own (bench/corpus.py). The first ones are embedded; vectors of the
others are real ones moved some way towards another real one, with a little noise, so that they lie
where text lies. Keywords are those of each passage's own text, and evidence is chosen from it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import machine
from bench.corpus import Writer
from bot.library.library import Library
from bot.library.retrieve import retrieve
from bot.library.split import Passage
from bot.records import documents as records
from bot.records.documents import StoredDocument, StoredPassage
from bot.services import open_services
from bot.settings import read_settings

P95_LIMIT_MS = 50.0
RECALL_LIMIT = 0.98
TOP = 5
SEED = 7
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen at one size of the library."""

    passages: int
    p50_ms: float
    p95_ms: float
    parts_ms: dict[str, float]
    exact_ms: float
    recall: float


def passages(count: int) -> list[Passage]:
    """As many passages of one document."""
    writer = Writer(SEED)
    return [
        Passage(f"bench-{number:06d}", "bench.md", "Bench", "", None, number, writer.passage())
        for number in range(count)
    ]


def questions(count: int) -> list[str]:
    """As many questions, in which common words are common."""
    writer = Writer(SEED + 1)
    return [writer.question() for _ in range(count)]


def derived(real: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The real vectors, and others between them, `count` in all, each of length 1."""
    dice = np.random.default_rng(SEED)
    more = max(0, count - len(real))
    first, second = dice.integers(len(real), size=(2, more))
    share = dice.uniform(0.1, 0.4, size=(more, 1)).astype(np.float32)
    noise = dice.normal(scale=0.01, size=(more, real.shape[1])).astype(np.float32)
    moved = real[first] * (1 - share) + real[second] * share + noise
    vectors = np.concatenate([real, moved])[:count]
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def fill(library: Library, some: Sequence[Passage], vectors: NDArray[np.float32]) -> None:
    """Put passages into the records and both indexes."""
    for start in range(0, len(some), _TOGETHER):
        part = some[start : start + _TOGETHER]
        records.save_passages(
            library.engine,
            [
                StoredPassage(p.id, "bench", p.document, p.title, "", None, p.number, p.text)
                for p in part
            ],
        )
        library.keywords.add({p.id: p.sourced_text for p in part})
        made = vectors[start : start + _TOGETHER]
        library.vectors.add(
            {p.id: vector for p, vector in zip(part, made, strict=True)},
            {p.id: p.document for p in part},
        )


def measure(
    library: Library, ids: Sequence[str], vectors: NDArray[np.float32], asked: Sequence[str]
) -> Measured:
    """Ask every question once, and compare the dense half with exact search."""
    seconds = [retrieve(library, question, passages=3).seconds for question in asked]
    question_vectors = [library.embedder.embed([question])[0] for question in asked]
    parts = {
        "embed": _ms(lambda n: library.embedder.embed([asked[n] + "?"]), asked),
        "chroma": _ms(lambda n: _dense(library, question_vectors[n]), asked),
        "bm25": _ms(lambda n: library.keywords.search(asked[n], 20), asked),
    }
    hits = 0
    started = time.perf_counter()
    exact = [np.argpartition(-(vectors @ vector), TOP)[:TOP] for vector in question_vectors]
    exact_ms = (time.perf_counter() - started) / len(asked) * 1000
    for vector, best in zip(question_vectors, exact, strict=True):
        hits += len({ids[n] for n in best} & set(_dense(library, vector)[:TOP]))
    return Measured(
        passages=len(ids),
        p50_ms=round(float(np.percentile(seconds, 50)) * 1000, 1),
        p95_ms=round(float(np.percentile(seconds, 95)) * 1000, 1),
        parts_ms=parts,
        exact_ms=round(exact_ms, 1),
        recall=round(hits / (TOP * len(asked)), 4),
    )


def _dense(library: Library, vector: NDArray[np.float32]) -> list[str]:
    """What Chroma finds, asked as a search asks it."""
    found = library.vectors.query(vector, top=20, embedder=library.embedder.identity)
    return [id_ for id_, _ in found]


def _ms(work: Callable[[int], object], asked: Sequence[str]) -> float:
    """The median of doing the work for each question, in milliseconds."""
    taken = []
    for number in range(len(asked)):
        started = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - started)
    return round(float(np.median(taken)) * 1000, 1)


def run(sizes: Sequence[int], *, embedded: int, asked: int) -> list[Measured]:
    """Let a library grow through the sizes, measuring at each."""
    every = passages(max(sizes))
    ids = [passage.id for passage in every]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = read_settings(data_dir=folder / "data", knowledge_dir=folder / "knowledge")
        with closing(open_services(settings)) as services:
            library = services.library
            library.vectors.prepare(library.embedder.identity)
            record = StoredDocument("bench.md", "bench", "Bench", "md", 1, 1, "", "ready")
            records.save_document(library.engine, record)
            texts = [passage.sourced_text for passage in every[:embedded]]
            vectors = derived(library.embedder.embed(texts), len(every))
            found = []
            for before, size in pairwise([0, *sizes]):
                fill(library, every[before:size], vectors[before:size])
                for question in questions(asked + 10)[asked:]:  # others, to warm up with
                    retrieve(library, question, passages=3)
                found.append(measure(library, ids[:size], vectors[:size], questions(asked)))
            return found


def table(found: Sequence[Measured]) -> str:
    """The rows of a README table."""
    rows = [
        "| passages | median | p95 | embedding | Chroma | BM25 | exact search | recall@5 |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {m.passages:,} | {m.p50_ms} ms | {m.p95_ms} ms | {m.parts_ms['embed']} ms "
        f"| {m.parts_ms['chroma']} ms | {m.parts_ms['bm25']} ms | {m.exact_ms} ms | {m.recall} |"
        for m in found
    ]
    return "\n".join(rows)


def passed(found: Sequence[Measured]) -> bool:
    """Whether the largest library is quick enough and none misses too much."""
    return found[-1].p95_ms <= P95_LIMIT_MS and all(m.recall >= RECALL_LIMIT for m in found)


def main() -> int:
    """Measure and print; the exit status is 1 when a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieve", description=__doc__)
    parser.add_argument(
        "--passages", type=int, nargs="+", default=[1_000, 10_000, 100_000], metavar="N"
    )
    parser.add_argument("--embedded", type=int, default=4_000, metavar="N")
    parser.add_argument("--questions", type=int, default=200, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    given = parser.parse_args()

    described = machine.describe()
    found = run(sorted(given.passages), embedded=given.embedded, asked=given.questions)
    if given.json:
        result = {
            "questions": given.questions,
            "embedded": given.embedded,
            "sizes": [asdict(measured) for measured in found],
            "p95_limit_ms": P95_LIMIT_MS,
            "recall_limit": RECALL_LIMIT,
            "passed": passed(found),
        }
        print(json.dumps({"machine": described, **result}, ensure_ascii=False, indent=2))
    else:
        print(machine.line(described))
        print(f"{given.questions} questions; vectors of {given.embedded:,} passages are embedded,")
        print("those of the others lie between them; parts are medians\n")
        print(table(found))
        print(f"\naims: p95 ≤ {P95_LIMIT_MS} ms at the largest, recall@5 ≥ {RECALL_LIMIT} at each")
        print("passed" if passed(found) else "NOT passed")
    return 0 if passed(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
