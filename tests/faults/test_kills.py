"""A tenth of the battery of kills, and the proof that a planted defect turns it red."""

from __future__ import annotations

import pytest

from bench.faults import kills

pytestmark = pytest.mark.integration

SEED = 7


def test_kills_lose_nothing() -> None:
    tally = kills.run(30, SEED)
    assert tally.tried == 30
    assert not (tally.lost or tally.crashes or tally.tracebacks), tally.problems


def test_acknowledging_early_turns_the_battery_red() -> None:
    point = "bot.records.documents:save_passages"
    tally = kills.run(4, SEED, defect="acknowledge early", points=(point,))
    assert tally.lost, "a document was called ready before it was stored, and nobody noticed"
