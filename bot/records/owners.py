"""Which processes that use the records are alive, told by file locks.

A lock is let go by the operating system however its process ends, so a process that was killed
is known to be gone, and one that runs beside this one is known to live.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from bot.errors import RecordsError


class Owner:
    """This process, as others see it while it lives.

    Args:
        folder: where the lock files of all owners lie; shared by all processes.

    Raises:
        RecordsError: its lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid4().hex
        self._lock = FileLock(_path(folder, self.name), thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise RecordsError(
                f"{folder} cannot be written to.", cure="Check its permissions and the disk."
            ) from error

    def release(self) -> None:
        """Let go: from now on this owner counts as gone."""
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


def is_alive(folder: Path, name: str) -> bool:
    """Whether the owner of this name still runs; what a gone one left is cleared away."""
    path = _path(folder, name)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return True
    return False


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
