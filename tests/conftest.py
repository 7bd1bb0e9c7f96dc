"""What several test rooms share: the real services over a copy of the sample."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from bot.services import Services, open_services
from bot.settings import ROOT, Settings, read_settings


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
