"""The schema of the records: migrations from nothing and from what was there before."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, make_url

from bot.errors import RecordsError
from bot.records import conversations, documents, schema
from bot.records.database import open_database
from bot.settings import ROOT
from tests.postgres import Postgres

WRITTEN_BY_0_1_0 = Path(__file__).with_name("written_by_0_1_0.sql")
INSERT = re.compile(r"^INSERT .*;$", re.MULTILINE)

COPY_A_TABLE = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = {before!r}

def upgrade():
    with op.batch_alter_table("conversations", recreate="always") as table:
        table.add_column(sa.Column("starred", sa.Boolean, server_default=sa.false()))
    {then}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "triptych.db"


@pytest.fixture
def old(path: Path) -> Path:
    """A database file that version 0.1.0 wrote, before there were migrations."""
    with sqlite3.connect(path) as connection:
        connection.executescript(WRITTEN_BY_0_1_0.read_text(encoding="utf-8"))
    connection.close()
    return path


def revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return schema.revision_of(connection)


def postgres_engine(postgres: Postgres, *, schema_of: str) -> Engine:
    """A new database with the schema of some revision."""
    url = make_url(postgres.create()).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, schema_of)
        connection.commit()
    return engine


def booleans(statement: str) -> str:
    """SQLite's 0 for `off_topic` as PostgreSQL writes it."""
    return statement.replace("'[]',0,'[", "'[]',false,'[")


