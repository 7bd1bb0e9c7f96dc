"""An adapter made elsewhere → an adapter of ours, or a refusal in words.

Nothing of what is brought decides a path, nothing of it is run, and all of it is read within
bounds: of an archive only the two files that are known by name are taken, its weights are read by
safetensors alone, and its configuration is written anew from what was understood.
"""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from bot.errors import AdapterError, RecipeError, TuningError
from bot.tuning import adapters as shelf
from bot.tuning import recipe as recipes
from bot.tuning.adapters import Adapter
from bot.tuning.export import CONFIG_NAME, WEIGHTS_NAME, export_gguf, module_of, read_base
from bot.tuning.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch

MOST_WEIGHT_BYTES = 512_000_000
MOST_TEXT_BYTES = 1_000_000
MOST_FILES = 100
_LARGEST_HALF = 65504.0
_PIECE_BYTES = 1 << 20
_LIMITS = {
    WEIGHTS_NAME: MOST_WEIGHT_BYTES,
    CONFIG_NAME: MOST_TEXT_BYTES,
    recipes.FILE_NAME: MOST_TEXT_BYTES,
}
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_ANYTHING = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
}
"""Entries of a PEFT configuration that are looked at by name, or change nothing when an adapter
answers. Any other must be empty: it names something that is not served."""


def import_adapter(
    files: Sequence[Path],
    name: str,
    *,
    base: Path,
    base_sha256: str,
    system_prompt: str,
    adapters_dir: Path,
) -> Adapter:
    """Take in a PEFT adapter: a zip file, a folder, or its weights and configuration.

    It is not offered before the parity gate let it through.

    Args:
        files: what was brought; only the end of their names matters.
        name: of the adapter, chosen by the person.
        base: the base weights here, a GGUF file, against which shapes and layers are checked.
        system_prompt: that answers begin with, where the adapter brings no recipe.

    Raises:
        AdapterError: it cannot be taken in, and why; nothing of it is left.
    """
    shelf.check_name(name)
    if (adapters_dir / name).exists():
        raise AdapterError(f"There is an adapter named {name}.", cure="Choose another name.")
    folder = shelf.begin(adapters_dir, name)
    try:
        _take(files, folder)
        config = _config(folder)
        tensors = _tensors(folder / WEIGHTS_NAME)
        _check(tensors, config, base)
        _write_config(folder, config, tensors)
        _recipe(folder, config, tensors, base_sha256, system_prompt).save(folder)
        export_gguf(folder, base, folder / shelf.GGUF_NAME)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        shelf.write_manifest(folder, {"created_at": now, "base": base.name, "imported": True})
        return shelf.publish(folder, adapters_dir, name)
    except OSError as error:
        raise _refused(
            f"it cannot be written: {error.strerror or 'the disk failed'}.", "Make room first."
        ) from error
    except AdapterError:
        raise
    except TuningError as error:
        raise AdapterError(error.message, cure=error.cure) from error
    finally:
        shelf.discard(folder)


# --- what was brought ---------------------------------------------------------------------------


def _take(files: Sequence[Path], folder: Path) -> None:
    """Copy the known files of what was brought into the folder, under names of ours."""
    if len(files) == 1 and files[0].is_dir():
        files = sorted(files[0].iterdir())
    for path in files:
        if path.suffix.lower() == ".zip":
            _unpack(path, folder)
            continue
        if path.is_symlink() or not path.is_file():
            raise _refused(f"{path.name} is not a plain file.")
        _refuse_pickle_name(path.name)
        if path.name in _LIMITS:
            with path.open("rb") as source:
                _copy(source, folder / path.name, _LIMITS[path.name])
    for wanted in (WEIGHTS_NAME, CONFIG_NAME):
        if not (folder / wanted).is_file():
            raise _refused(
                f"{wanted} is missing.",
                f"Bring {WEIGHTS_NAME} and {CONFIG_NAME}, or both in a zip.",
            )


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_FILES:
                raise _refused(f"the archive holds {len(entries)} files, more than {MOST_FILES}.")
            for entry in entries:
                known = _known_name(entry)
                if known:
                    with archive.open(entry) as source:
                        _copy(source, folder / known, _LIMITS[known])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise _refused("the archive is damaged, or locked with a password.") from error


