"""What a report means, in words: each threshold from both sides."""

from __future__ import annotations

from dataclasses import replace

from bot.tuning.report import FoldResult, TrainingReport
from bot.ui.verdict import Finding, verdict
from tests.scripted_trainings import REPORT, evaluations


def tones(report: TrainingReport, steps: int = 0) -> list[str]:
    return [one.tone for one in verdict(report, evaluations(steps))]


def saying(words: str, report: TrainingReport, steps: int = 0) -> Finding | None:
    found = [one for one in verdict(report, evaluations(steps)) if words in one.sentence]
    assert len(found) < 2
    return found[0] if found else None


def test_a_good_adapter_is_called_good() -> None:
    report = replace(REPORT, stopped="")
    assert tones(report) == ["good", "good", "good"]
    said = " ".join(one.sentence for one in verdict(report))
    assert "learnt 97 %" in said
    assert "91 % of the phrasings that it never saw" in said
    assert "kept 98 %" in said


def test_too_little_was_learnt() -> None:
    fair = saying("It learnt", replace(REPORT, trained_correct=200, unseen_correct=22))
    bad = saying("It learnt", replace(REPORT, trained_correct=100, unseen_correct=10))
    assert fair and fair.tone == "fair"
    assert bad and bad.tone == "bad"
    assert "thorough" in bad.sentence


def test_the_gap_tells_knowing_from_learning_by_heart() -> None:
    some = saying("by heart", replace(REPORT, unseen_correct=24))
    most = saying("by heart", replace(REPORT, unseen_correct=8))
    assert some and some.tone == "fair" and "22 points" in some.sentence
    assert most and most.tone == "bad" and "more phrasings" in most.sentence
    assert saying("by heart", REPORT) is None


def test_nothing_was_held_out() -> None:
    none = saying("held out", replace(REPORT, unseen_asked=0, unseen_correct=0))
    few = saying("held out", replace(REPORT, unseen_asked=3, unseen_correct=3))
    assert none and none.tone == "note" and "No phrasings" in none.sentence
    assert few and "Only 3" in few.sentence


def test_what_was_forgotten_is_said() -> None:
    fair = saying("It kept", replace(REPORT, unrelated_after=0.9))
    bad = saying("It kept", replace(REPORT, unrelated_after=0.5))
    assert fair and fair.tone == "fair" and "90 %" in fair.sentence
    assert bad and bad.tone == "bad"
    assert saying("It kept", replace(REPORT, unrelated_before=0.0)) is None


def test_a_held_out_loss_that_rose_again_is_called_overfitting() -> None:
    rose = saying("overfitting", REPORT, steps=240)
    assert rose and "After step 160" in rose.sentence
    assert saying("overfitting", REPORT, steps=160) is None


def test_folds_are_told_with_their_spread() -> None:
    def folds(*correct: int) -> tuple[FoldResult, ...]:
        return tuple(FoldResult(number, 0.3, right, 10, 9) for number, right in enumerate(correct))

    steady = saying("Cross-validated", replace(REPORT, folds=folds(8, 9, 8)))
    shaky = saying("Cross-validated", replace(REPORT, folds=folds(3, 9, 6)))
    assert steady and steady.tone == "good"
    assert "3 times: 83 % ± 6 points" in steady.sentence
    assert "from 80 % to 90 %" in steady.sentence
    assert shaky and shaky.tone == "fair"


def test_why_it_ended_is_said() -> None:
    assert saying("by itself", REPORT)
    assert saying("by hand", replace(REPORT, stopped="cancelled"))
