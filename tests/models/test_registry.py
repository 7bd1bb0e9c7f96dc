"""The models to choose from: named in the settings or added on the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from bot.errors import ModelUnavailable
from bot.models.hub import Hub
from bot.models.keys import Keys
from bot.models.names import Workshop
from bot.models.registry import Models
from bot.records.database import open_database
from bot.records.models import ModelRecord
from bot.servers import Servers
from bot.testing import Reply, ScriptedModel


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_database(tmp_path / "records.db")


def catalogue(
    engine: Engine, tmp_path: Path, *names: str, variables: dict[str, str] | None = None
) -> Models:
    workshop = Workshop(
        servers=Servers(tmp_path),
        keys=Keys(variables or {}),
        context_tokens=1024,
        threads=1,
        remote_context_tokens=6000,
        hub=Hub(tmp_path / "hub", "http://127.0.0.1:9"),
    )
    main, *others = names
    return Models(main, others, workshop.make, workshop.make_added, engine)


def test_names_of_the_settings_come_first_and_once(engine: Engine, tmp_path: Path) -> None:
    models = catalogue(engine, tmp_path, "openai:b", "embedded", "openai:b")
    models.add(ModelRecord(name="alpha", base_url="http://127.0.0.1:1/v1", model="a"))

    assert models.main == "openai:b"
    assert models.names() == ["openai:b", "embedded", "alpha"]
    assert models.get("openai:b") is models.get("openai:b")


def test_an_unknown_name_is_refused_in_words(engine: Engine, tmp_path: Path) -> None:
    models = catalogue(engine, tmp_path, "embedded", "nonsense")

    with pytest.raises(ModelUnavailable, match=r"no model named other.*embedded, nonsense"):
        models.get("other")
    with pytest.raises(ModelUnavailable, match="does not say which model"):
        models.get("nonsense")


def test_a_model_of_the_page_can_be_added_changed_and_removed(
    engine: Engine, tmp_path: Path
) -> None:
    models = catalogue(engine, tmp_path, "embedded")
    record = ModelRecord(
        name="mine",
        base_url="http://127.0.0.1:9/v1",
        model="m",
        context_tokens=2048,
        prompt_price_per_million=1.0,
        answer_price_per_million=2.0,
        passages=3,
    )
    models.add(record)
    added = models.get("mine")

    assert models.added() == [record]
    assert (added.title, added.profile.context_tokens, added.profile.passages) == ("mine", 2048, 3)
    assert added.profile.cost(1_000_000, 500_000) == pytest.approx(2.0)
    assert added.identity == "m@127.0.0.1:9"

    models.add(ModelRecord(name="mine", base_url="http://127.0.0.1:9/v1", model="other"))
    assert models.get("mine").identity == "other@127.0.0.1:9"
    assert models.get("mine").profile.cost(1, 1) is None

    models.remove("mine")
    assert models.names() == ["embedded"]
    with pytest.raises(ModelUnavailable):
        models.remove("mine")
    with pytest.raises(ModelUnavailable, match="settings"):
        models.add(ModelRecord(name="embedded", base_url="http://127.0.0.1:9/v1", model="m"))


def test_hello_to_a_model_that_answers(engine: Engine, tmp_path: Path) -> None:
    with ScriptedModel(always=Reply("Hello there.")) as server:
        endpoint = server.endpoint()
        variables = {"OPENAI_BASE_URL": endpoint.base_url, "OPENAI_API_KEY": endpoint.key}
        models = catalogue(engine, tmp_path, "openai:scripted", variables=variables)
        status = models.check("openai:scripted")

    assert status.reachable
    assert "Hello there." in status.detail
    assert status.context_tokens == 4096  # as its server says
    assert status.seconds > 0


def test_hello_to_nobody_is_told_not_raised(engine: Engine, tmp_path: Path) -> None:
    models = catalogue(
        engine,
        tmp_path,
        "openai:gone",
        variables={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
    )
    status = models.check("openai:gone")

    assert not status.reachable
    assert "not running" in status.detail
    assert not models.check("unknown").reachable
