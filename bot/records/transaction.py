"""One transaction of the records; what goes wrong in it becomes a RecordsError."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.orm import Session

from bot.damage import is_full
from bot.errors import RecordsError
from bot.records import mending

_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that is committed at the end; nothing of it is written when it fails.

    Raises:
        RecordsError: the records cannot be read or written.
    """
    mending.before_use(engine)
    try:
        with Session(engine) as session, session.begin():
            yield session
    except (SQLAlchemyError, ValueError) as error:
        raise records_error(engine, error) from error


def records_error(engine: Engine, error: Exception) -> RecordsError:
    """What went wrong with the records, in a sentence; a damaged file is remembered as such."""
    cause = error.orig if isinstance(error, StatementError) else error
    if engine.dialect.name != "sqlite":
        return RecordsError(
            "The records cannot be read or written.",
            cure="Check that the database can be reached, then try again.",
        )
    if mending.is_damage(cause):
        mending.suspect(engine)
        return RecordsError(
            "The records are damaged.",
            cure="Try again: they are mended before they are used, and a note says what was kept.",
        )
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code in _NO_ROOM and is_full(_folder(engine))):
        return RecordsError(
            "The disk is full, so nothing was written.", cure="Make room, then try again."
        )
    return RecordsError(
        "The records cannot be read or written.",
        cure="Check that the disk has room and that no other program holds the database.",
    )


def _folder(engine: Engine) -> Path:
    return Path(engine.url.database or ".").parent
