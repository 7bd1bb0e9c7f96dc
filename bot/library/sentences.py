"""Text → sentences, each verbatim."""

from __future__ import annotations

import re

# Words whose full stop does not end a sentence.
_ABBREVIATIONS = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "st", "no", "nos", "nr", "fig", "figs", "vol", "ch"),
        *("sec", "art", "p", "pp", "approx", "ca", "cf", "e.g", "i.e", "vs", "inc", "ltd"),
        *("jr", "sr", "dept", "est", "max", "min", "tel", "ext"),
    )
)
_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9À-Þ€£$])")


def sentences(text: str) -> list[str]:
    """The sentences of a text in order. A line break always ends one, so rows stay whole."""
    return [
        sentence
        for line in text.split("\n")
        for sentence in _sentences_of_line(line.strip())
        if sentence
    ]


def _sentences_of_line(line: str) -> list[str]:
    found: list[str] = []
    start = 0
    for end in _END.finditer(line):
        before = line[start : end.start()].rsplit(None, 1)
        last_word = before[-1].lstrip("(\"'“‘[").lower() if before else ""
        single_letter = len(last_word) == 1 and last_word.isalpha()
        list_number = last_word.isdigit() and len(before) == 1
        if last_word in _ABBREVIATIONS or single_letter or list_number:
            continue
        found.append(line[start : end.end()].strip())
        start = end.end()
    found.append(line[start:].strip())
    return found
