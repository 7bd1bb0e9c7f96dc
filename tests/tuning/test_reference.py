"""PEFT's own answers, made in a process of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bot.errors import TuningError
from bot.models.catalog import embedded_weights
from bot.settings import ROOT
from bot.tuning.export import WEIGHTS_NAME
from bot.tuning.reference import make_reference, read_reference

SHIPPED = ROOT / "adapters" / "pellworth"


@pytest.mark.integration
def test_peft_says_again_what_it_said_and_says_why_it_cannot(tmp_path: Path) -> None:
    known = read_reference(SHIPPED)
    assert known
    shutil.copytree(SHIPPED, tmp_path / "mine")
    system, question = known.answers[0].messages
    base = embedded_weights().path
    made = make_reference(tmp_path / "mine", base, system.content, [[question]])
    assert made == read_reference(tmp_path / "mine")
    (answered,) = made.answers
    assert answered.prompt_ids == known.answers[0].prompt_ids
    assert answered.token_ids == known.answers[0].token_ids
    assert answered.logprobs == pytest.approx(known.answers[0].logprobs, abs=1e-3)
    assert min(answered.base_logprobs) < min(answered.logprobs) - 1


def test_what_is_missing_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(b"none")
    with pytest.raises(TuningError, match="PEFT cannot answer with these weights"):
        make_reference(tmp_path, tmp_path / "no.gguf", "Be brief.")
