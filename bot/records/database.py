"""The database of records: SQLite in the data directory, through SQLAlchemy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase

from bot.errors import RecordsError


class Table(DeclarativeBase):
    """Base class of every table; each repository module declares its own."""


def open_database(path: Path) -> Engine:
    """Open the records, creating the file and any missing table.

    The default rollback journal is kept: write-ahead logging is only safe against every
    crash with SQLite 3.51.3 or newer, which Python builds rarely carry.

    Raises:
        RecordsError: the file cannot be opened or is not a database.
    """
    from bot.records import conversations, documents  # noqa: F401  (they declare the tables)

    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    try:
        Table.metadata.create_all(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        raise RecordsError(
            f"The records at {path} cannot be opened.",
            cure="Check that the disk has room and that the file is readable, or move it away.",
        ) from error
    return engine
