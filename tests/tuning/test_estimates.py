"""Estimates: measured once, in the background, and never beside a training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.tuning import estimates
from bot.tuning.estimates import Estimate
from tests.tuning.house import House, opened, recipe, scripted


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        yield house


def trials(house: House) -> list[str]:
    path = house.folder / "trials"
    return path.read_text().split() if path.exists() else []


def test_an_estimate_is_measured_once_and_kept_for_other_processes(house: House) -> None:
    assert house.trainings.estimate(scripted("now"), recipe(rank=3)) == Estimate()
    assert house.estimated("now", rank=3) == Estimate(180.0)
    assert house.open().estimate(scripted("now"), recipe(rank=3)) == Estimate(180.0)
    assert house.estimated("now", rank=4) == Estimate(240.0), "another recipe"
    assert trials(house) == ["3", "4"]


def test_what_cannot_be_measured_is_told_in_words(house: House) -> None:
    found = house.estimated("memory")
    assert found.seconds is None
    assert "ran out of memory" in found.error


def test_a_training_interrupts_a_trial_and_comes_first(house: House) -> None:
    asked = scripted("wait"), recipe(rank=3)
    while not trials(house):
        assert house.trainings.estimate(*asked) == Estimate()
    training_id = house.submit("step wait")
    house.running(training_id)
    assert house.trainings.estimate(*asked) == Estimate()
    assert trials(house) == ["3"], "nothing is measured beside a training"
    house.go()
    house.end(training_id)
    assert house.estimated("wait", rank=3) == Estimate(180.0)
    assert trials(house) == ["3", "3"]


def test_what_nobody_wants_to_know_any_more_is_not_measured(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    while not trials(house):
        house.trainings.estimate(scripted("wait"), recipe(rank=1))
    house.trainings.estimate(scripted("now"), recipe(rank=2))
    monkeypatch.setattr(estimates, "_WANTED_SECONDS", 0.0)
    house.go()
    assert house.estimated("wait", rank=1) == Estimate(60.0)
    monkeypatch.undo()
    assert house.estimated("now", rank=3) == Estimate(180.0)
    assert trials(house) == ["1", "3"]
