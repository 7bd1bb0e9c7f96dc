"""The parity gate: a right adapter passes, and every way of serving something else is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from bot.errors import AdapterError
from bot.evidence import parity
from bot.evidence.offers import offer, require_offered
from bot.evidence.parity import Parity, check_parity, read_parity, write_parity
from bot.models.catalog import EMBEDDED_PROFILE, AdapterWeights, embedded_weights
from bot.models.client import Endpoint
from bot.models.embedded import EmbeddedModel
from bot.servers import Servers
from bot.settings import ROOT
from bot.tuning import adapters as shelf
from bot.tuning.adapters import Adapter
from bot.tuning.reference import FILE_NAME, Reference, read_reference

SHIPPED = ROOT / "adapters" / "pellworth"
Change = Callable[[str, np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def reference() -> Reference:
    """PEFT's answers to few questions: two in the adapter's field, one that is not."""
    found = read_reference(SHIPPED)
    assert found is not None
    return replace(found, answers=(found.answers[0], found.answers[9], found.answers[14]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedModel]:
    servers = Servers.open(tmp_path_factory.mktemp("data"))
    yield EmbeddedModel(servers, embedded_weights(), EMBEDDED_PROFILE, 512, threads=2)
    servers.close()


def changed(folder: Path, *, alpha: float | None = None, change: Change | None = None) -> Adapter:
    """A copy of the shipped adapter with another GGUF, as sound as files can tell."""
    shutil.copytree(SHIPPED, folder)
    reader = gguf.GGUFReader(SHIPPED / shelf.GGUF_NAME)
    writer = gguf.GGUFWriter(folder / shelf.GGUF_NAME, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(
        gguf.Keys.Adapter.LORA_ALPHA,
        alpha or reader.fields["adapter.lora.alpha"].contents(),
    )
    for tensor in reader.tensors:
        values = np.array(tensor.data)
        writer.add_tensor(tensor.name, change(tensor.name, values) if change else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return signed(folder)


def signed(folder: Path) -> Adapter:
    (folder / shelf.MANIFEST_NAME).unlink()
    shelf.write_manifest(folder, {"created_at": "2026-01-01T00:00:00+00:00"})
    return shelf.adapter(folder.parent, folder.name)


def unpermuted(name: str, rows: np.ndarray) -> np.ndarray:
    """The rows of query and key as Hugging Face orders them."""
    heads = {"attn_q": 9, "attn_k": 3}.get(name.split(".")[2], 0)
    if not heads or not name.endswith("lora_b"):
        return rows
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, half, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


@pytest.mark.integration
def test_the_shipped_adapter_answers_as_peft_does_alone_and_merged(
    model: EmbeddedModel, reference: Reference, tmp_path: Path
) -> None:
    found = check_parity(shelf.adapter(SHIPPED.parent, SHIPPED.name), model, reference, tmp_path)
    assert found.passed, found.reason
    assert found.answers_equal == found.merged_answers_equal == found.answers == 3
    assert 0 < found.mean_logprob_difference <= parity.TOLERANCE
    assert 0 < found.merged_mean_logprob_difference <= parity.MERGED_TOLERANCE
    assert list(tmp_path.iterdir()) == []  # the merged weights went away


@pytest.mark.integration
@pytest.mark.parametrize(
    ("alpha", "change"),
    [
        pytest.param(None, unpermuted, id="unpermuted query and key rows"),
        pytest.param(16.0, None, id="half of alpha"),
        pytest.param(None, lambda name, rows: np.roll(rows, 1, axis=-1), id="another adapter"),
        pytest.param(None, lambda name, rows: rows[: len(rows) // 2], id="tensors cut in half"),
    ],
)
def test_another_adapter_than_the_trained_one_is_refused(
    alpha: float | None,
    change: Change | None,
    model: EmbeddedModel,
    reference: Reference,
    tmp_path: Path,
) -> None:
    adapter = changed(tmp_path / "wrong", alpha=alpha, change=change)
    found = check_parity(adapter, model, reference, tmp_path / "scratch")
    assert not found.passed
    assert found.reason.startswith(("What it answers as it is served", "It cannot be served"))
    assert found.is_for(adapter.sha256, model.identity)


@pytest.mark.integration
def test_a_small_mistake_that_serving_hides_is_found_in_the_merged_file(
    model: EmbeddedModel, reference: Reference, tmp_path: Path
) -> None:
    adapter = changed(tmp_path / "wrong", alpha=33.0)
    found = check_parity(adapter, model, reference, tmp_path / "scratch")
    assert "merged with its base" in found.reason
    assert found.mean_logprob_difference <= parity.TOLERANCE
    assert found.merged_mean_logprob_difference > 3 * parity.MERGED_TOLERANCE


@pytest.mark.integration
def test_a_file_that_ends_early_cannot_be_served(
    model: EmbeddedModel, reference: Reference, tmp_path: Path
) -> None:
    shutil.copytree(SHIPPED, tmp_path / "cut")
    path = tmp_path / "cut" / shelf.GGUF_NAME
    path.write_bytes(path.read_bytes()[:-100_000])
    found = check_parity(signed(tmp_path / "cut"), model, reference, tmp_path / "scratch")
    assert found.reason.startswith("It cannot be served:")


@pytest.mark.integration
def test_an_adapter_served_at_scale_zero_is_refused(
    model: EmbeddedModel,
    reference: Reference,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server without the adapter answers what that one would at scale 0."""
    serve = model.endpoint

    def at_scale_zero(adapter: AdapterWeights | None = None) -> Endpoint:
        return serve()

    monkeypatch.setattr(model, "endpoint", at_scale_zero)
    found = check_parity(shelf.adapter(SHIPPED.parent, "pellworth"), model, reference, tmp_path)
    assert found.reason.startswith("What it answers as it is served is not what was trained")


def test_what_was_found_counts_for_the_checked_files_alone(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "mine")
    mine = shelf.adapter(tmp_path, "mine")
    assert offer(mine).state == "offered"
    failed = Parity(
        passed=False, reason="It rounds.", adapter_sha256=mine.sha256, base_sha256=mine.base_sha256
    )
    write_parity(failed, mine.folder)
    assert read_parity(mine.folder) == failed
    assert (offer(mine).state, offer(mine).reason) == ("refused", "It rounds.")
    with pytest.raises(AdapterError, match=r"mine does not answer: It rounds\."):
        require_offered(mine)
    write_parity(replace(failed, passed=True, adapter_sha256="0" * 64), mine.folder)
    assert offer(mine).state == "unchecked"
    (mine.folder / parity.FILE_NAME).write_text("[]")
    assert offer(mine).state == "unchecked"


def test_a_reference_counts_for_its_own_weights_alone(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "mine")
    folder = tmp_path / "mine"
    assert read_reference(folder)
    told = json.loads((folder / FILE_NAME).read_text())
    (folder / FILE_NAME).write_text(json.dumps(told | {"weights_sha256": "0" * 64}))
    assert read_reference(folder) is None
    (folder / FILE_NAME).write_text("{}")
    assert read_reference(folder) is None
