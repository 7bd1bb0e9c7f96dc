"""Records in PostgreSQL, and what a person reads when it fails. The password is never in it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bot.errors import RecordsError
from bot.records import conversations, documents
from bot.records.database import open_database, storable, title
from bot.records.documents import StoredDocument, StoredPassage
from tests.postgres import PASSWORD, QUOTED_PASSWORD, Postgres, on_both, on_postgres

DOCUMENT = StoredDocument("a.md", "s1", "A", "md", 5_000_000_000, 2**62, "1", "ready")


@pytest.fixture
def engine(where: str) -> Iterator[Engine]:
    engine = open_database(where)
    yield engine
    engine.dispose()


def failure(url: str) -> RecordsError:
    """What opening says; nothing in it, its causes or its traceback tells a password."""
    with pytest.raises(RecordsError) as caught:
        open_database(url)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    for secret in (PASSWORD, QUOTED_PASSWORD, "wrong-one"):
        assert secret not in told
    return caught.value


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (QUOTED_PASSWORD, "wrong-one", "password authentication failed"),
        ("triptych:", "nobody:", "password authentication failed"),
        ("/postgres", "/nothing", 'database "nothing" does not exist'),
        ("127.0.0.1", "nowhere.invalid", "failed to resolve host"),
        ("/postgres", "/postgres?sslmode=require", "does not support SSL"),
        ("/postgres", "/postgres?password=wrong-one", "password authentication failed"),
    ],
)
def test_a_wrong_address_is_told_in_a_sentence(
    postgres: Postgres, before: str, after: str, reason: str
) -> None:
    error = failure(postgres.url().replace(before, after))
    assert reason in error.message
    assert "DATABASE_URL" in error.cure
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "address",
    [
        "nonsense wrong-one",
        "postgresql://u:wrong-one@host:port/x",
        "postgresql://u:wrong-one@wrong-one@host/x",
        "postgresql://u:wrong-one@[::1/x",
        "mysql://u:wrong-one@host/x",
        "sqlite:///x?password=wrong-one",
    ],
)
def test_what_is_no_address_is_not_repeated(address: str) -> None:
    assert "DATABASE_URL" in failure(address).message


@on_postgres
def test_a_server_that_is_away_is_told_and_found_again(
    engine: Engine, postgres: Postgres, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    documents.save_document(engine, DOCUMENT)
    postgres.stop()
    for use in (documents.stored_documents, conversations.conversations):
        with pytest.raises(RecordsError, match="cannot be used"):
            use(engine)  # type: ignore[operator]
    assert "Connection refused" in failure(where).message
    postgres.start()
    assert documents.stored_documents(engine) == [DOCUMENT]
    assert QUOTED_PASSWORD not in caplog.text and PASSWORD not in caplog.text


@on_postgres
def test_a_user_who_may_not_make_tables_is_told(postgres: Postgres, where: str) -> None:
    postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'wrong-one'")
    empty = postgres.create()
    error = failure(empty.replace(f"triptych:{QUOTED_PASSWORD}", "reader:wrong-one"))
    assert "permission denied" in error.message


@on_postgres
def test_the_records_are_called_by_address_and_name(engine: Engine, postgres: Postgres) -> None:
    name = str(engine.url.database)
    assert title(engine) == f"PostgreSQL database {name} at 127.0.0.1:{postgres.port}"


@on_both
def test_every_text_can_be_kept(engine: Engine) -> None:
    documents.save_document(engine, replace(DOCUMENT, title="NUL \0, half \ud83d, whole 🔥"))
    (found,) = documents.stored_documents(engine)
    assert found.title == "NUL �, half �, whole 🔥"
    conversations.add_turn(
        engine,
        conversation_id="c",
        title="t",
        turn_id="t",
        question="q\0",
        answers=[conversations.NewAnswer("a", "prompt", "embedded", "SmolLM2")],
        owner="me",
    )
    evidence = [{"quote": "NUL \0, half \udc00, whole 🔥"}]
    conversations.update_answer(engine, "a", {"evidence": evidence})
    (turn,) = conversations.turns(engine, "c")
    assert turn.answers[0].evidence == [{"quote": "NUL \0, half �, whole 🔥"}]


def test_halves_that_belong_together_are_one_character() -> None:
    assert storable("\ud83d\udd25") == "🔥"
    assert storable("plain") == "plain"


@on_both
def test_names_are_ordered_by_their_letters_codes(engine: Engine) -> None:
    for name in ("b.md", "B.md", "a b.md", "a-c.md", "É.md", "ab.md"):
        documents.save_document(engine, replace(DOCUMENT, name=name))
    names = [one.name for one in documents.stored_documents(engine)]
    assert names == sorted(names)


@on_both
def test_many_passages_are_written_and_read(engine: Engine) -> None:
    documents.save_document(engine, DOCUMENT)
    many = [StoredPassage(f"{n:06d}", "s1", "a.md", "A", "", n, n, "x") for n in range(3000)]
    documents.save_passages(engine, many)
    assert documents.passages_of(engine, "s1") == many
    assert len(documents.searchable_passages(engine, [one.id for one in many])) == 3000
