"""Sentences are found where a reader would put their ends."""

from __future__ import annotations

import pytest

from bot.library.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It holds 3.5 kg. Then 2 more.", ["It holds 3.5 kg.", "Then 2 more."]),
        ("Ask Dr. Moss, e.g. Mondays. She knows.", ["Ask Dr. Moss, e.g. Mondays.", "She knows."]),
        ("See p. 4 or No. 7. Done.", ["See p. 4 or No. 7.", "Done."]),
        ("J. R. Hale runs it. Ask him.", ["J. R. Hale runs it.", "Ask him."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("- first item\n- second item", ["- first item", "- second item"]),
        ("code: A.1; price: £5", ["code: A.1; price: £5"]),
        ("open from 9 a.m. to noon", ["open from 9 a.m. to noon"]),
        ("It costs £5. £7 on Sundays.", ["It costs £5.", "£7 on Sundays."]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_every_sentence_stands_verbatim_in_the_text() -> None:
    text = "The lid (new) is heavy.  Lift it… slowly! No. 4 is lighter.\n\n1. Oil it. 2. Wait."
    assert all(sentence in text for sentence in sentences(text))
