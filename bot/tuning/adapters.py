"""The adapters on disk: one folder each, listed, verified, published and deleted.

A folder holds ``recipe.json``, ``adapter_model.safetensors`` with ``adapter_config.json`` (PEFT),
``adapter.gguf`` (what is served), ``curve.json``, ``examples.jsonl`` and ``manifest.json`` (when
it was made, with what, and the SHA-256 of each file). Folders whose name begins with a dot are
work in progress and are not adapters.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from bot.errors import AdapterError, RecipeError
from bot.tuning import recipe as recipes
from bot.tuning.recipe import TrainingRecipe

GGUF_NAME = "adapter.gguf"
MANIFEST_NAME = "manifest.json"
EXAMPLES_NAME = "examples.jsonl"
MADE_AGAIN = ("reference.json", "parity.json")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A verified adapter.

    Args:
        sha256: of the served file, `gguf_path`.
        base_sha256: of the base weights it was trained on.
        size_bytes: of everything in its folder.
        created_at: ISO 8601, UTC.
        imported: it was made elsewhere; of its recipe only rank, alpha and layers are known,
            unless it brought one.
    """

    name: str
    folder: Path
    gguf_path: Path
    sha256: str
    base_sha256: str
    recipe: TrainingRecipe
    size_bytes: int
    created_at: str
    imported: bool = False


@dataclass(frozen=True, slots=True)
class BrokenAdapter:
    """A folder that should be an adapter, and why it is none."""

    name: str
    reason: str


def adapters(adapters_dir: Path) -> list[Adapter]:
    """The valid adapters, sorted by name."""
    valid, _ = _survey(adapters_dir)
    return valid


def broken_adapters(adapters_dir: Path) -> list[BrokenAdapter]:
    """The damaged ones, sorted by name. A folder with nothing but examples is not damaged."""
    _, broken = _survey(adapters_dir)
    return broken


def adapter(adapters_dir: Path, name: str) -> Adapter:
    """The adapter of that name, verified.

    Raises:
        AdapterError: there is none, or its files are missing or damaged.
    """
    folder = adapters_dir / check_name(name)
    if not folder.exists():
        _clear_abandoned(adapters_dir)
    if not (folder / recipes.FILE_NAME).is_file():
        known = ", ".join(found.name for found in adapters(adapters_dir)) or "none"
        raise AdapterError(
            f"There is no adapter named {name}.", cure=f"Train it, or choose another: {known}."
        )
    return _read(folder)


def require_base(found: Adapter, base_sha256: str) -> None:
    """Refuse an adapter that was trained on other weights.

    Raises:
        AdapterError: the adapter belongs to another base.
    """
    if found.base_sha256 != base_sha256:
        raise AdapterError(
            f"The adapter {found.name} was trained on other base weights.",
            cure="Train it again on the weights that are installed.",
        )


def delete(adapters_dir: Path, name: str) -> None:
    """Remove an adapter and everything in its folder, damaged or not.

    Raises:
        AdapterError: the name is not safe, there is no such folder, or it cannot be removed.
    """
    folder = adapters_dir / check_name(name)
    if folder.is_symlink() or not folder.is_dir():
        raise AdapterError(f"There is no adapter named {name}.", cure="Check the name.")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise AdapterError(
            f"The adapter {name} cannot be deleted.", cure="Check the permissions of its folder."
        ) from error


