"""Which processes that use the records are alive, told by a lock that each of them holds.

A lock is let go however its process ends, so a process that was killed is known to be gone, and
one that runs beside this one, on this machine or another, is known to live.
"""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import Engine

from bot.records.locks import RecordsLock


class Owner:
    """This process, as others see it while it lives.

    Args:
        engine: the records that all of them use.

    Raises:
        RecordsError: the database cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = uuid4().hex
        self._lock = _lock(engine, self.name)
        self._lock.acquire(timeout_seconds=0)

    def renew(self) -> None:
        """Be alive again where a database that was started anew has forgotten it.

        Raises:
            RecordsError: the database cannot be reached.
        """
        self._lock.renew()

    def release(self) -> None:
        """Let go: from now on this owner counts as gone."""
        self._lock.release(clear=True)


def is_alive(engine: Engine, name: str) -> bool:
    """Whether the owner of this name still runs; what a gone one left is cleared away.

    Raises:
        RecordsError: the database cannot be reached.
    """
    return _lock(engine, name).is_held()


def _lock(engine: Engine, name: str) -> RecordsLock:
    return RecordsLock(engine, f"owners/{name}")
