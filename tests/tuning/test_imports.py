"""Adapters made elsewhere: taken in, or refused in words with nothing left of them."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import save_file

from bot.errors import AdapterError
from bot.models.catalog import embedded_weights
from bot.tuning import adapters as shelf
from bot.tuning import imports
from bot.tuning.adapters import Adapter
from bot.tuning.export import CONFIG_NAME, WEIGHTS_NAME
from bot.tuning.imports import import_adapter
from bot.tuning.parcel import KINDS, file_name, parcel

pytestmark = pytest.mark.integration

LAYER = "base_model.model.model.layers.29"
PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "use_dora": False}
Tensors = dict[str, torch.Tensor]


def lora(rows: int = 576, layer: str = LAYER, module: str = "self_attn.q_proj") -> Tensors:
    return {
        f"{layer}.{module}.lora_A.weight": torch.randn(4, 576),
        f"{layer}.{module}.lora_B.weight": torch.randn(rows, 4),
    }


def brought(folder: Path, tensors: Tensors | bytes, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    if isinstance(tensors, bytes):
        (folder / WEIGHTS_NAME).write_bytes(tensors)
    else:
        save_file(tensors, folder / WEIGHTS_NAME)
    (folder / CONFIG_NAME).write_text(json.dumps({**PLAIN, **config}))
    return folder


def taken_in(*files: Path, into: Path, name: str = "new") -> Adapter:
    base = embedded_weights()
    return import_adapter(
        files,
        name,
        base=base.path,
        base_sha256=base.sha256,
        system_prompt="Be brief.",
        adapters_dir=into,
    )


def refused(*files: Path, into: Path, name: str = "new") -> str:
    with pytest.raises(AdapterError) as caught:
        taken_in(*files, into=into, name=name)
    left = sorted(path.name for path in into.iterdir()) if into.exists() else []
    assert left == [], "something of it was kept"
    return str(caught.value)


def zipped(path: Path, entries: dict[str, bytes], *, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return path


@pytest.fixture
def shelf_dir(tmp_path: Path) -> Path:
    return tmp_path / "adapters"


def test_what_was_exported_is_imported_again(tmp_path: Path, shelf_dir: Path) -> None:
    first = taken_in(brought(tmp_path / "peft", lora()), into=shelf_dir, name="first")
    base = embedded_weights().path
    out = parcel(first, "peft", base, tmp_path / file_name("first", "peft"))
    second = taken_in(out, into=shelf_dir, name="second")
    assert second.gguf_path.read_bytes() == first.gguf_path.read_bytes()
    assert (second.imported, second.recipe) == (True, first.recipe)
    assert (second.recipe.rank, second.recipe.alpha, second.recipe.layers) == (4, 8, 1)
    pair = [first.folder / WEIGHTS_NAME, first.folder / CONFIG_NAME]
    assert taken_in(*pair, into=shelf_dir, name="third").sha256 == first.sha256
    alone = parcel(first, "lora", base, tmp_path / "alone.gguf")
    assert alone.read_bytes() == first.gguf_path.read_bytes()
    with pytest.raises(AdapterError, match="There is an adapter named second"):
        taken_in(out, into=shelf_dir, name="second")


def test_a_parcel_is_written_whole_or_not_at_all(tmp_path: Path, shelf_dir: Path) -> None:
    adapter = taken_in(brought(tmp_path / "peft", lora()), into=shelf_dir)
    (adapter.folder / WEIGHTS_NAME).unlink()
    for kind in KINDS[:1]:
        with pytest.raises(AdapterError, match="cannot be written"):
            parcel(adapter, kind, embedded_weights().path, tmp_path / "out.zip")
    assert not list(tmp_path.glob("*out.zip*"))


def test_a_rank_stabilised_lora_is_served_at_its_own_scale(tmp_path: Path, shelf_dir: Path) -> None:
    adapter = taken_in(brought(tmp_path / "peft", lora(), use_rslora=True), into=shelf_dir)
    alpha = gguf.GGUFReader(adapter.gguf_path).fields["adapter.lora.alpha"].contents()
    assert alpha == pytest.approx(8 * 4**0.5)  # divided by the rank, 4: alpha by its root


def not_a_number(tensors: Tensors) -> Tensors:
    next(iter(tensors.values()))[0, 0] = float("nan")
    return tensors


def too_large(tensors: Tensors) -> Tensors:
    next(iter(tensors.values()))[0, 0] = 1e6
    return tensors


@pytest.mark.parametrize(
    ("tensors", "config", "said"),
    [
        (lambda: lora(rows=2048), {}, "another base"),
        (lambda: lora(layer="base_model.model.model.layers.30"), {}, "another base"),
        (lambda: lora(module="self_attn.router"), {}, "module that can be served"),
        (lambda: {"base_model.model.lm_head.lora_A.weight": torch.ones(4, 576)}, {}, "served"),
        (lambda: dict([next(iter(lora().items()))]), {}, "one half"),
        (dict, {}, "no weights"),
        (lambda: not_a_number(lora()), {}, "no numbers"),
        (lambda: too_large(lora()), {}, "too large for 16 bits"),
        (lambda: {name: one.to(torch.int8) for name, one in lora().items()}, {}, "type int8"),
        (lambda: b"\x80\x04\x95payload", {}, "pickled"),
        (lambda: b"PK\x03\x04payload", {}, "pickled"),
        (lambda: b"nothing at all", {}, "damaged"),
        (lora, {"r": 8}, "another base"),
        (lora, {"use_dora": True}, "DoRA"),
        (lora, {"bias": "all"}, "biases"),
        (lora, {"modules_to_save": ["lm_head"]}, "whole modules"),
        (lora, {"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        (lora, {"trainable_token_indices": [1]}, "trainable_token_indices"),
        (lora, {"init_lora_weights": "pissa"}, "changed base weights"),
        (lora, {"r": True}, "rank r"),
        (lora, {"lora_alpha": "32"}, "lora_alpha"),
        (lora, {"peft_type": "IA3"}, "not a LoRA"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(
    tensors: Callable[[], Tensors | bytes],
    config: dict[str, Any],
    said: str,
    tmp_path: Path,
    shelf_dir: Path,
) -> None:
    assert said in refused(brought(tmp_path / "peft", tensors(), **config), into=shelf_dir)


@pytest.mark.parametrize(
    ("entries", "mode", "said"),
    [
        ({"../adapter_config.json": b"{}"}, 0, "leads out of it"),
        ({"a/../../adapter_config.json": b"{}"}, 0, "leads out of it"),
        ({"/etc/adapter_config.json": b"{}"}, 0, "leads out of it"),
        ({"C:\\adapter_config.json": b"{}"}, 0, "leads out of it"),
        ({"..\\adapter_config.json": b"{}"}, 0, "leads out of it"),
        ({CONFIG_NAME: b"/etc/passwd"}, stat.S_IFLNK | 0o777, "a link"),
        ({"adapter_model.bin": b"x"}, 0, "pickled"),
        ({"sub/TRAINING_ARGS.PT": b"x"}, 0, "pickled"),
        ({CONFIG_NAME: b"{", WEIGHTS_NAME: b""}, 0, "not JSON"),
        ({CONFIG_NAME: b"[" * 100_000, WEIGHTS_NAME: b""}, 0, "not JSON"),
        ({CONFIG_NAME: b" " * 2_000_000}, 0, "more than 1 MB"),
        ({CONFIG_NAME: b"{}", f"a/{CONFIG_NAME}": b"{}"}, 0, "there twice"),
        ({CONFIG_NAME: b"{}"}, 0, "is missing"),
        ({f"{number}.txt": b"" for number in range(101)}, 0, "101 files"),
    ],
)
def test_an_archive_decides_no_path_and_no_size(
    entries: dict[str, bytes], mode: int, said: str, tmp_path: Path, shelf_dir: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    path = zipped(tmp_path / "brought.zip", entries, mode=mode)
    assert said in refused(path, into=shelf_dir)
    assert set(tmp_path.rglob("*")) - before <= {path, shelf_dir}


def test_a_bomb_is_stopped_by_what_comes_out_of_it(
    tmp_path: Path, shelf_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(imports._LIMITS, WEIGHTS_NAME, 10_000_000)
    path = zipped(tmp_path / "bomb.zip", {WEIGHTS_NAME: b"\0" * 40_000_000})
    assert path.stat().st_size < 100_000
    assert "more than 10 MB" in refused(path, into=shelf_dir)


def test_damaged_and_locked_archives_and_bad_names_are_refused(
    tmp_path: Path, shelf_dir: Path
) -> None:
    path = tmp_path / "brought.zip"
    path.write_bytes(b"PK no archive")
    assert "damaged" in refused(path, into=shelf_dir)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(CONFIG_NAME, "{}")
    locked = bytearray(whole.getvalue())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    path.write_bytes(bytes(locked))
    assert "password" in refused(path, into=shelf_dir)
    for name in ("../up", "A", "", "a b", "x" * 49):
        assert "cannot be the name" in refused(path, into=shelf_dir, name=name)
    link = tmp_path / WEIGHTS_NAME
    link.symlink_to(path)
    assert "not a plain file" in refused(link, into=shelf_dir)


def test_a_recipe_for_other_base_weights_is_refused(tmp_path: Path, shelf_dir: Path) -> None:
    folder = brought(tmp_path / "peft", lora())
    recipe = {"system_prompt": "Be brief.", "base_sha256": "0" * 64}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    assert "other base weights" in refused(folder, into=shelf_dir)
    (folder / "recipe.json").write_text("[]")
    assert "recipe is wrong" in refused(folder, into=shelf_dir)


def test_nothing_is_left_when_the_disk_fails(
    tmp_path: Path, shelf_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, facts: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf, "write_manifest", full)
    said = refused(brought(tmp_path / "peft", lora()), into=shelf_dir)
    assert "No space left on device" in said
