"""The chat page without a browser: Streamlit's own test harness over a scripted model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bot.services import Services
from bot.settings import read_settings
from bot.testing import ScriptedModel
from tests.scripted_services import scripted_services

PageOver = Callable[..., tuple[AppTest, Services]]


def show_chat(services) -> None:  # type: ignore[no-untyped-def]
    """What `AppTest` runs; it is taken out of its module, so it imports for itself."""
    from bot.ui import chat

    chat.page(services)


@pytest.fixture
def page_over(tmp_path: Path) -> Iterator[PageOver]:
    """Opens the chat page over scripted models, and closes all at the end."""
    with ExitStack() as stack:

        def open_page(*models: ScriptedModel) -> tuple[AppTest, Services]:
            for model in models:
                stack.enter_context(model)
            settings = read_settings(data_dir=tmp_path / "data", knowledge_dir=tmp_path / "docs")
            services = scripted_services(settings, *models)
            stack.callback(services.close)
            page = AppTest.from_function(show_chat, args=(services,), default_timeout=20)
            return page.run(), services

        yield open_page


@pytest.fixture(autouse=True)
def _main_stays_main() -> Iterator[None]:
    """`AppTest` leaves its script behind as the main module, which a child process would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main