def differences(engine: Engine) -> list[object]:
    """What is otherwise in the database than in the code."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        return list(compare_metadata(context, schema.metadata()))


def later(monkeypatch: pytest.MonkeyPatch, folder: Path, then: str = "") -> None:
    """Let there be one more migration, which copies the table of conversations."""
    before = schema.newest_revision()
    shutil.copytree(schema.MIGRATIONS, folder)
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    migration = COPY_A_TABLE.format(before=before, then=then)
    (folder / "versions" / "9999_later.py").write_text(migration)


def test_there_is_one_newest_revision_and_files_are_named_after_theirs() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.newest_revision()]
    names = {Path(script.path).name[:4]: script.revision for script in scripts.walk_revisions()}
    assert all(name == known for name, known in names.items())


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_an_empty_database_gets_the_tables_that_the_code_declares(
    where: str, path: Path, request: pytest.FixtureRequest
) -> None:
    empty = path if where == "sqlite" else request.getfixturevalue("postgres").create()
    engine = open_database(empty)
    assert differences(engine) == []
    assert revision(engine) == schema.newest_revision()
    engine.dispose()


def test_a_postgresql_database_is_brought_up_to_date_with_its_rows(postgres: Postgres) -> None:
    engine = postgres_engine(postgres, schema_of="0001")
    with engine.begin() as connection:
        # The order of the rows is that of the tables' names.
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in INSERT.findall(WRITTEN_BY_0_1_0.read_text(encoding="utf-8")):
            connection.exec_driver_sql(booleans(statement).replace("%", "%%"))
        # As if it were made without migrations.
        connection.exec_driver_sql("DROP TABLE alembic_version")
    schema.migrate(engine)
    assert differences(engine) == []
    (turn,) = conversations.turns(engine, "c1")
    assert [one.text for one in turn.answers] == ["It’s 1,450 pounds.", ""]
    assert documents.stored_documents(engine)[0].modified_ns == 1_700_000_000_123_456_789
    engine.dispose()


@pytest.mark.parametrize("where", ["sqlite", "postgresql"], indirect=True)
def test_the_newest_migration_leads_back_and_forth(where: Path | str) -> None:
    engine = open_database(where)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
        connection.commit()
    assert revision(engine) != schema.newest_revision()
    schema.migrate(engine)
    assert differences(engine) == []
    engine.dispose()


def test_what_is_newer_or_of_others_in_postgresql_is_left_alone(postgres: Postgres) -> None:
    url = postgres.create()
    name = url.rpartition("/")[2]
    postgres.execute("CREATE TABLE documents (id INTEGER PRIMARY KEY)", name)
    with pytest.raises(RecordsError, match="of another program"):
        open_database(url)
    postgres.execute("DROP TABLE documents", name)
    open_database(url).dispose()
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", name)
    with pytest.raises(RecordsError, match="newer version of Triptych"):
        open_database(url)


def test_a_database_without_migrations_is_taken_over_with_its_rows(old: Path) -> None:
    engine = open_database(old)
    assert differences(engine) == []
    assert revision(engine) == schema.newest_revision()
    (turn,) = conversations.turns(engine, "c1")
    assert turn.question == "What does the Heron 5 cost?"
    assert [(one.status, one.text, one.vote) for one in turn.answers] == [
        ("complete", "It’s 1,450 pounds.", 1),
        ("queued", "", 0),
    ]
    assert {(one.model, one.model_title) for one in turn.answers} == {
        ("embedded", "SmolLM2-135M-Instruct")
    }
    assert [one.name for one in documents.stored_documents(engine)] == ["rules.md"]
    assert list(documents.searchable_passages(engine, ["s1-0000"])) == ["s1-0000"]
    engine.dispose()


def test_missing_tables_of_such_a_database_are_made(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("DROP TABLE keyword_lengths")
    connection.close()
    engine = open_database(old)
    assert differences(engine) == []
    engine.dispose()


def test_copying_a_table_keeps_the_rows_that_refer_to_it(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, tmp_path / "migrations")
    engine = open_database(old)
    assert revision(engine) == "9999"
    assert len(conversations.turns(engine, "c1")[0].answers) == 2
    conversations.delete_conversation(engine, "c1")
    assert conversations.turns(engine, "c1") == []
    engine.dispose()


def test_a_migration_that_fails_leaves_everything_as_it_was(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()
    with monkeypatch.context() as patch:
        later(patch, tmp_path / "migrations", then="op.execute('SELECT nothing')")
        with pytest.raises(RecordsError, match="cannot be opened"):
            open_database(old)
    assert old.read_bytes() == before
    engine = open_database(old)
    assert len(conversations.turns(engine, "c1")) == 1
    engine.dispose()


def test_records_of_a_newer_version_are_left_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        later(patch, tmp_path / "migrations")
        open_database(path).dispose()
    before = path.read_bytes()
    with pytest.raises(RecordsError, match="newer version of Triptych") as failure:
        open_database(path)
    assert "Update Triptych" in failure.value.cure
    assert path.read_bytes() == before


def test_tables_of_another_program_are_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE documents (id INTEGER PRIMARY KEY, body TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RecordsError, match="table documents of another program"):
        open_database(path)
    assert path.read_bytes() == before


def test_processes_that_open_new_records_at_once_do_not_clash(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bot.records.database import open_database\n"
        "sys.stdin.readline(); open_database(Path(sys.argv[1])).dispose(); print('opened')"
    )
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for opener in openers:
        assert opener.stdin
        opener.stdin.write("now\n")
        opener.stdin.flush()
    assert [opener.communicate()[0].strip() for opener in openers] == ["opened"] * 2
    engine = open_database(path)
    assert differences(engine) == []
    engine.dispose()


def test_fingerprints_of_old_answers_have_the_names_of_today(old: Path) -> None:
    mark = '{"weights_sha256": "w", "adapter_sha256": null, "seed": 7}'
    with sqlite3.connect(old) as connection:
        connection.execute("UPDATE answers SET fingerprint = ? WHERE id = 'a1'", [mark])
    connection.close()
    engine = open_database(old)
    first, second = conversations.turns(engine, "c1")[0].answers
    assert (first.fingerprint, second.fingerprint) == (
        {"weights": "w", "adapter": None, "seed": 7},
        None,
    )
    assert (first.cost, second.cost) == (0.0, None)
    engine.dispose()
