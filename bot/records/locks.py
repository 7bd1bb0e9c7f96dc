"""Locks that everybody who uses the same records agrees on.

Beside an SQLite file they are files, in PostgreSQL advisory locks, which serve several machines.
Both are let go however their holder ends: by the operating system, or with its connection.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from threading import Lock as ThreadLock

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from bot.errors import RecordsError


class RecordsLock:
    """One lock by its name; not reentrant. Any thread may let go of it.

    Args:
        engine: the records that it belongs to.
        name: such as "library" or "owners/1f3a"; with a file, its path below the records' folder.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._lock: _File | _Advisory = (
            _File(engine, name) if engine.dialect.name == "sqlite" else _Advisory(engine, name)
        )

    def acquire(self, timeout_seconds: float) -> bool:
        """Take the lock, waiting for it at most so long (0 does not wait); False when another
        holds it still.

        Raises:
            RecordsError: the database cannot be reached.
        """
        return self._lock.acquire(timeout_seconds)

    def renew(self) -> None:
        """Take the lock again if its connection was lost meanwhile; call it only while held.

        Raises:
            RecordsError: the database cannot be reached.
        """
        self._lock.renew()

    def is_held(self) -> bool:
        """Whether somebody holds the lock; if not, nothing of it stays behind. For locks that
        nobody waits for.

        Raises:
            RecordsError: the database cannot be reached.
        """
        return self._lock.is_held()

    def release(self, *, clear: bool = False) -> None:
        """Let go.

        Args:
            clear: whether nothing of it shall stay behind; only when nobody waits for it.
        """
        self._lock.release(clear=clear)


class _File:
    def __init__(self, engine: Engine, name: str) -> None:
        self._path = Path(str(engine.url.database)).parent / f"{name}.lock"
        # Not thread-local: a generator may be finished by another thread than began it.
        self._lock = FileLock(self._path, thread_local=False)

    def acquire(self, timeout_seconds: float) -> bool:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=timeout_seconds)
        except Timeout:
            return False
        except OSError as error:
            raise RecordsError(
                f"{self._path.parent} cannot be written to.",
                cure="Check its permissions and the room on the disk.",
            ) from error
        return True

    def is_held(self) -> bool:
        if not self._path.exists():
            return False
        if not self.acquire(0):
            return True
        self.release(clear=True)
        return False

    def renew(self) -> None:
        """A file stays locked."""

    def release(self, *, clear: bool) -> None:
        if clear:
            self._path.unlink(missing_ok=True)
        self._lock.release()


class _Advisory:
    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        digest = hashlib.blake2b(f"triptych/{name}".encode(), digest_size=8).digest()
        self._key = {"key": int.from_bytes(digest, signed=True)}
        self._connection: Connection | None = None
        self._using = ThreadLock()

    def acquire(self, timeout_seconds: float) -> bool:
        """Waits in the server, on a connection outside of the pool."""
        connection = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        try:
            connection.detach()
            # A holder that vanished without a word is found out.
            for name, value in (("idle", 30), ("interval", 10), ("count", 3)):
                connection.execute(text(f"SET tcp_keepalives_{name} = {value}"))
            if not self._taken(connection, timeout_seconds):
                connection.close()
                return False
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return True

    def _taken(self, connection: Connection, timeout_seconds: float) -> bool:
        if timeout_seconds <= 0:
            return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), self._key))
        connection.execute(text(f"SET lock_timeout = {max(1, int(timeout_seconds * 1000))}"))
        try:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), self._key)
        except RecordsError as error:
            if _is_timeout(error):
                return False
            raise
        return True

    def is_held(self) -> bool:
        if not self.acquire(0):
            return True
        self.release(clear=True)
        return False

    def renew(self) -> None:
        with self._using:
            if self._connection is not None:
                try:
                    self._connection.execute(text("SELECT 1"))
                    return
                except (RecordsError, SQLAlchemyError):
                    self._close()
            self.acquire(0)

    def release(self, *, clear: bool) -> None:
        with self._using:
            if self._connection is not None:
                # Said aloud: a server notices a while later that a connection is gone.
                with suppress(RecordsError, SQLAlchemyError):
                    self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), self._key)
            self._close()

    def _close(self) -> None:
        """The lock goes with its connection."""
        if self._connection is not None:
            with suppress(RecordsError, SQLAlchemyError):
                self._connection.close()
        self._connection = None


def _is_timeout(error: RecordsError) -> bool:
    from psycopg.errors import LockNotAvailable

    return isinstance(error.__cause__, LockNotAvailable)
