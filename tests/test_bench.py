"""The benches count what they say they count."""

from __future__ import annotations

from bench.answers import Answered, summary, table
from bench.side_by_side import Run, verdict
from bot.chat.strategies import strategy


def answered(name: str, **values: object) -> Answered:
    plain: dict[str, object] = {
        "strategy": name,
        "question": "How hot?",
        "answers": ("1280",),
        "trained": False,
        "text": "",
        "quotes": (),
        "failed": False,
        "correct": False,
        "evidence": False,
        "abstained": False,
        "first_token_seconds": 0.5,
        "total_seconds": 1.0,
    }
    return Answered(**(plain | values))  # type: ignore[arg-type]


def test_answers_are_counted_where_they_belong() -> None:
    rows = [
        answered("rag", correct=True, evidence=True, trained=True),
        answered("rag", evidence=True),
        answered("rag", abstained=True),
        answered("rag", answers=None, abstained=True),
        answered("rag", answers=None),
        answered("rag", failed=True, first_token_seconds=None, total_seconds=None),
        answered("prompt", correct=True),
    ]
    counted = summary(strategy("rag"), rows)
    assert counted["answerable"] == 4
    assert counted["correct"] == 1
    assert (counted["trained"], counted["correct_trained"]) == (1, 1)
    assert counted["evidence"] == 2
    assert (counted["unanswerable"], counted["abstained"]) == (2, 1)
    assert counted["false_abstentions"] == 1
    assert counted["failed"] == 1
    assert summary(strategy("prompt"), rows)["evidence"] is None
    assert "1/4 25 %" in table([counted])


def test_comparing_passes_only_within_both_limits() -> None:
    rag = [strategy("rag")]
    plain = [Run(2.0, {"rag": 0.200}, 50)] * 3
    assert verdict([Run(2.08, {"rag": 0.220}, 50)] * 3, plain, rag)["passed"]
    assert not verdict([Run(2.20, {"rag": 0.220}, 50)] * 3, plain, rag)["passed"]
    late = verdict([Run(2.08, {"rag": 0.230}, 50)] * 3, plain, rag)
    assert not late["passed"]
    assert late["added_first_token_ms"] == 30.0
    assert late["added_first_token_ms_by_strategy"] == {"rag": 30.0}
