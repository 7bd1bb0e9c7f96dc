"""Evaluation questions: what is asked, what counts as right, and where it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import ExamplesError


@dataclass(frozen=True)
class Case:
    """One evaluation question.

    `answers` are the acceptable answers (any one of them), or None when the documents do not say
    and the right reply is to say so. `document` is the document that holds the answer. `trained`
    tells whether the shipped adapter's examples teach the fact, in other words.
    """

    question: str
    answers: tuple[str, ...] | None
    paraphrases: tuple[str, ...] = ()
    document: str | None = None
    trained: bool = False

    @property
    def phrasings(self) -> tuple[str, ...]:
        """The question and its paraphrases."""
        return (self.question, *self.paraphrases)


def read_cases(path: Path) -> list[Case]:
    """Read evaluation questions from JSON Lines; blank lines are skipped.

    Raises:
        ExamplesError: the file cannot be read, holds no question, or a line is not a question;
            the error names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExamplesError(
            f"{path} cannot be read as text.", cure="Give a JSON Lines file of questions."
        ) from error
    cases = [_case(line, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not cases:
        raise ExamplesError(f"{path} holds no question.", cure="Write one JSON object per line.")
    return cases


def _case(line: str, number: int) -> Case:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise ExamplesError(f"this is not JSON ({error}).", line=number) from error
    if not isinstance(entry, dict) or "answers" not in entry:
        raise ExamplesError('an object with "question" and "answers" is needed.', line=number)
    answers, document = entry["answers"], entry.get("document")
    if answers is not None and not _texts(answers):
        raise ExamplesError('"answers" must be a list of texts, or null.', line=number)
    if document is not None and not isinstance(document, str):
        raise ExamplesError('"document" must be a name, or null.', line=number)
    paraphrases = entry.get("paraphrases", [])
    if paraphrases and not _texts(paraphrases):
        raise ExamplesError('"paraphrases" must be a list of texts.', line=number)
    question = entry.get("question")
    if not _texts([question]):
        raise ExamplesError('"question" must be a text.', line=number)
    return Case(
        question=str(question).strip(),
        answers=None if answers is None else tuple(answers),
        paraphrases=tuple(paraphrases),
        document=document,
        trained=entry.get("trained") is True,
    )


def _texts(value: Any) -> bool:
    """A list with at least one text in it, and nothing but texts."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(text, str) and text.strip() for text in value)
    )
