"""What a GGUF file says of itself, read within bounds: a damaged file is a sentence, no crash."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from bot.errors import WeightsError

_MOST_ENTRIES = 100_000
_MOST_ITEMS = 10_000_000
_MOST_TEXT_BYTES = 16_000_000
_SHORT_ARRAY = 64
"""Longer arrays, such as the vocabulary, are passed over."""

_ALIGNMENT = 32
_CURE = "Download or copy it again, or choose another file."


@dataclass(frozen=True, slots=True)
class Header:
    """A model file's description.

    Args:
        name: of the model; empty when the file does not say it.
        architecture: such as "llama".
        context_tokens: the longest conversation it was trained on; 0 when it does not say.
        has_chat_template: it says how messages become a prompt.
    """

    name: str
    architecture: str
    context_tokens: int
    has_chat_template: bool


def read_header(path: Path) -> Header:
    """Read a file's description, and see that all of its tensors are there.

    Raises:
        WeightsError: the file is not there, is no GGUF file, is damaged or cut short, or holds no
            language model.
    """
    try:
        with path.open("rb") as file:
            entries = _Reader(file, os.fstat(file.fileno()).st_size).entries()
    except FileNotFoundError as error:
        raise WeightsError(f"There is no file {path}.", cure="Check its path.") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read.", cure="Check its permissions.") from error
    except _Damage as error:
        raise WeightsError(f"{path.name} {error}.", cure=_CURE) from error
    except (ValueError, OverflowError, MemoryError, struct.error) as error:
        raise WeightsError(f"{path.name} is damaged.", cure=_CURE) from error
    return _header(path, entries)


def _header(path: Path, entries: Mapping[str, Any]) -> Header:
    architecture = str(entries.get("general.architecture", ""))
    kind = str(entries.get("general.type", "model"))
    if kind != "model" or not architecture:
        what = f"a file of the kind “{kind[:40]}”" if architecture else "a file without a model"
        raise WeightsError(f"{path.name} is {what}.", cure="Choose the file of a language model.")
    told = entries.get(f"{architecture}.context_length")
    return Header(
        name=" ".join(str(entries.get("general.name", "")).split())[:80],
        architecture=architecture,
        context_tokens=told if isinstance(told, int) and told > 0 else 0,
        has_chat_template=bool(entries.get("tokenizer.chat_template")),
    )


class _Damage(Exception):
    """What is wrong with a file: the end of a sentence that begins with its name."""


class _Reader:
    """Reads the parts of a GGUF file in their order; no length in it is trusted."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def entries(self) -> dict[str, Any]:
        """The key-value part; the tensors behind it are only looked for."""
        if self._file.read(4) != b"GGUF":
            raise _Damage("is not a GGUF file" if self._size_bytes else "is empty")
        version = self._number("<I")
        if version not in (2, 3):
            raise _Damage(f"has the GGUF version {version}, which is not known here")
        tensors = self._number("<Q", most=_MOST_ENTRIES)
        count = self._number("<Q", most=_MOST_ENTRIES)
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._text()
            found[key] = self._value(self._number("<I"))
        self._look_for_tensors(tensors, found.get("general.alignment", _ALIGNMENT))
        return found

    def _look_for_tensors(self, count: int, alignment: int) -> None:
        from gguf.constants import GGML_QUANT_SIZES

        ends = [0]
        for _ in range(count):
            self._text()
            shape = [self._number("<Q") for _ in range(self._number("<I", most=8))]
            kind, offset = self._number("<I"), self._number("<Q")
            if kind not in GGML_QUANT_SIZES:
                raise _Damage(f"has tensors of the type {kind}, which is not known here")
            block, block_bytes = GGML_QUANT_SIZES[kind]
            ends.append(offset + prod(shape) // block * block_bytes)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise _Damage("is damaged")
        begin = -(-self._file.tell() // alignment) * alignment
        if begin + max(ends) > self._size_bytes:
            raise _Damage(f"is cut short: {self._size_bytes:,} of {begin + max(ends):,} bytes")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._array(self._number("<I"), self._number("<Q", most=_MOST_ITEMS))
        if kind not in _FORMATS:
            raise _Damage("is damaged")
        return self._number(_FORMATS[kind])

    def _array(self, kind: int, count: int) -> list[Any] | None:
        if kind in _FORMATS and count > _SHORT_ARRAY:
            self._skip(count * struct.calcsize(_FORMATS[kind]))
            return None
        if kind == _ARRAY:  # no model has one, and the next may be in it, and so on
            raise _Damage("is damaged")
        if count > _SHORT_ARRAY:
            for _ in range(count):
                self._skip(self._number("<Q"))
            return None
        return [self._value(kind) for _ in range(count)]

    def _text(self) -> str:
        return self._bytes(self._number("<Q", most=_MOST_TEXT_BYTES)).decode(errors="replace")

    def _number(self, form: str, *, most: int | None = None) -> Any:
        (value,) = struct.unpack(form, self._bytes(struct.calcsize(form)))
        if most is not None and value > most:
            raise _Damage("is damaged")
        return value

    def _bytes(self, count: int) -> bytes:
        read = self._file.read(count)
        if len(read) < count:
            raise _Damage("is cut short")
        return read

    def _skip(self, count: int) -> None:
        if self._file.tell() + count > self._size_bytes:
            raise _Damage("is cut short")
        self._file.seek(count, os.SEEK_CUR)


_STRING = 8
_ARRAY = 9
_FORMATS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
"""How the numbers of a GGUF file are written, by their type."""
