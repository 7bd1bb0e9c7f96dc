"""What several test rooms share: the real services over a copy of the sample."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from bot.records.database import open_database
from bot.services import Services, open_services
from bot.settings import ROOT, Settings, read_settings
from tests.postgres import Postgres, programs

# Whoever works on Triptych may have set these for records that matter.
os.environ |= {"DATABASE_URL": "", "TRIPTYCH_CHROMA_URL": "", "TRIPTYCH_CHROMA_TOKEN": ""}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses the real services is an integration test; the quick tests come first.

    The browser's come last for another reason, too: its driver keeps an event loop running in
    this thread, beside which no other can be started.
    """
    for item in items:
        if "services" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)

    def cost(item: pytest.Item) -> tuple[bool, bool]:
        in_browser = "browser" in item.path.relative_to(ROOT).parts
        return in_browser, item.get_closest_marker("integration") is not None

    items.sort(key=cost)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with a database `empty` in which only migrations have been."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    server = Postgres(found)
    server.execute("CREATE DATABASE empty")
    open_database(server.url("empty")).dispose()
    yield server
    server.remove()


@pytest.fixture
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where new records may lie: a file, or with `on_both` also a database of PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return tmp_path / "triptych.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create(template="empty")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A report that every encoding can hold: a process of tests sends it to the one that prints."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a data directory of its own, with a copy of the sample documents."""
    folder = tmp_path_factory.mktemp("triptych")
    shutil.copytree(ROOT / "knowledge", folder / "knowledge")
    return read_settings(data_dir=folder / "data", knowledge_dir=folder / "knowledge")


@pytest.fixture(scope="session")
def services(settings: Settings) -> Iterator[Services]:
    """The real services: model, embedder and vector server, with the sample indexed."""
    services = open_services(settings)
    services.sync()
    assert services.indexing.wait(timeout_seconds=240)
    assert not services.indexing.error
    yield services
    services.close()
