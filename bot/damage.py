"""What was damaged: set aside under a dated name, with a note for the person; never deleted."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

logger = logging.getLogger(__name__)

MARK = ".damaged-"
NOTE_SUFFIX = ".note.txt"

LEAST_FREE_BYTES = 4_000_000
"""With less room than this, what fails is put down to the disk and not to damage."""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about something that was set aside, kept in a file until it is dismissed."""

    path: Path
    text: str


def aside(path: Path) -> Path:
    """A free name for a damaged file or folder, beside it, with the present time in it."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in count(1):
        candidate = path.with_name(f"{path.name}{MARK}{stamp}{f'-{number}' if number > 1 else ''}")
        if not candidate.exists():
            return candidate
    raise AssertionError("counting never ends")


def leave_note(set_aside: Path, text: str) -> None:
    """Leave a sentence about what was set aside, for every process and the next start.

    On a full disk it is in the log only.
    """
    logger.warning("%s", text)
    try:
        set_aside.with_name(set_aside.name + NOTE_SUFFIX).write_text(text, encoding="utf-8")
    except OSError as error:
        logger.warning("The note about %s cannot be written: %s", set_aside, error)


def notes(folder: Path) -> list[Note]:
    """The notes about what was set aside in a folder, oldest first."""
    found = []
    for path in sorted(folder.glob(f"*{MARK}*{NOTE_SUFFIX}")):
        try:
            found.append(Note(path, path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def dismiss(note: Note) -> None:
    """Forget a note; what it speaks of stays. On a disk that refuses, the note stays too."""
    with suppress(OSError):
        note.path.unlink()


def set_aside(folder: Path) -> list[Path]:
    """The damaged files and folders that were set aside in a folder, by name."""
    found = folder.glob(f"*{MARK}*")
    return sorted(path for path in found if not path.name.endswith(NOTE_SUFFIX))


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has so little room that writing may fail."""
    try:
        return shutil.disk_usage(folder).free < LEAST_FREE_BYTES
    except OSError:
        return False
