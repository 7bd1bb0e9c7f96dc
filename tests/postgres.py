"""A PostgreSQL server of the tests' own, from the programs that are installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

USER = "triptych"
PASSWORD = "se:kr@t/7%"
"""With characters that a URL has to escape."""

QUOTED_PASSWORD = "se%3Akr%40t%2F7%25"

# Nothing here outlives the tests, so nothing waits for a disk.
_OPTIONS = (
    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
    *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
    *("-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "autovacuum=off"),
)


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; nothing when it is not installed."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(versions, key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


on_both = pytest.mark.parametrize("where", ["sqlite", "postgresql"], indirect=True)
"""Tests that are to hold for the records in SQLite and in PostgreSQL."""

on_postgres = pytest.mark.parametrize("where", ["postgresql"], indirect=True)


class Postgres:
    """A server on loopback, in a folder that is removed with it.

    Its language sorts "b" before "C" and ignores punctuation, as servers in offices do.

    Args:
        programs: where `initdb` and `postgres` are.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="triptych-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (self._folder / "log").open("ab")
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if self._user:
            shutil.chown(self._folder, self._user)
            shutil.chown(password, self._user)
        self._run(
            *("initdb", "--pgdata", str(self._folder / "data"), "--username", USER),
            *("--pwfile", str(password), "--auth", "scram-sha-256", "--no-sync"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8"),
            *("--locale-provider", "icu", "--icu-locale", "en"),
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.start()

    def url(self, database: str = "postgres") -> str:
        """How to reach a database."""
        return f"postgresql://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, or start it again, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(str(self._programs / "postgres"), "-D", str(self._folder / "data")),
                *("-p", str(self.port), *_OPTIONS),
            ],
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                log = (self._folder / "log").read_text(errors="replace")
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)

    def stop(self, *, tidily: bool = True) -> None:
        """Stop the server: whoever is connected loses the connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if tidily else signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop the server and delete what it stored."""
        self.stop(tidily=False)
        self._log.close()
        shutil.rmtree(self._folder)

    def create(self, *, template: str = "template1") -> str:
        """Make a database and say how to reach it."""
        name = f"t{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the server's owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _run(self, program: str, *arguments: str) -> None:
        ran = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout
