"""Locks that processes and machines agree on, and what they tell about who is alive."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine

from bot.records.database import open_database
from bot.records.locks import RecordsLock
from bot.records.owners import Owner, is_alive
from bot.settings import ROOT
from tests.postgres import Postgres, on_both, on_postgres


@pytest.fixture
def engine(where: Path | str) -> Iterator[Engine]:
    engine = open_database(where)
    yield engine
    engine.dispose()


@on_both
def test_a_lock_has_one_holder(engine: Engine) -> None:
    one, other = RecordsLock(engine, "library"), RecordsLock(engine, "library")
    another = RecordsLock(engine, "another")
    assert one.acquire(0)
    assert not other.acquire(0)
    assert not other.acquire(0.05)
    assert another.acquire(0)
    one.release()
    assert other.acquire(0)
    other.release()
    another.release()


@on_both
def test_who_waits_for_a_lock_gets_it_when_it_is_free(engine: Engine) -> None:
    one, other = RecordsLock(engine, "library"), RecordsLock(engine, "library")
    assert one.acquire(0)
    got: list[bool] = []
    waiting = Thread(target=lambda: got.append(other.acquire(30)))
    waiting.start()
    one.release()
    waiting.join()
    assert got == [True]
    other.release()


@on_both
def test_an_owner_is_alive_until_it_lets_go(engine: Engine, tmp_path: Path) -> None:
    owner, other = Owner(engine), Owner(engine)
    owner.renew()
    assert is_alive(engine, owner.name) and is_alive(engine, other.name)
    owner.release()
    assert not is_alive(engine, owner.name)
    assert is_alive(engine, other.name)
    other.release()
    assert not is_alive(engine, "never there")
    assert not [path for path in tmp_path.rglob("*") if path.parent.name == "owners"]


@on_both
def test_an_owner_that_is_killed_is_gone(engine: Engine, where: Path | str) -> None:
    code = (
        "import sys; from pathlib import Path; from bot.records.database import open_database\n"
        "from bot.records.owners import Owner\n"
        "where = sys.argv[1]\n"
        "owner = Owner(open_database(where if ':' in where else Path(where)))\n"
        "print(owner.name, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(where)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    name = process.stdout.readline().strip()
    assert is_alive(engine, name)
    process.kill()
    process.communicate()
    # The server notices the closed connection by itself; waiting for its lock awaits that.
    lock = RecordsLock(engine, f"owners/{name}")
    assert lock.acquire(30)
    lock.release()
    assert not is_alive(engine, name)


@on_postgres
def test_an_owner_lives_on_when_the_server_was_started_again(
    engine: Engine, postgres: Postgres
) -> None:
    owner = Owner(engine)
    postgres.stop()
    postgres.start()
    assert not is_alive(engine, owner.name)
    owner.renew()
    assert is_alive(engine, owner.name)
    owner.release()
    assert not is_alive(engine, owner.name)