def check_name(name: str) -> str:
    """The name itself, when it is safe as a folder and as a model name.

    Raises:
        AdapterError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise AdapterError(
            f"{name!r} cannot be the name of an adapter.",
            cure="Use up to 48 small letters, digits, dashes and underscores.",
        )
    return name


def partial_folder(adapters_dir: Path, name: str, pid: int) -> Path:
    """Where the process `pid` prepares an adapter of that name."""
    return adapters_dir / f".partial-{name}.{pid}"


def begin(adapters_dir: Path, name: str) -> Path:
    """An empty folder beside the final place, to be filled and then published.

    What killed trainings left behind is cleared first.

    Raises:
        AdapterError: the name is not safe, or the folder cannot be made.
    """
    check_name(name)
    _clear_abandoned(adapters_dir)
    folder = partial_folder(adapters_dir, name, os.getpid())
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise AdapterError(
            f"{adapters_dir} cannot be written to.", cure="Check its permissions and the disk."
        ) from error
    return folder


def publish(partial: Path, adapters_dir: Path, name: str) -> Adapter:
    """Put a finished folder in its final place; the previous adapter goes only then.

    Raises:
        AdapterError: the folder is incomplete, or it cannot be moved.
    """
    _read(partial)
    final = adapters_dir / check_name(name)
    replaced = adapters_dir / f".replaced-{name}.{os.getpid()}"
    try:
        if final.exists():
            final.rename(replaced)
        try:
            partial.rename(final)
        except OSError:
            if replaced.exists():
                replaced.rename(final)
            raise
    except OSError as error:
        raise AdapterError(
            f"The adapter {name} cannot be put in its place.", cure="Check the adapters folder."
        ) from error
    shutil.rmtree(replaced, ignore_errors=True)
    return _read(final)


def discard(partial: Path) -> None:
    """Remove a folder that was begun and not published, if it is still there."""
    shutil.rmtree(partial, ignore_errors=True)


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Record the facts of a run and the SHA-256 of every file that the folder holds, but for
    those that are made again whenever it is checked."""
    kept = sorted(path for path in folder.iterdir() if path.name not in MADE_AGAIN)
    files = {path.name: _sha256(path) for path in kept}
    text = json.dumps({**facts, "files": files}, indent=2, ensure_ascii=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def _survey(adapters_dir: Path) -> tuple[list[Adapter], list[BrokenAdapter]]:
    valid: list[Adapter] = []
    broken: list[BrokenAdapter] = []
    if not adapters_dir.is_dir():
        return valid, broken
    _clear_abandoned(adapters_dir)
    for folder in sorted(adapters_dir.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir() or _holds_only_examples(folder):
            continue
        try:
            check_name(folder.name)
            valid.append(_read(folder))
        except AdapterError as error:
            broken.append(BrokenAdapter(folder.name, str(error)))
    return valid, broken


def _holds_only_examples(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {EXAMPLES_NAME}


def _read(folder: Path) -> Adapter:
    name = folder.name.removeprefix(".partial-").partition(".")[0]
    again = f"Train {name} again, or delete it."
    try:
        recipe = recipes.load(folder)
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
        created_at = str(manifest["created_at"])
        imported = bool(manifest.get("imported", False))
        expected = files[GGUF_NAME]
        gguf_path = folder / GGUF_NAME
        sha256 = _sha256(gguf_path)
        whole = [path for path in folder.iterdir() if not path.name.startswith(".")]
        size_bytes = sum(path.stat().st_size for path in whole)
        changed = [
            file
            for file, wanted in files.items()
            if file != EXAMPLES_NAME and _sha256(folder / Path(file).name) != wanted
        ]
    except RecipeError as error:
        raise AdapterError(f"The adapter {name} is damaged: {error.message}", cure=again) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"The adapter {name} is damaged: a file of it is missing or cannot be read.",
            cure=again,
        ) from error
    if sha256 != expected or changed:
        file = GGUF_NAME if sha256 != expected else changed[0]
        raise AdapterError(
            f"The adapter {name} is damaged: {file} is not the file that was trained.",
            cure=again,
        )
    return Adapter(
        name,
        folder,
        gguf_path,
        sha256,
        recipe.base_sha256,
        recipe,
        size_bytes,
        created_at,
        imported,
    )


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _hash(path: Path, _modified_ns: int, _size_bytes: int) -> str:
    """A file's SHA-256, computed once per version of the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clear_abandoned(adapters_dir: Path) -> None:
    """Remove the partial folders of dead processes; undo a replacement that was cut short."""
    for folder in adapters_dir.glob(".*-*.*"):
        kind, _, rest = folder.name.partition("-")
        name, _, owner = rest.rpartition(".")
        if kind not in (".partial", ".replaced") or not owner.isdigit():
            continue
        if _is_at_work(int(owner), folder):
            continue
        if kind == ".replaced" and not (adapters_dir / name).exists():
            with suppress(OSError):  # somebody else was quicker
                folder.rename(adapters_dir / name)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _is_at_work(pid: int, folder: Path) -> bool:
    """Whether the process that made a folder lives; a younger one only has its number."""
    try:
        return bool(psutil.Process(pid).create_time() <= folder.stat().st_ctime + 1.0)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except (psutil.Error, OSError):
        return True
