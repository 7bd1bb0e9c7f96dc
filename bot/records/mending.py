"""A damaged SQLite file: set aside under a dated name, with all that can be read of it kept.

Documents, passages and keywords are not copied: they are read again from the knowledge folder.
Everything else is, row by row, as far as it can be read.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from filelock import FileLock
from sqlalchemy import JSON, Column, Engine, event
from sqlalchemy import Table as TableOf
from sqlalchemy.exc import DisconnectionError

from bot.damage import aside, is_full, leave_note
from bot.errors import RecordsError

logger = logging.getLogger(__name__)

CHECKED_AT_ONCE_BYTES = 64_000_000
"""A larger file is checked in the background: reading it whole takes more than a moment."""

REBUILT = ("bot.records.documents", "bot.records.postings")
"""The modules whose tables are made again from the knowledge folder."""

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass
class Watch:
    """What is known about the file of an engine while it is in use."""

    path: Path
    suspect: bool = False
    on_mended: Callable[[], object] | None = None
    lock: Lock = field(default_factory=Lock)


_WATCHES: WeakKeyDictionary[Engine, Watch] = WeakKeyDictionary()


def watch(engine: Engine, path: Path) -> None:
    """From now on mend the file when it turns out to be damaged, and follow its replacement:
    a connection to a file that was set aside, by this process or another, is not used again."""
    _WATCHES[engine] = Watch(path)

    @event.listens_for(engine, "connect")
    def _remember(_connection: Any, record: Any) -> None:
        record.info["file"] = _file(path)

    @event.listens_for(engine, "checkout")
    def _compare(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("file") != _file(path):
            raise DisconnectionError("the file was replaced")


def when_mended(engine: Engine, work: Callable[[], object]) -> None:
    """Do something whenever the file of these records was replaced while in use."""
    if (watched := _WATCHES.get(engine)) is not None:
        watched.on_mended = work


def suspect(engine: Engine) -> None:
    """The file seems to be damaged: it is examined before it is used again."""
    if (watched := _WATCHES.get(engine)) is not None:
        watched.suspect = True


def before_use(engine: Engine) -> None:
    """Mend a file that is suspected of damage, or that is gone.

    Raises:
        RecordsError: it is damaged, and there is no room to mend it.
    """
    watched = _WATCHES.get(engine)
    if watched is None or not (watched.suspect or _size_bytes(watched.path) == 0):
        return
    with watched.lock:
        mended = _mended_in_use(engine, watched)
    if mended and watched.on_mended is not None:
        watched.on_mended()


def _mended_in_use(engine: Engine, watched: Watch) -> bool:
    from bot.records.database import open_database

    if _size_bytes(watched.path) == 0:
        engine.dispose()
        open_database(watched.path).dispose()  # which tells what happened
        return True
    if not watched.suspect:
        return False
    engine.dispose()
    mended = mend(watched.path, thorough=True)
    watched.suspect = False
    return mended is not None


def examine(engine: Engine) -> None:
    """Read a file that was too large to be checked when it was opened."""
    watched = _WATCHES.get(engine)
    if watched is not None and _size_bytes(watched.path) > CHECKED_AT_ONCE_BYTES:
        watched.suspect = bool(damage_of(watched.path))
        before_use(engine)


def mend(path: Path, *, thorough: bool = False) -> Path | None:
    """Replace a damaged file by one with all that can be read of it, and leave a note.

    Args:
        path: the file; one that is not there is passed over.
        thorough: also read every row, not only the structure.

    Returns:
        Where the damaged file lies now; None when it was not damaged.

    Raises:
        RecordsError: it is damaged, and there is no room to mend it; it stays as it is.
    """
    with FileLock(path.with_name(f"{path.name}.lock")):
        if _is_missing(path):
            leave_note(
                aside(path),
                f"The records at {path} were missing or empty, so new ones were begun. "
                "The documents are read again from the knowledge folder.",
            )
            return None
        damage = damage_of(path, thorough=thorough)
        if not damage:
            return None
        fresh = path.with_name(f"{path.name}.fresh")
        try:
            kept = _salvage(path, fresh)
            place = aside(path)
            _replace(path, fresh, place)
        except (OSError, sqlite3.Error, RecordsError) as error:
            _remove(fresh)
            raise RecordsError(
                f"The records at {path} are damaged, and cannot be mended: {error}",
                cure="Make room on the disk, then try again." if is_full(path.parent) else "",
            ) from error
    leave_note(
        place,
        f"The records were damaged ({damage}). The damaged file was moved to {place}. "
        f"{_kept_in_words(kept)} The documents are read again from the knowledge folder.",
    )
    return place


def damage_of(path: Path, *, thorough: bool = False) -> str:
    """What is wrong with a file, in the words of SQLite; empty when nothing is, or when it
    cannot be told."""
    if _size_bytes(path) == 0:
        return ""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            large = _size_bytes(path) > CHECKED_AT_ONCE_BYTES
            check = "schema_version" if large and not thorough else "quick_check(1)"
            found = str(connection.execute(f"PRAGMA {check}").fetchone()[0])
            if check == "quick_check(1)" and found != "ok":
                return found.splitlines()[-1]
            return _unreadable(connection) if thorough else ""
    except sqlite3.DatabaseError as error:
        return str(error) if is_damage(error) else ""


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that the file itself is not as it was written."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        undecodable = code is None and "decode" in str(error)
        return undecodable or (code is not None and code & 0xFF in _DAMAGE)
    return isinstance(error, ValueError)  # a text or a JSON value that cannot be decoded


def _unreadable(connection: sqlite3.Connection) -> str:
    """Whether some row of what is not made again cannot be read."""
    connection.text_factory = bytes
    for table in _tables():
        for row in _rows(connection, table):
            if _decoded(table, row) is None:
                return f"a row of {table.name} cannot be read"
    return ""


def _salvage(path: Path, fresh: Path) -> dict[str, int]:
    """Make a new file with every row that can be read; how many of each table."""
    from bot.records.database import open_database

    _remove(fresh)
    open_database(fresh).dispose()
    kept: dict[str, int] = {}
    with closing(sqlite3.connect(path, timeout=30)) as old, closing(sqlite3.connect(fresh)) as new:
        old.text_factory = bytes
        for table in _tables():
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            marks = ", ".join("?" for _ in table.columns)
            insert = f'INSERT OR IGNORE INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608
            for backwards in (False, True):  # around a damaged part
                with suppress(sqlite3.DatabaseError):
                    for row in _rows(old, table, backwards=backwards):
                        if (values := _decoded(table, row)) is not None:
                            new.execute(insert, values)
                    break
        while orphans := new.execute("PRAGMA foreign_key_check").fetchall():
            for name, row_id, *_ in orphans:
                new.execute(f'DELETE FROM "{name}" WHERE rowid = ?', (row_id,))  # noqa: S608
        for table in _tables():
            counted = new.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()  # noqa: S608
            kept[table.name] = int(counted[0])
        new.commit()
    return kept


def _rows(
    connection: sqlite3.Connection, table: TableOf, *, backwards: bool = False
) -> Iterator[tuple[Any, ...]]:
    """The rows of a table in the order they were written; columns that it lacks are None."""
    there = {
        bytes(row[1]).decode() for row in connection.execute(f'PRAGMA table_info("{table.name}")')
    }
    if not there:
        return
    names = ", ".join(f'"{c.name}"' if c.name in there else "NULL" for c in table.columns)
    order = "DESC" if backwards else "ASC"
    yield from connection.execute(
        f'SELECT {names} FROM "{table.name}" NOT INDEXED ORDER BY rowid {order}'  # noqa: S608
    )


def _decoded(table: TableOf, row: tuple[Any, ...]) -> list[Any] | None:
    """A row with its texts decoded; None when it is not what was written."""
    values: list[Any] = []
    try:
        for column, value in zip(table.columns, row, strict=True):
            if value is None:  # the file may be older than the column
                value = _default(column)
            elif isinstance(value, bytes):
                value = value.decode()
                if isinstance(column.type, JSON):
                    json.loads(value)
            values.append(value)
    except ValueError:
        return None
    return values


def _default(column: Column[Any]) -> Any:
    """What a new row has in a column, when that is a plain value."""
    default: Any = column.default
    return default.arg if default is not None and default.is_scalar else None


def _tables() -> list[TableOf]:
    """The tables that are worth copying, those that are referred to first."""
    from bot.records.database import Table
    from bot.records.schema import metadata

    rebuilt = {m.local_table for m in Table.registry.mappers if m.class_.__module__ in REBUILT}
    return [table for table in metadata().sorted_tables if table not in rebuilt]


def _replace(path: Path, fresh: Path, place: Path) -> None:
    """Put the new file in the place of the old one in one step; the old one keeps another name."""
    try:
        os.link(path, place)
    except OSError:  # a file system without links
        path.rename(place)
    journal = path.with_name(f"{path.name}-journal")
    with suppress(FileNotFoundError):  # or it would be played back into the new file
        journal.rename(place.with_name(f"{place.name}-journal"))
    fresh.replace(path)


def _remove(fresh: Path) -> None:
    for path in (fresh, fresh.with_name(f"{fresh.name}-journal")):
        path.unlink(missing_ok=True)


def _is_missing(path: Path) -> bool:
    """Whether the file is gone, or without a byte, though it was in use before."""
    used_before = (path.parent / "owners").exists() or (path.parent / "library.lock").exists()
    journal = path.with_name(f"{path.name}-journal")
    return used_before and _size_bytes(path) == 0 and not journal.exists()


def _kept_in_words(kept: dict[str, int]) -> str:
    said = ", ".join(f"{count:,} {name}" for name, count in kept.items() if count)
    return f"What could be read of it was kept: {said}." if said else "Nothing of it could be read."


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _file(path: Path) -> tuple[int, int]:
    """Which file a path leads to now."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)
