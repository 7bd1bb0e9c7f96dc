"""Does an answer say what a training example teaches? One pure judge for every strategy.

Words of the house style do not count, so that an answer in another style can be as right: what
counts is what the example's answer adds to its question.
"""

from __future__ import annotations

from collections.abc import Collection

from bot.evidence.metrics import abstained, is_correct, words
from bot.tuning.facts import telling

ENOUGH_WORDS = 0.5


def says(text: str, question: str, answer: str, common: Collection[str]) -> bool:
    """Whether a text says what an example's answer tells.

    The numbers that the answer adds to the question must all be there, else its names, else half
    of its other words. Where the example abstains, the text has to.

    Args:
        common: words in lower case that tell nothing (`bot.tuning.facts.common_words`).
    """
    if abstained(answer):
        return abstained(text)
    said = {*words(text)}
    asked, answered = {*words(question)}, {*words(answer)}
    if numbers := {word for word in answered - asked if any(map(str.isdigit, word))}:
        return numbers <= said
    if told := telling(question, answer, common):
        return all(is_correct(text, [one]) for one in told)
    plain = {same for word in common for same in words(word)}
    added = answered - asked - plain
    if not added:
        return is_correct(text, [answer])
    return len(added & said) >= ENOUGH_WORDS * len(added)
