"""The rows behind the curves, and a specification that stays as it is while they grow."""

from __future__ import annotations

from dataclasses import replace

from bot.ui.training_chart import (
    EACH_STEP,
    KEPT,
    LEARNT,
    MOST_STEPS,
    UNSEEN,
    kept_rows,
    loss_chart,
    loss_rows,
    share_rows,
)
from tests.scripted_trainings import evaluations, steps


def test_each_step_and_each_measurement_is_a_row() -> None:
    rows = loss_rows(steps(40), evaluations(40))
    assert [sum(row["kind"] == kind for row in rows) for kind in (EACH_STEP, LEARNT, UNSEEN)] == [
        40,
        2,
        2,
    ]
    assert rows[39]["step"] == 40
    assert rows[39]["value"] == steps(40)[-1].loss


def test_a_long_training_is_drawn_in_fewer_rows() -> None:
    rows = loss_rows(steps(5000), [])
    assert MOST_STEPS / 2 < len(rows) <= MOST_STEPS
    assert rows[-1]["step"] > 4900  # type: ignore[operator]


def test_without_a_validation_there_is_no_line_of_it() -> None:
    measured = [replace(one, validation_loss=None, asked=0) for one in evaluations(40)]
    assert UNSEEN not in {row["kind"] for row in loss_rows(steps(40), measured)}
    assert share_rows(measured) == []


def test_what_was_kept_stands_at_its_held_out_loss() -> None:
    fold = replace(evaluations(160)[-1], fold=2, validation_loss=9.0)
    (row,) = kept_rows(160, [*evaluations(240), fold])
    assert (row["step"], row["kind"]) == (160, KEPT)
    assert row["value"] == evaluations(160)[-1].validation_loss
    assert kept_rows(7, evaluations(240)) == []


def test_the_chart_does_not_change_while_its_rows_grow() -> None:
    assert loss_chart(240) == loss_chart(240)
    assert "data" not in loss_chart(240)
    assert loss_chart(240)["encoding"]["x"]["scale"]["domain"] == [0, 240]


def test_the_share_is_of_those_asked() -> None:
    assert [row["value"] for row in share_rows(evaluations(40))] == [4 / 32, 8 / 32]
