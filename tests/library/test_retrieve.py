"""A question finds its passage and a verbatim quote; another subject finds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.library import retrieve as retrieval
from bot.library.ingest import add_uploads
from bot.library.library import Library
from bot.library.retrieve import retrieve, search

pytestmark = pytest.mark.integration

KILNS = """# The kiln range

The range has three sizes.

## Wren 3

The Wren 3 is our smallest kiln. The Wren 3 holds 38 litres. The Wren 3 draws 13 amps. It weighs
41 kg. It is painted green. It comes with a stand.

## Heron 5

The Heron 5 is for studios. The Heron 5 holds 94 litres. The Heron 5 draws 27 amps. It weighs
96 kg. It is painted blue. It comes with a stand.
"""
PRICES = "code,item,price\nPK-W3,Wren 3 kiln,£1185\nPK-H5,Heron 5 kiln,£2390\n"
LEAVE = "# Leave\n\n## Moving house\n\nWhoever moves house gets 2 days off.\n"


@pytest.fixture
def stocked(library: Library) -> Library:
    files = [("kilns.md", KILNS), ("price-list.csv", PRICES), ("leave.md", LEAVE)]
    list(add_uploads(library, [(name, text.encode()) for name, text in files]))
    return library


def test_the_passage_that_answers_comes_first_with_its_quote(stocked: Library) -> None:
    found = retrieve(stocked, "How many litres does the Heron 5 hold?", passages=1)
    assert not found.off_topic
    assert [p.heading for p in found.passages] == ["Heron 5"]
    best = found.evidence[0]
    assert (best.document, best.title, best.heading) == ("kilns.md", "The kiln range", "Heron 5")
    assert best.quote == (
        "The Heron 5 is for studios. The Heron 5 holds 94 litres. The Heron 5 draws 27 amps."
    )
    assert best.quote in found.passages[0].text
    assert found.seconds > 0


def test_a_row_is_found_by_its_own(stocked: Library) -> None:
    found = retrieve(stocked, "What is the price of a Wren 3?", passages=1)
    assert found.passages[0].text == "code: PK-W3; item: Wren 3 kiln; price: £1185"
    assert found.evidence[0].quote == found.passages[0].text


def test_words_find_what_meaning_does_not(stocked: Library) -> None:
    assert search(stocked, "PK-H5")[0].passage.text.startswith("code: PK-H5")


def test_meaning_finds_what_words_do_not(stocked: Library) -> None:
    (best, *_) = search(stocked, "Relocating to a new home: how much holiday?")
    assert (best.passage.document, best.keyword_score) == ("leave.md", 0.0)


def test_evidence_comes_from_up_to_three_passages_whatever_the_prompt_takes(
    stocked: Library,
) -> None:
    found = retrieve(stocked, "Which kiln holds 38 litres?", passages=1)
    assert len(found.passages) == 1
    assert len(found.evidence) == 3
    assert found.evidence[0].passage_id == found.passages[0].id
    scores = [evidence.score for evidence in found.evidence]
    assert scores == sorted(scores, reverse=True)
    assert len(retrieve(stocked, "Which kiln holds 38 litres?", passages=4).passages) == 4


@pytest.mark.parametrize(
    "question",
    ["Who wrote the novel Moby-Dick?", "How do I cook risotto?", "?", "What is 17 times 23?"],
)
def test_another_subject_is_off_topic(stocked: Library, question: str) -> None:
    found = retrieve(stocked, question, passages=3)
    assert found.off_topic
    assert (found.passages, found.evidence) == ((), ())


def test_an_empty_library_is_off_topic(library: Library) -> None:
    assert retrieve(library, "How many litres?", passages=1).off_topic
    assert search(library, "How many litres?") == []


def test_search_shows_why(stocked: Library) -> None:
    found = search(stocked, "Who wrote the novel Moby-Dick?", top=2)
    assert len(found) == 2
    found = search(stocked, "How many amps does the Wren 3 draw?", top=4)
    assert [f.score for f in found] == sorted((f.score for f in found), reverse=True)
    assert found[0].score == pytest.approx(1.0)
    assert found[0].dense_score > 0.5
    assert found[0].keyword_score > found[1].keyword_score
    assert all(f.quote for f in found)


def test_each_score_is_filled_in_for_what_only_the_other_search_found(
    stocked: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "Relocating to a new home: how much holiday, PK-H5?"
    full = {f.passage.id: f for f in search(stocked, query, top=20)}
    monkeypatch.setattr(retrieval, "_SMALLEST_POOL", 1)
    few = search(stocked, query)
    assert {f.passage.document for f in few} == {"leave.md", "price-list.csv"}
    for scored in few:
        same = full[scored.passage.id]
        assert scored.dense_score == pytest.approx(same.dense_score, abs=1e-4)
        assert scored.keyword_score == pytest.approx(same.keyword_score)


def test_a_vector_that_no_record_owns_is_never_found(stocked: Library) -> None:
    text = "The Heron 5 holds 94 litres."
    stocked.vectors.add({"ghost": stocked.embedder.embed([text])[0]}, {"ghost": "gone.md"})
    assert "ghost" not in {f.passage.id for f in search(stocked, text, top=20)}


def test_the_sample_files_are_found_in_every_format(library: Library) -> None:
    folder = Path(__file__).parents[2] / "knowledge"
    names = ["kilns.html", "warranty.pdf", "staff-leave.docx", "spare-parts.json"]
    list(add_uploads(library, [(name, (folder / name).read_bytes()) for name in names]))
    found = retrieve(library, "How many months of warranty does a Heron kiln have?", passages=1)
    assert (found.evidence[0].document, found.evidence[0].page) == ("warranty.pdf", 2)
