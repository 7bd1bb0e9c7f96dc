"""A tenth of the batteries of damage and of full disks, and a planted defect that turns one red."""

from __future__ import annotations

import pytest

from bench.faults import corruptions, disk

pytestmark = pytest.mark.integration

SEED = 7


def test_corruptions_are_mended_and_said() -> None:
    tally = corruptions.run(4, SEED)
    assert tally.tried == 4
    assert not (tally.lost or tally.crashes or tally.tracebacks), tally.problems


@pytest.mark.skipif(bool(disk.can_mount()), reason=disk.can_mount())
def test_a_full_disk_loses_nothing() -> None:
    tally = disk.run(5, SEED)
    assert tally.tried == 5
    assert not (tally.lost or tally.crashes or tally.tracebacks), tally.problems


def test_trusting_the_count_turns_the_battery_red() -> None:
    tally = corruptions.run(1, SEED, defect="trust count", only=("empty", "data_level0.bin"))
    assert tally.lost, "Chroma counted what no search finds, and nobody noticed"
