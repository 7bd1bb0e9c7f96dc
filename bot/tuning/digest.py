"""What a file holds, as one number: its SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bot.errors import TuningError


def file_sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        TuningError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TuningError(f"{path} cannot be read.", cure="Check the path.") from error
