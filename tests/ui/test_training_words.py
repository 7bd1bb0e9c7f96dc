"""How far a training is and how long it takes, in a few words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.ui.training_words import duration, in_short, moment, percent, share_done, time_left
from tests.scripted_trainings import RECIPE, STEPS, steps, training


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, "5 s"),
        (38, "40 s"),
        (54.9, "55 s"),
        (55, "1 min"),
        (170, "3 min"),
        (3599, "1 h"),
        (4800, "1 h 20 min"),
    ],
)
def test_a_duration_is_said_as_a_person_would(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_all_and_nothing_are_only_said_when_it_is_so() -> None:
    assert [percent(share) for share in (0, 0.001, 0.42, 0.999, 1)] == [
        "0 %",
        "1 %",
        "42 %",
        "99 %",
        "100 %",
    ]


def test_how_far_it_is_counts_the_folds() -> None:
    recipe = replace(RECIPE, folds=3)
    second = training("running", recipe=recipe, steps=steps(STEPS, 1) + steps(STEPS // 2, 2))
    kept = training("running", recipe=recipe, steps=steps(STEPS, 3) + steps(STEPS // 2))
    assert share_done(second) == pytest.approx(1.5 / 4)
    assert share_done(kept) == pytest.approx(3.5 / 4)
    assert share_done(training("running")) == 0.0
    assert share_done(training("running", STEPS)) == 1.0


def test_one_line_says_it_all() -> None:
    assert in_short(training("running", 100)) == "Training kilns: 42 %, 2 min left"
    assert in_short(training("running")) == "Training kilns: 0 %"
    assert in_short(training("queued")) == "kilns waits for its training"
    assert in_short(training("checking", STEPS)) == "Checking kilns"
    assert time_left(training("done", STEPS)) == ""


def test_a_moment_that_is_none_is_not_said() -> None:
    assert ":" in moment("2026-11-21T09:12:00+00:00")
    assert moment("yesterday") == ""
