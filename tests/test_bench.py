"""The benches count what they say they count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import ingest, retrieve
from bench.answers import Answered, summary, table
from bench.corpus import Writer, write_folder
from bench.crowd import Figures, growth, percentile
from bench.side_by_side import Run, verdict
from bench.visitor import Visitor
from bot.chat.strategies import strategy


def answered(name: str, **values: object) -> Answered:
    plain: dict[str, object] = {
        "strategy": name,
        "question": "How hot?",
        "answers": ("1280",),
        "trained": False,
        "text": "",
        "quotes": (),
        "failed": False,
        "correct": False,
        "evidence": False,
        "abstained": False,
        "first_token_seconds": 0.5,
        "total_seconds": 1.0,
    }
    return Answered(**(plain | values))  # type: ignore[arg-type]


def test_answers_are_counted_where_they_belong() -> None:
    rows = [
        answered("rag", correct=True, evidence=True, trained=True),
        answered("rag", evidence=True),
        answered("rag", abstained=True),
        answered("rag", answers=None, abstained=True),
        answered("rag", answers=None),
        answered("rag", failed=True, first_token_seconds=None, total_seconds=None),
        answered("prompt", correct=True),
    ]
    counted = summary(strategy("rag"), rows)
    assert counted["answerable"] == 4
    assert counted["correct"] == 1
    assert (counted["trained"], counted["correct_trained"]) == (1, 1)
    assert counted["evidence"] == 2
    assert (counted["unanswerable"], counted["abstained"]) == (2, 1)
    assert counted["false_abstentions"] == 1
    assert counted["failed"] == 1
    assert summary(strategy("prompt"), rows)["evidence"] is None
    assert "1/4 25 %" in table([counted])


def test_comparing_passes_only_within_both_limits() -> None:
    rag = [strategy("rag")]
    plain = [Run(2.0, {"rag": 0.200}, 50)] * 3
    assert verdict([Run(2.08, {"rag": 0.220}, 50)] * 3, plain, rag)["passed"]
    assert not verdict([Run(2.20, {"rag": 0.220}, 50)] * 3, plain, rag)["passed"]
    late = verdict([Run(2.08, {"rag": 0.230}, 50)] * 3, plain, rag)
    assert not late["passed"]
    assert late["added_first_token_ms"] == 30.0
    assert late["added_first_token_ms_by_strategy"] == {"rag": 30.0}


def test_the_generated_text_is_the_same_each_time_and_as_large_as_asked(tmp_path: Path) -> None:
    sizes = [write_folder(tmp_path / name, megabytes=0.12) for name in ("a", "b")]
    texts = [
        [path.read_text() for path in sorted((tmp_path / name).iterdir())] for name in ("a", "b")
    ]
    assert texts[0] == texts[1]
    assert sizes[0] == sizes[1] == pytest.approx(120_000, rel=0.1)
    sentences = "".join(texts[0]).split(". ")
    assert len(set(sentences)) > 0.99 * len(sentences)
    assert Writer(1).question() == Writer(1).question() != Writer(2).question()


def test_derived_vectors_are_unit_and_keep_the_real_ones() -> None:
    real = np.eye(384, dtype=np.float32)[:5]
    made = retrieve.derived(real, 50)
    assert made.shape == (50, 384)
    assert np.allclose(made[:5], real)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert len(np.unique(made, axis=0)) == 50


@pytest.mark.integration
def test_retrieve_measures_each_size() -> None:
    found = retrieve.run([30, 60], embedded=20, asked=3)
    assert [one.passages for one in found] == [30, 60]
    assert all(one.recall >= 0.9 for one in found)
    assert all(0 < one.p50_ms <= one.p95_ms for one in found)
    assert retrieve.table(found).count("\n") == 3


@pytest.mark.integration
def test_ingest_measures_the_product_and_the_bare_embedder(tmp_path: Path) -> None:
    write_folder(tmp_path / "text", megabytes=0.03)
    ours = ingest.triptych(tmp_path / "text", tmp_path, 0.03)
    assert ours["passages"] >= 30
    assert ours["bare_passages"] == ours["passages"]
    size = {"megabytes": 0.03, "triptych": ours, "of_embedder": 0.9, "langchain": None}
    size |= {"of_langchain": None}
    assert f"| {ours['passages']} |" in ingest.table([size])


@pytest.mark.parametrize(
    ("of_embedder", "of_langchain", "peak_mb", "good"),
    [
        (0.86, 2.1, 900, True),
        (0.86, None, 900, True),
        (0.84, 2.1, 900, False),
        (0.86, 1.9, 900, False),
        (0.86, 2.1, 1600, False),
    ],
)
def test_ingest_passes_only_within_all_limits(
    of_embedder: float, of_langchain: float | None, peak_mb: int, good: bool
) -> None:
    found = {"of_embedder": of_embedder, "of_langchain": of_langchain}
    assert ingest.passed(found | {"triptych": {"peak_mb": peak_mb}}) is good


def test_memory_grows_against_the_second_quarter_not_against_the_warm_up() -> None:
    warming, flat, grown = [100] * 10, [400] * 20, [480] * 10
    assert growth(Figures(page_bytes=[*warming, *flat, *[400] * 10])) == 1.0
    assert growth(Figures(page_bytes=[*warming, *flat, *grown])) == pytest.approx(1.2)


def test_a_percentile_is_exceeded_by_the_rest_only() -> None:
    assert percentile([float(value) for value in range(101)], 95) == pytest.approx(95.0)
    assert percentile([], 95) == 0.0


def test_a_visitor_notes_answers_that_failed() -> None:
    visitor = Visitor(socket=None)  # type: ignore[arg-type]
    visitor._read("**Prompt** &nbsp; :green-badge[:material/check: done]", now=0)
    visitor._read("**RAG** &nbsp; :red-badge[:material/error: failed]", now=0)
    assert visitor.errors == [":red-badge[:material/error: failed]"]
