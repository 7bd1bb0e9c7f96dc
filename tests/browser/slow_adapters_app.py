"""The scripted page over a server that lists its adapters once a file `listed` is in the data
folder."""

from __future__ import annotations

import time

from streamlit.starlette import App

from bot.services import Services
from bot.settings import ROOT, read_settings
from bot.testing import ScriptedModel
from bot.ui import house
from tests.scripted_services import scripted_services

PATIENCE_SECONDS = 60.0


def build() -> Services:
    """Services over a model that answers everything, and of which the adapters come late."""
    model = ScriptedModel.talkative()
    model.__enter__()  # it serves as long as the process lives
    services = scripted_services(read_settings(), model)
    listed, at_once = services.settings.data_dir / "listed", services.adapter_choices

    def late(model_name: str) -> list[str]:
        given_up = time.monotonic() + PATIENCE_SECONDS
        while not listed.exists() and time.monotonic() < given_up:
            time.sleep(0.02)
        return at_once(model_name)

    services.adapter_choices = late
    return services


house.build_with(build)

app = App(ROOT / "bot" / "ui" / "main.py")
