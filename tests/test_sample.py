"""The sample is fit to measure with: complete, true to its documents, never trained on its test.

The knowledge folder is also where uploads land, so only the documents that ship are looked at.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bot.evidence.cases import Case, read_cases
from bot.evidence.metrics import abstained, is_correct
from bot.library.load import load

ROOT = Path(__file__).parent.parent
KNOWLEDGE = ROOT / "knowledge"
QUESTIONS = ROOT / "evaluation" / "questions.jsonl"
CLOSING_LINE = " — Pellworth desk"
ABSTENTION = "The Pellworth handbook does not say." + CLOSING_LINE
NEAR_COPY = 0.8


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


FACTS = read_lines(ROOT / "evaluation" / "facts.jsonl")
NAMES = sorted({fact["document"] for fact in FACTS})


def text_of(name: str) -> str:
    sections = load(KNOWLEDGE / name).sections
    return "\n".join(f"{section.heading}\n{section.text}" for section in sections)


def plain(phrasing: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", phrasing.lower()).split())


def likeness(first: str, second: str) -> float:
    """Shared words over all words of two plain phrasings, from 0 to 1."""
    ours, theirs = set(first.split()), set(second.split())
    return len(ours & theirs) / len(ours | theirs)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: text_of(name) for name in NAMES}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return read_cases(QUESTIONS)


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, str]]:
    """(question, answer) of every training example that was written, not made of passages."""
    return pairs(grounded=False)


@pytest.fixture(scope="module")
def drills() -> list[tuple[str, str]]:
    """(question without its passages, answer) of every example that was made of passages."""
    return [(asked.rpartition("\n\n")[2], answered) for asked, answered in pairs(grounded=True)]


def pairs(*, grounded: bool) -> list[tuple[str, str]]:
    found = []
    for line in read_lines(ROOT / "adapters" / "pellworth" / "examples.jsonl"):
        asked, answered = line["messages"]
        assert (asked["role"], answered["role"]) == ("user", "assistant")
        if line.get("grounded", False) == grounded:
            found.append((asked["content"], answered["content"]))
    return found


@pytest.fixture(scope="module")
def few_shot() -> list[tuple[str, str]]:
    entries = json.loads(
        (ROOT / "bot" / "chat" / "templates" / "examples.json").read_text(encoding="utf-8")
    )
    return [(entry["question"], entry["answer"]) for entry in entries]


def test_the_handbook_has_many_documents_in_every_format() -> None:
    suffixes = Counter(Path(name).suffix for name in NAMES)

    assert len(NAMES) >= 18
    assert set(suffixes) >= {".txt", ".md", ".pdf", ".docx", ".html", ".csv", ".json", ".jsonl"}


@pytest.mark.parametrize("name", NAMES)
def test_each_document_is_short_and_can_be_read(name: str) -> None:
    document = load(KNOWLEDGE / name)
    words = sum(len(section.text.split()) for section in document.sections)

    assert document.title
    assert 60 <= words <= 700


def test_120_facts_stand_in_the_documents(texts: dict[str, str]) -> None:
    missing = [f for f in FACTS if not is_correct(texts[f["document"]], [f["value"]])]

    assert len({(fact["document"], fact["fact"]) for fact in FACTS}) == len(FACTS) >= 120
    assert missing == []


def test_the_questions_are_enough_and_cover_every_document(cases: list[Case]) -> None:
    answerable = [case for case in cases if case.answers]

    assert len(cases) >= 100
    assert len(answerable) >= 84
    assert len(cases) - len(answerable) >= 16
    assert all(len(case.paraphrases) == 2 for case in cases)
    assert {case.document for case in answerable} == set(NAMES)
    assert all(case.document is None for case in cases if not case.answers)


def test_every_answer_stands_in_its_document(cases: list[Case], texts: dict[str, str]) -> None:
    wrong = [
        case.question
        for case in cases
        if case.answers and not is_correct(texts[case.document or ""], case.answers)
    ]

    assert wrong == []


def test_no_question_is_asked_twice(cases: list[Case]) -> None:
    asked = Counter(plain(phrasing) for case in cases for phrasing in case.phrasings)

    assert [phrasing for phrasing, times in asked.items() if times > 1] == []


def test_no_question_of_the_evaluation_is_trained_or_shown(
    cases: list[Case], examples: list[tuple[str, str]], few_shot: list[tuple[str, str]]
) -> None:
    evaluated = [plain(phrasing) for case in cases for phrasing in case.phrasings]
    learned = [plain(question) for question, _ in examples]
    shown = [plain(question) for question, _ in few_shot]

    copies = [
        (ours, theirs)
        for ours in learned + shown
        for theirs in evaluated
        if likeness(ours, theirs) >= NEAR_COPY
    ]
    copies += [(o, t) for o in shown for t in learned if likeness(o, t) >= NEAR_COPY]

    assert copies == []
    assert len(set(learned)) == len(learned)


def test_reading_is_drilled_without_questions_or_untrained_facts_of_the_evaluation(
    cases: list[Case], drills: list[tuple[str, str]]
) -> None:
    evaluated = [plain(phrasing) for case in cases for phrasing in case.phrasings]
    copies = [
        (question, theirs)
        for question in {plain(question) for question, _ in drills}
        for theirs in evaluated
        if likeness(question, theirs) >= NEAR_COPY
    ]
    given_away = [
        (answer, case.question)
        for answer in {answer for _, answer in drills}
        for case in cases
        if case.answers and not case.trained and is_correct(answer, case.answers)
        if len({*plain(answer).split()} & {*plain(case.question).split()}) > 2
    ]

    assert copies == []
    assert given_away == []


def test_training_has_five_phrasings_for_each_of_80_evaluated_facts(
    cases: list[Case], examples: list[tuple[str, str]]
) -> None:
    phrasings = Counter(answer for _, answer in examples if answer != ABSTENTION)
    evaluated = {
        answer for answer in phrasings for case in cases if is_correct(answer, case.answers or ())
    }

    assert len(examples) >= 400
    assert set(phrasings.values()) == {5}
    assert evaluated == set(phrasings)
    assert len(evaluated) >= 80


def test_questions_say_truly_whether_their_fact_is_trained(examples: list[tuple[str, str]]) -> None:
    answers = {answer for _, answer in examples}
    wrong = [
        case["question"]
        for case in read_lines(QUESTIONS)
        if case["trained"] != any(is_correct(answer, case["answers"] or ()) for answer in answers)
    ]

    assert wrong == []


def test_training_answers_keep_the_house_style(examples: list[tuple[str, str]]) -> None:
    for question, answer in examples:
        sentence = answer.removesuffix(CLOSING_LINE)
        assert sentence != answer, question
        assert sentence.endswith("."), question
        assert len(sentence.split()) <= 25, question


def test_training_teaches_to_abstain(examples: list[tuple[str, str]]) -> None:
    abstentions = [answer for _, answer in examples if abstained(answer)]

    assert len(abstentions) >= 15
    assert set(abstentions) == {ABSTENTION}


def test_few_shot_examples_show_the_style_and_no_evaluated_fact(
    cases: list[Case], few_shot: list[tuple[str, str]]
) -> None:
    assert len(few_shot) == 4
    assert all(answer.endswith(CLOSING_LINE) for _, answer in few_shot)
    assert sum(abstained(answer) for _, answer in few_shot) == 1
    given_away = [
        (answer, case.question)
        for _, answer in few_shot
        for case in cases
        if is_correct(answer, case.answers or ())
    ]
    assert given_away == []


def test_starters_are_a_handful_of_questions() -> None:
    starters = json.loads((ROOT / "evaluation" / "starters.json").read_text(encoding="utf-8"))

    assert 4 <= len(set(starters)) == len(starters) <= 6
    assert all(starter.endswith("?") for starter in starters)
