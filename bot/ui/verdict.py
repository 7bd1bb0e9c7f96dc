"""What the report of a training means, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from bot.tuning.events import Evaluation
from bot.tuning.report import FoldResult, TrainingReport
from bot.ui.training_words import percent

Tone = Literal["good", "fair", "bad", "note"]

WELL, ENOUGH = 0.9, 0.6
SMALL_GAP, WIDE_GAP = 0.1, 0.3
KEPT_WELL, KEPT = 0.95, 0.85
FEW = 10
WORSE = 1.05
"""A held-out loss this many times its lowest is worse, not just another measurement."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a report says, and how good that is."""

    tone: Tone
    sentence: str


def verdict(report: TrainingReport, evaluations: Sequence[Evaluation] = ()) -> list[Finding]:
    """What came out of a training: the most important first.

    Args:
        evaluations: of the training that was kept and of its folds, in any order.
    """
    return [
        *_learnt(report),
        *_understood(report),
        *_forgotten(report),
        *_overfitted(report, evaluations),
        *_validated(report.folds),
        *_ended(report),
    ]


def share(correct: int, asked: int) -> float:
    """How many of those asked, 0 to 1; 0 when none were."""
    return correct / asked if asked else 0.0


def kept(report: TrainingReport) -> float:
    """How much of what the base said to unrelated questions is still said, 0 to 1."""
    if report.unrelated_before <= 0:
        return 0.0
    return min(1.0, report.unrelated_after / report.unrelated_before)


def _learnt(report: TrainingReport) -> Iterator[Finding]:
    if not report.trained_asked:
        return
    learnt = share(report.trained_correct, report.trained_asked)
    said = f"It learnt {percent(learnt)} of the examples word for word."
    if learnt >= WELL:
        yield Finding("good", said)
    elif learnt >= ENOUGH:
        yield Finding("fair", f"{said} Training longer would teach it more.")
    else:
        cure = "Train longer: the thorough preset, more passes or a higher learning rate."
        yield Finding("bad", f"{said} {cure}")


def _understood(report: TrainingReport) -> Iterator[Finding]:
    """Whether it knows the facts, or only the wording: the gap between learnt and unseen."""
    if not report.unseen_asked:
        yield Finding(
            "note",
            "No phrasings were held out, so nothing says whether it knows the facts or only "
            "the wording.",
        )
        return
    unseen = share(report.unseen_correct, report.unseen_asked)
    gap = share(report.trained_correct, report.trained_asked) - unseen
    said = f"It answers {percent(unseen)} of the phrasings that it never saw"
    points = f"a gap of {round(100 * gap)} points"
    if gap <= SMALL_GAP:
        yield Finding(
            "good" if unseen >= WELL else "fair",
            f"{said}: what it learnt, it knows in other words, too.",
        )
    elif gap <= WIDE_GAP:
        cure = "more phrasings of each fact would narrow it."
        yield Finding("fair", f"{said}: {points} says that some was learnt by heart; {cure}")
    else:
        cure = "Give each fact more phrasings, or train with fewer passes."
        yield Finding("bad", f"{said}: {points} says that it was learnt by heart. {cure}")
    if report.unseen_asked < FEW:
        yield Finding("note", f"Only {report.unseen_asked} were held out: take that with care.")


def _forgotten(report: TrainingReport) -> Iterator[Finding]:
    if not report.unrelated_before:
        return
    left = kept(report)
    said = f"It kept {percent(left)} of what the model said to unrelated questions"
    if left >= KEPT_WELL:
        yield Finding("good", f"{said}: nothing to speak of was forgotten.")
    elif left >= KEPT:
        yield Finding("fair", f"{said}. A lower learning rate would keep more.")
    else:
        yield Finding("bad", f"{said}. A lower learning rate or fewer layers keep more.")


def _overfitted(report: TrainingReport, evaluations: Iterable[Evaluation]) -> Iterator[Finding]:
    losses = {
        one.step: one.validation_loss
        for one in evaluations
        if one.fold == 0 and one.validation_loss is not None
    }
    best = losses.get(report.best_step)
    if best is None or losses[max(losses)] <= WORSE * best:
        return
    yield Finding(
        "note",
        f"After step {report.best_step} it went on to learn the examples and got worse at unseen "
        "phrasings: overfitting. What it knew at that step is what was kept.",
    )


def _validated(folds: Sequence[FoldResult]) -> Iterator[Finding]:
    shares = [share(one.correct, one.asked) for one in folds if one.asked]
    if len(shares) < 2:
        return
    spread = stdev(shares)
    said = (
        f"Cross-validated {len(shares)} times: {percent(fmean(shares))} ± {round(100 * spread)} "
        f"points of unseen phrasings, from {percent(min(shares))} to {percent(max(shares))}."
    )
    if spread > SMALL_GAP:
        yield Finding("fair", f"{said} Much depends on which examples it sees.")
    else:
        yield Finding("good", f"{said} It hardly matters which examples it sees.")


def _ended(report: TrainingReport) -> Iterator[Finding]:
    if report.stopped == "early":
        yield Finding("note", "It stopped by itself when nothing more was gained.")
    elif report.stopped == "cancelled":
        yield Finding("note", f"It was stopped by hand; step {report.best_step} was the best.")
