"""Records in PostgreSQL: how it is reached, and what goes wrong with it, in a sentence.

The address holds a password, so neither it nor any part of a malformed one is ever repeated:
people read "PostgreSQL database NAME at HOST:PORT".
"""

from __future__ import annotations

import json
import re
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError

from bot.errors import RecordsError

FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"

# A server or a network that falls silent must not hold a page for ever.
_DEFAULTS = {
    "application_name": "triptych",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def parsed(address: str) -> URL:
    """A URL from what stands in DATABASE_URL, with the password in its place.

    Raises:
        RecordsError: it is not the address of a PostgreSQL database.
    """
    try:
        url = make_url(address.strip())
        # Both libpq's own form and a password with a bare "@" would put it where it is shown.
        sound = not isinstance(url.query.get("password"), tuple) and "@" not in (url.host or "")
    except (ArgumentError, ValueError):
        sound = False
    if not sound:
        raise RecordsError(
            "DATABASE_URL is not the address of a database.",
            cure=f"Write it as {FORM}, with special characters of the password as %XX.",
        )
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise RecordsError(
            "DATABASE_URL does not name a PostgreSQL database.",
            cure=f"Write it as {FORM}, or leave it empty for a file in the data directory.",
        )
    if password := url.query.get("password"):
        url = url.difference_update_query(["password"]).set(password=str(password))
    return url.set(drivername="postgresql+psycopg")


def connect(url: URL, json_serializer: Any = json.dumps) -> Engine:
    """An engine for a database; what fails there is raised as `RecordsError`.

    A connection is tried before it is used, so a server that was started again is found again.
    """
    wanted = {name: value for name, value in _DEFAULTS.items() if name not in url.query}
    engine = create_engine(
        url,
        connect_args=wanted,
        pool_pre_ping=True,
        hide_parameters=True,
        json_serializer=json_serializer,
    )
    where = title(url)

    @event.listens_for(engine, "handle_error")
    def _translate(context: ExceptionContext) -> None:
        if not context.is_pre_ping:
            raise _error(where, context.original_exception)

    return engine


def title(url: URL) -> str:
    """How a database is called where people read it: without user and password."""
    host = f"{url.host or 'localhost'}:{url.port or 5432}"
    return f"PostgreSQL database {url.database or ''} at {host}".replace("  ", " ")


def _error(where: str, error: BaseException) -> RecordsError:
    from psycopg import InterfaceError, OperationalError

    if isinstance(error, OperationalError | InterfaceError):
        return RecordsError(
            f"The {where} cannot be used: {_reason(error)}.",
            cure="Check that the server runs, and the address, user, password and database "
            "in DATABASE_URL.",
        )
    return RecordsError(
        f"The {where} refused a request: {_reason(error)}.",
        cure="Check that Triptych's user owns its database, then try again.",
    )


def _reason(error: BaseException) -> str:
    """What the server said, from the first line that says it."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = next((line for line in lines if "failed: " in line), lines[0])
    said = said.rpartition("failed: ")[2]
    return re.sub(r"^(FATAL|ERROR):\s+", "", said).strip().rstrip(".")
