"""The schema of the records, brought up to date by migrations when they are opened.

Each migration is a file in `migrations/versions`, named after its revision: "0001_….py". The
files' names say what the newest revision is, so that Alembic, which takes half a second to
import, is needed only when there is something to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection, Engine, MetaData, inspect, text

from bot.errors import RecordsError

MIGRATIONS = Path(__file__).with_name("migrations")

_LOCK = 7_425_317_001
"""Who holds this advisory lock migrates; any number that no other program uses will do."""

_MIGRATING = Lock()
"""Alembic serves one thread at a time."""


def newest_revision() -> str:
    """The revision that this code works with."""
    return max(_revisions())


def revision_of(connection: Connection) -> str | None:
    """The revision of a database; nothing when no migration ever ran there."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def migrate(engine: Engine) -> None:
    """Bring a database to the newest revision, in one transaction; one process at a time.

    Raises:
        RecordsError: it was made by a newer version, or holds tables of another program.
    """
    with engine.connect() as connection:
        revision = revision_of(connection)
    if revision == newest_revision():
        return
    if revision is not None and revision not in _revisions():
        raise RecordsError(
            f"The records were written by a newer version of Triptych (schema {revision}, "
            f"this one knows {newest_revision()}).",
            cure="Update Triptych, or give it other records.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _MIGRATING, _alone(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def metadata() -> MetaData:
    """Every table as the code declares it."""
    from bot.records import conversations, documents, examples, identity, models, postings  # noqa: F401
    from bot.records.database import Table

    return Table.metadata


def _revisions() -> set[str]:
    return {path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")}


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that no other process migrates beside; closed at the end."""
    with engine.connect() as connection:
        connection.detach()
        if engine.dialect.name == "sqlite":
            # Or dropping a table that was copied would delete the rows that refer to it.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        yield connection
        connection.commit()
