"""Text to measure with: sentences of our own, generated from a seed, as varied as reports are.

Words follow Zipf's law: a few hundred plain ones carry the sentences, and names from forty
thousand coined ones, each rarer than the last, tell the passages apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

COINED_WORDS = 40_000
FILE_BYTES = 50_000


def _words(text: str, between: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(between))


_SYLLABLES = _words(
    "ba cor del fen gra hol is jun kel lor mar nev or pel quin ras sel tor um vas wen yor"
)
_NOUNS = _words(
    "valve report bridge river harbour engine orchard library committee budget survey garden "
    "workshop tunnel reservoir timetable permit inspection archive laboratory museum turbine "
    "warehouse contract signal crew village furnace sample measurement shipment meadow roof "
    "schedule assembly foundation letter storm ferry quarry ledger kitchen theatre telescope "
    "recipe medicine patient teacher student market tower fountain station carriage lantern"
)
_ADJECTIVES = _words(
    "old narrow careful northern public temporary heavy quiet annual damaged reliable early "
    "expensive shallow modern local detailed unusual seasonal wooden independent final bright "
    "remote approved provisional steep green spare official"
)
_VERBS = _words(
    "inspected repaired measured moved opened closed described approved replaced tested cleaned "
    "recorded delayed extended financed painted examined restored copied delivered surveyed"
)
_TIMES = _words(
    "in the spring|after the flood|before the winter|during the second week|on the last Friday|"
    "within three days|every other month|since the reform|at the end of the year|by noon",
    between="|",
)
_SENTENCES = (
    "The {a} {n} of {w} was {v} {t} by the {n2} committee.",
    "{W} {v} the {n} {t}, although the {a} {n2} had not been {v2}.",
    "According to the {n} of {t2}, {x} of the {y} {n2}s in {w} were {a}.",
    "Nobody in {w} expected that the {n} would cost more than {y} marks.",
    "A {a} {n} stands beside the {n2}, and it was {v} for the {a2} people of {w}.",
    "When the {n} was {v}, its {a} {n2} weighed {x} kilograms.",
    "The {w} {n} needs {x} litres of water and {y} metres of rope.",
    "It is {a} work: each {n} must be {v}, {v2} and shown to the {n2} inspector {t}.",
    "For a {n} like this one the {w2} method is {a}, because the {n2} can be {v} {t}.",
    "Between {w} and {w2} there are {x} {a} {n}s that have been {v} more than once.",
    "{W} wrote that the {n2} should not be {v} until the {n} has been {v2}.",
    "Its {n} was {v} {t}; the {a} one in {w} was {v2} {x} days later.",
)
_QUESTIONS = (
    "When was the {a} {n} of {w} {v}?",
    "How many litres of water does the {w} {n} need?",
    "Who {v} the {n} in {w} and why was it {a}?",
    "What should be done with the {n2} before the {n} has been {v}?",
    "How much did the {n} of {w} cost {t}?",
    "Why is the {w} method {a} for a {n}?",
    "Which {a} {n}s stand between {w} and {w2}?",
)


class Writer:
    """Writes sentences, paragraphs and questions; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._coined = _coined_words()
        self._rarity = list(accumulate(1 / rank for rank in range(3, COINED_WORDS + 3)))

    def name(self) -> str:
        """A coined word; the common ones come often, as they do in language."""
        return self._dice.choices(self._coined, cum_weights=self._rarity)[0]

    def sentence(self, about: str = "") -> str:
        """One sentence, often about a given name."""
        return self._filled(self._dice.choice(_SENTENCES), about)

    def question(self) -> str:
        """A question in the same words, answered somewhere or not."""
        return self._filled(self._dice.choice(_QUESTIONS), "")

    def paragraph(self, about: str) -> str:
        """Three to nine sentences."""
        return " ".join(self.sentence(about) for _ in range(self._dice.randint(3, 9)))

    def passage(self) -> str:
        """Some 900 letters, as long as the library's own passages are."""
        about = self.name()
        sentences = [self.sentence(about)]
        while sum(map(len, sentences)) < 800:
            sentences.append(self.sentence(about))
        return " ".join(sentences)

    def document(self, size_bytes: int) -> Iterator[str]:
        """The lines of a Markdown document with headings, of about this size."""
        written = 0
        about = self.name()
        line = f"# The {about} {self._dice.choice(_NOUNS)}\n"
        while written < size_bytes:
            yield line
            written += len(line) + 1
            if self._dice.random() < 0.12:
                about = self.name()
                line = f"## {about.capitalize()} and its {self._dice.choice(_NOUNS)}s\n"
            else:
                line = self.paragraph(about) + "\n"

    def _filled(self, pattern: str, about: str) -> str:
        dice = self._dice
        name = about if about and dice.random() < 0.6 else self.name()
        return pattern.format(
            a=dice.choice(_ADJECTIVES),
            a2=dice.choice(_ADJECTIVES),
            n=dice.choice(_NOUNS),
            n2=dice.choice(_NOUNS),
            v=dice.choice(_VERBS),
            v2=dice.choice(_VERBS),
            t=dice.choice(_TIMES),
            t2=1900 + dice.randrange(120),
            x=dice.randrange(2, 60),
            y=dice.randrange(60, 4000),
            w=name,
            w2=self.name(),
            W=name.capitalize(),
        )


def write_folder(folder: Path, *, megabytes: float, seed: int = 7) -> int:
    """Fill a folder with Markdown documents of some 50 kB; gives the bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(seed)
    wanted = int(megabytes * 1_000_000)
    total = 0
    while total < wanted:
        size = min(
            wanted - total, random.Random(seed + total).randrange(FILE_BYTES // 5, FILE_BYTES * 2)
        )
        text = "\n".join(writer.document(size))
        path = folder / f"{total // FILE_BYTES:05d}-{total % FILE_BYTES:05d}.md"
        total += path.write_bytes(text.encode())
    return total


def _coined_words() -> list[str]:
    """Words that do not exist, from two to four syllables; short ones first, so commonest."""
    dice = random.Random(1)
    words: dict[str, None] = {}
    while len(words) < COINED_WORDS:
        length = 2 if len(words) < 300 else 3 if len(words) < 6000 else 4
        words["".join(dice.choices(_SYLLABLES, k=length))] = None
    return list(words)
