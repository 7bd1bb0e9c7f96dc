"""Documents are cut into passages that can stand alone."""

from __future__ import annotations

from itertools import pairwise

from bot.library.formats.outline import Section
from bot.library.load import Document
from bot.library.split import PASSAGE_TOKENS, estimated_tokens, split

SHA256 = "0123456789abcdef" * 4


def _document(*sections: Section) -> Document:
    return Document("rules.md", SHA256, "Rules", "md", 1, sections)


def _sentences(number: int) -> str:
    return " ".join(f"Rule {n} says that kiln {n} cools for {n} hours." for n in range(number))


def test_a_short_section_is_one_passage_with_its_source() -> None:
    section = Section("Lid — Hinge", "Oil it.", page=3)
    (passage,) = split(_document(section))
    assert passage.id == "0123456789abcdef-0000"
    assert passage.source == "Rules — Lid — Hinge"
    assert passage.sourced_text == "Rules — Lid — Hinge\nOil it."
    assert (passage.document, passage.page, passage.number) == ("rules.md", 3, 0)


def test_a_passage_never_crosses_a_section() -> None:
    passages = split(_document(Section("A", "Alpha."), Section("B", "Beta.")))
    assert [(p.heading, p.text) for p in passages] == [("A", "Alpha."), ("B", "Beta.")]
    assert [p.number for p in passages] == [0, 1]


def test_long_text_is_cut_between_sentences_with_overlap() -> None:
    passages = split(_document(Section("", _sentences(80))))
    assert len(passages) > 3
    assert all(estimated_tokens(p.text) <= PASSAGE_TOKENS for p in passages)
    assert all(p.text.startswith("Rule ") and p.text.endswith("hours.") for p in passages)
    for before, after in pairwise(passages):
        assert after.text.split(" says")[0] in before.text


def test_nothing_is_lost() -> None:
    together = " ".join(p.text for p in split(_document(Section("", _sentences(80)))))
    assert all(f"kiln {n} cools" in together for n in range(80))


def test_each_row_is_a_passage() -> None:
    section = Section("", "item: Wren; price: £5\nitem: Heron; price: £9", rows=True)
    assert [p.text for p in split(_document(section))] == section.text.split("\n")


def test_a_row_longer_than_a_passage_is_cut_between_cells() -> None:
    row = "; ".join(f"column {n}: value number {n}" for n in range(60))
    passages = split(_document(Section("", row, rows=True)))
    assert len(passages) > 1
    assert all(p.text.startswith("column ") for p in passages)


def test_text_without_any_break_is_still_cut() -> None:
    passages = split(_document(Section("", "x" * 20_000)))
    assert all(estimated_tokens(p.text) <= PASSAGE_TOKENS for p in passages)


def test_the_same_document_gives_the_same_passages() -> None:
    document = _document(Section("", _sentences(50)))
    assert split(document) == split(document)
