"""The database of records: an SQLite file, or PostgreSQL, through SQLAlchemy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Engine, Integer, String, create_engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from bot.errors import RecordsError
from bot.records import postgres
from bot.records.schema import migrate

BIG = BigInteger().with_variant(Integer(), "sqlite")
"""Numbers beyond 2³¹; every number of SQLite may be that large."""


class Text(TypeDecorator[str]):
    """Text that every database can hold, ordered by code points in all of them.

    NUL, which PostgreSQL refuses, and halves of surrogate pairs, which no encoding can write,
    become "\N{REPLACEMENT CHARACTER}".
    """

    impl = String().with_variant(String(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


def storable(text: str) -> str:
    """A text without what a database cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Table(DeclarativeBase):
    """Base class of every table; each repository module declares its own."""

    type_annotation_map = {str: Text}  # noqa: RUF012  (SQLAlchemy's own way)


def open_database(where: Path | str) -> Engine:
    """Open the records and bring their schema up to date.

    Args:
        where: an SQLite file, which is created when it is missing, or the URL of a PostgreSQL
            database (`bot.records.postgres`).

    Raises:
        RecordsError: they cannot be opened, are not a database, or are newer than this code.
    """
    if isinstance(where, Path):
        return _open_file(where)
    engine = postgres.connect(postgres.parsed(where), _json)
    try:
        migrate(engine)
    except (RecordsError, SQLAlchemyError):
        engine.dispose()
        raise
    return engine


def title(engine: Engine) -> str:
    """How the records are called where people read it, without user and password."""
    if engine.dialect.name == "sqlite":
        return f"SQLite file {engine.url.database}"
    return postgres.title(engine.url)


def _open_file(path: Path) -> Engine:
    """Open an SQLite file, creating it when it is missing.

    The default rollback journal is kept: write-ahead logging is only safe against every
    crash with SQLite 3.51.3 or newer, which Python builds rarely carry. A damaged file is set
    aside, and what can be read of it is kept (`bot.records.mending`).
    """
    from bot.records import mending

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mending.mend(path)
    except OSError as error:
        raise _unopened(path) from error
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, json_serializer=_json)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    mending.watch(engine, path)
    try:
        migrate(engine)
    except RecordsError:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise _unopened(path) from error
    return engine


def _unopened(path: Path) -> RecordsError:
    return RecordsError(
        f"The records at {path} cannot be opened.",
        cure="Check that the disk has room and that the file is readable, or move it away.",
    )


def _json(value: Any) -> str:
    return storable(json.dumps(value, ensure_ascii=False))