def _known_name(entry: zipfile.ZipInfo) -> str:
    """Which of our files an entry is; empty for one that is passed over."""
    place = PurePosixPath(entry.filename.replace("\\", "/"))
    has_drive = ":" in (place.parts or ("",))[0]
    if place.is_absolute() or has_drive or ".." in place.parts:
        raise _refused("the archive holds a name that leads out of it.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused("the archive holds a link or another special file.")
    if entry.is_dir():
        return ""
    _refuse_pickle_name(place.name)
    return place.name if place.name in _LIMITS else ""


def _refuse_pickle_name(name: str) -> None:
    if name.lower().endswith(_PICKLED):
        raise _pickled()


def _copy(source: IO[bytes], target: Path, most_bytes: int) -> None:
    """Copy what there is, counted as it comes: what an archive says of sizes is not believed."""
    if target.exists():
        raise _refused(f"{target.name} is there twice.")
    done = 0
    with target.open("wb") as sink:
        while piece := source.read(_PIECE_BYTES):
            done += len(piece)
            if done > most_bytes:
                raise _refused(f"{target.name} has more than {most_bytes / 1e6:.0f} MB.")
            sink.write(piece)


# --- what it says -------------------------------------------------------------------------------


def _config(folder: Path) -> dict[str, Any]:
    """The configuration, of a plain LoRA."""
    try:
        config: Any = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refused(f"{CONFIG_NAME} is not JSON.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise _refused("it is not a LoRA of PEFT.")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= 256:
        raise _refused("its rank r is not a whole number from 1 to 256.")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha <= 1024:
        raise _refused("its lora_alpha is not a number up to 1024.")
    if config.get("bias", "none") != "none":
        raise _refused("it trains biases, which are not served.")
    if config.get("use_dora"):
        raise _refused("it uses DoRA, which is not served.")
    if config.get("modules_to_save"):
        raise _refused("it brings whole modules (modules_to_save), which are not served.")
    for entry in ("alpha_pattern", "rank_pattern"):
        if config.get(entry):
            raise _refused(f"it uses {entry}, which is not served.")
    if config.get("init_lora_weights", True) not in (True, False, "gaussian"):
        raise _refused("it was begun from changed base weights (init_lora_weights).")
    for entry, value in config.items():
        if entry not in _ANYTHING and entry != "bias" and value and value != "megatron.core":
            raise _refused(f"it uses {str(entry)[:40]}, which is not served.")
    return dict(config)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with path.open("rb") as file:
        first = file.read(4)
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, KeyError) as error:
        if first[:1] == b"\x80" or first == b"PK\x03\x04":
            raise _pickled() from error
        raise _refused(f"{WEIGHTS_NAME} is damaged.") from error


def _check(tensors: dict[str, torch.Tensor], config: dict[str, Any], base: Path) -> None:
    """Every tensor is a sound half of a LoRA of a matrix that the base has."""
    import torch

    shapes = read_base(base).shapes
    halves: dict[str, set[str]] = {}
    for name, tensor in tensors.items():
        matrix, half = module_of(name)
        inward, outward = _shape_in(shapes, matrix)
        expected = (config["r"], inward) if half == "a" else (outward, config["r"])
        if tuple(tensor.shape) != expected:
            raise _refused(
                f"it was made for another base: {name} is {'×'.join(map(str, tensor.shape))}, "
                f"and here it would be {'×'.join(map(str, expected))}."
            )
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise _refused(f"{name} is of the type {str(tensor.dtype).removeprefix('torch.')}.")
        if not bool(torch.isfinite(tensor).all()):
            raise _refused(f"{name} holds values that are no numbers.")
        if tensor.numel() and float(tensor.abs().max()) > _LARGEST_HALF:
            raise _refused(f"{name} holds values that are too large for 16 bits.")
        halves.setdefault(matrix, set()).add(half)
    if not halves:
        raise _refused("it holds no weights.")
    if lone := [matrix for matrix, found in halves.items() if len(found) < 2]:
        raise _refused(f"one half of {lone[0]} is missing.")


def _shape_in(shapes: Mapping[str, tuple[int, ...]], matrix: str) -> tuple[int, ...]:
    if matrix not in shapes:
        raise _refused(f"it was made for another base: there is no {matrix} here.")
    return shapes[matrix]


# --- what it becomes ----------------------------------------------------------------------------


def _write_config(folder: Path, config: dict[str, Any], tensors: dict[str, Any]) -> None:
    places = list(_places(tensors))
    plain = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(config.get("base_model_name_or_path") or "")[:200],
        "bias": "none",
        "inference_mode": True,
        "layers_to_transform": sorted({layer for layer, _ in places}),
        "lora_alpha": config["lora_alpha"],
        "lora_dropout": 0.0,
        "r": config["r"],
        "target_modules": sorted({projection for _, projection in places}),
        "use_dora": False,
        "use_rslora": bool(config.get("use_rslora")),
    }
    text = json.dumps(plain, indent=2, sort_keys=True)
    (folder / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def _recipe(
    folder: Path,
    config: dict[str, Any],
    tensors: dict[str, Any],
    base_sha256: str,
    system_prompt: str,
) -> TrainingRecipe:
    """The recipe that was brought, when it is one for this base; else what can be told."""
    if (folder / recipes.FILE_NAME).is_file():
        try:
            brought = recipes.load(folder)
        except RecipeError as error:
            raise _refused(f"its recipe is wrong: {error.message}") from error
        if brought.base_sha256 != base_sha256:
            raise _refused("it was trained on other base weights.")
        return brought
    layers = {layer for layer, _ in _places(tensors)}
    return TrainingRecipe(
        system_prompt=system_prompt,
        base_sha256=base_sha256,
        rank=config["r"],
        alpha=max(1, round(config["lora_alpha"])),
        layers=len(layers),
    )


def _places(tensors: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Layer and projection of every tensor."""
    for name in tensors:
        parts = name.split(".")
        yield int(parts[4]), parts[6]


def _pickled() -> AdapterError:
    return _refused(
        "it is pickled, and opening a pickle runs whatever it says.",
        "Save it as safetensors: model.save_pretrained(folder, safe_serialization=True).",
    )


def _refused(reason: str, cure: str = "Choose another adapter.") -> AdapterError:
    return AdapterError(f"The adapter is not taken in: {reason}", cure=cure)
