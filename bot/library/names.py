"""Names of uploaded files, made safe to be names in the knowledge folder."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from bot.library.formats.outline import one_line

LONGEST_NAME = 120
_LONGEST_SUFFIX = 12
_MOST_BYTES = 240
_FORBIDDEN = re.compile(r'[<>:"|?*%]')
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[\d¹²³]|lpt[\d¹²³])\s*(?:\..*)?", re.IGNORECASE
)


def safe_name(name: str) -> str:
    """The last part of a name, without anything that a file system or a reader could trip over.

    "../../x.md" becomes "x.md"; control and text-direction characters go; the suffix stays.
    """
    last = re.split(r"[\\/]", name)[-1]
    last = _FORBIDDEN.sub("_", one_line(last)).rstrip(". ").lstrip(". ~")
    if _RESERVED.fullmatch(last):
        last = f"_{last}"
    suffix = PurePosixPath(last).suffix
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = ""
    stem = last.removesuffix(suffix).rstrip(". ")[: LONGEST_NAME - len(suffix)]
    room = _MOST_BYTES - len(suffix.encode())
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{stem}{suffix}" if stem else "document"


def numbered_name(name: str, number: int) -> str:
    """Another name for a second file: "notes.md" becomes "notes (2).md"."""
    path = PurePosixPath(name)
    mark = f" ({number})"
    room = LONGEST_NAME - len(path.suffix) - len(mark)
    bytes_room = _MOST_BYTES - len(path.suffix.encode()) - len(mark)
    stem = path.stem[:room].encode()[:bytes_room].decode(errors="ignore").rstrip(". ")
    return f"{stem}{mark}{path.suffix}"
