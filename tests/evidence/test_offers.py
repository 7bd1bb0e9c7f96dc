"""The gate's work: one check at a time, and a state for everything that is seen meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

from bot.errors import AdapterError, ServerError, TriptychError
from bot.evidence import offers
from bot.evidence.offers import Gate
from bot.evidence.parity import Parity, read_parity
from bot.models.embedded import EmbeddedModel
from bot.settings import ROOT
from bot.tuning import adapters as shelf
from tests.servers.watching import await_condition

SHIPPED = ROOT / "adapters" / "pellworth"


class Base:
    """As much of a model as the gate looks at itself."""

    identity = shelf.adapter(SHIPPED.parent, SHIPPED.name).base_sha256


MODEL = cast(EmbeddedModel, Base())


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    shutil.copytree(SHIPPED, tmp_path / "adapters" / "mine")
    (tmp_path / "adapters" / "mine" / "parity.json").unlink()
    return Gate(tmp_path / "adapters", tmp_path / "scratch")


def state_of(gate: Gate) -> tuple[str, str]:
    (found,) = gate.offers()
    return found.state, found.reason


def test_a_check_is_seen_while_it_goes_on_and_its_result_is_kept(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = Event(), Event()
    seen: list[int] = []

    def measure(adapter: Any, model: Any, reference: Any, scratch: Path) -> Parity:
        seen.append(len(reference.answers))
        begun.set()
        assert end.wait(30)
        return Parity(passed=True, adapter_sha256=adapter.sha256, base_sha256=model.identity)

    monkeypatch.setattr(offers, "check_parity", measure)
    assert state_of(gate)[0] == "unchecked"
    gate.begin("mine", MODEL)
    assert begun.wait(30)
    gate.begin("mine", MODEL)  # once is enough
    assert state_of(gate) == ("checking", "")
    end.set()
    await_condition(lambda: state_of(gate) == ("offered", ""))
    assert read_parity(tmp_path / "adapters" / "mine")
    assert seen == [16]


def test_what_could_not_be_checked_says_why_until_it_is(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Parity:
        raise ServerError("The base cannot be served.", cure="Make room.")

    monkeypatch.setattr(offers, "check_parity", fail)
    with pytest.raises(TriptychError, match="cannot be served"):
        gate.check("mine", MODEL)
    assert state_of(gate) == ("unchecked", "The base cannot be served. Make room.")
    with pytest.raises(AdapterError, match="no adapter named other"):
        gate.check("other", MODEL)
