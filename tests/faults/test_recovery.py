"""A tenth of the battery of crashes, and the proof that planted defects turn it red."""

from __future__ import annotations

import pytest

from bench.faults import corruptions, disk, kills
from bench.faults.tally import Tally

pytestmark = pytest.mark.integration

SEED = 7


def green(tally: Tally) -> bool:
    return not (tally.lost or tally.crashes or tally.tracebacks)


def test_kills_lose_nothing() -> None:
    tally = kills.run(30, SEED)
    assert tally.tried == 30
    assert green(tally), tally.problems


def test_corruptions_are_mended_and_said() -> None:
    tally = corruptions.run(4, SEED)
    assert tally.tried == 4
    assert green(tally), tally.problems


@pytest.mark.skipif(bool(disk.can_mount()), reason=disk.can_mount())
def test_a_full_disk_loses_nothing() -> None:
    tally = disk.run(5, SEED)
    assert tally.tried == 5
    assert green(tally), tally.problems


def test_acknowledging_early_turns_the_battery_red() -> None:
    point = "bot.records.documents:save_passages"
    tally = kills.run(4, SEED, defect="acknowledge early", points=(point,))
    assert tally.lost, "a document was called ready before it was stored, and nobody noticed"


def test_trusting_the_count_turns_the_battery_red() -> None:
    tally = corruptions.run(1, SEED, defect="trust count", only=("empty", "data_level0.bin"))
    assert tally.lost, "Chroma counted what no search finds, and nobody noticed"
