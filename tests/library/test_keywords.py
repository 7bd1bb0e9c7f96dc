"""Keyword search knows identifiers, endings of words and rare words."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bot.library import keywords
from bot.library.keywords import K1, B, KeywordIndex, terms
from bot.records.database import open_database
from tests.postgres import on_both


@pytest.fixture
def index(where: Path | str) -> Iterator[KeywordIndex]:
    engine = open_database(where)
    yield KeywordIndex(engine)
    engine.dispose()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Heron-5X", ["heron-5x", "heron", "5x"]),
        ("Heron 5X", ["heron", "5x", "heron-5x"]),
        ("the Wren 3 and Wren 4", ["wren", "3", "wren-3", "wren", "4", "wren-4"]),
        ("firing fired fires", ["fire", "fire", "fire"]),
        ("£1,185.50", ["1185.50"]),
        ("What is the of and", []),
        ("max_hours", ["max-hours", "max", "hour"]),
        ("1200 °C", ["1200", "c"]),
    ],
)
def test_terms(text: str, found: list[str]) -> None:
    assert terms(text) == found


def test_the_passage_with_the_rare_word_comes_first(index: KeywordIndex) -> None:
    index.add({"a": "the kiln is hot", "b": "the kiln needs a thermocouple", "c": "a cold kiln"})
    assert index.search("kiln thermocouples", 3)[0][0] == "b"


@on_both
def test_identifiers_are_told_apart(index: KeywordIndex) -> None:
    index.add({"w3": "The Wren 3 holds 38 litres.", "w4": "The Wren 4 holds 57 litres."})
    assert index.search("How much does a Wren-4 hold?", 1)[0][0] == "w4"
    assert index.search("How much does a wren 3 hold?", 1)[0][0] == "w3"


@on_both
def test_scores_are_bm25(index: KeywordIndex) -> None:
    index.add({"a": "kiln kiln glaze", "b": "glaze"})
    ((_, score),) = index.search("kiln", 5)
    # idf = ln(1 + (2 - 1 + .5) / (1 + .5)); two occurrences in 3 terms, where 2 are average
    assert score == pytest.approx(0.6931 * 2 * 1.9 / (2 + 0.9 * (0.6 + 0.4 * 1.5)), rel=1e-3)


@on_both
def test_scores_of_chosen_passages_include_those_without_a_match(index: KeywordIndex) -> None:
    index.add({"a": "kiln", "b": "glaze"})
    scores = index.rank("kiln").scores(["a", "b", "unknown"])
    assert scores["a"] == index.search("kiln", 1)[0][1]
    assert (scores["b"], scores["unknown"]) == (0.0, 0.0)


def test_the_weight_of_a_query_counts_unknown_words(index: KeywordIndex) -> None:
    index.add({"a": "kiln", "b": "glaze"})
    assert index.rank("kiln saxophone").weight > index.rank("kiln").weight > 0
    assert index.rank("the of").weight == 0


@on_both
def test_adding_again_replaces(index: KeywordIndex) -> None:
    index.add({"a": "kiln"})
    index.add({"a": "glaze"})
    assert index.search("kiln", 5) == []
    assert [id_ for id_, _ in index.search("glaze", 5)] == ["a"]


@on_both
def test_deleted_passages_are_gone(index: KeywordIndex) -> None:
    index.add({"a": "kiln", "b": "kiln"})
    index.delete(["a", "unknown"])
    assert index.present(["a", "b"]) == {"b"}
    assert [id_ for id_, _ in index.search("kiln", 5)] == ["b"]
    index.clear()
    assert index.search("kiln", 5) == []


@pytest.mark.parametrize("query", ["", "???", "the of and", "'; DROP TABLE x; --", "saxophone"])
def test_queries_without_known_words_find_nothing(index: KeywordIndex, query: str) -> None:
    index.add({"a": "kiln"})
    assert index.search(query, 5) == []


def _plain_bm25(query: str, texts: Mapping[str, str]) -> dict[str, float]:
    """BM25 straight from its formula, of the passages that hold a word of the query."""
    counts = {id_: Counter(terms(text)) for id_, text in texts.items()}
    average = sum(c.total() for c in counts.values()) / len(counts)
    scores: Counter[str] = Counter()
    for term in set(terms(query)):
        holding = [id_ for id_, c in counts.items() if term in c]
        rarity = math.log(1 + (len(counts) - len(holding) + 0.5) / (len(holding) + 0.5))
        for id_ in holding:
            norm = K1 * (1 - B + B * counts[id_].total() / average)
            scores[id_] += rarity * counts[id_][term] * (K1 + 1) / (counts[id_][term] + norm)
    return scores


def test_scores_stay_bm25_through_additions_and_deletions(
    index: KeywordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keywords, "BLOCK_PASSAGES", 8)
    dice = random.Random(7)
    words = [f"word{dice.choice('abcdefgh')}{n}" for n in range(30)]
    texts: dict[str, str] = {}
    for step in range(12):
        new = {
            f"p{dice.randrange(60)}": " ".join(dice.choices(words, k=dice.randrange(1, 12)))
            for _ in range(dice.randrange(1, 20))
        }
        index.add(new)
        texts |= new
        gone = dice.sample(sorted(texts), k=min(len(texts) - 1, dice.randrange(0, 15)))
        index.delete(gone)
        texts = {id_: text for id_, text in texts.items() if id_ not in gone}
        query = " ".join(dice.choices(words, k=3))
        expected = _plain_bm25(query, texts)
        assert index.present(list(texts)) == set(texts), step
        assert dict(index.search(query, 100)) == pytest.approx(expected), step
        ids = list(texts)
        assert index.rank(query).scores(ids) == pytest.approx({i: expected[i] for i in ids}), step
        best = [score for _, score in index.search(query, 5)]
        assert best == pytest.approx(sorted(expected.values(), reverse=True)[:5]), step


def test_of_many_equal_passages_the_first_are_given(index: KeywordIndex) -> None:
    index.add({f"p{n:04d}": "kiln" for n in range(1500)} | {"best": "kiln kiln"})
    assert [id_ for id_, _ in index.search("kiln", 3)] == ["best", "p0000", "p0001"]
