"""The scripted page over a server that lists its adapters once a file `listed` is in the data
folder."""

from __future__ import annotations

import time
from dataclasses import dataclass

from streamlit.starlette import App

from bot.services import Services
from bot.settings import ROOT, read_settings
from bot.testing import ScriptedModel
from bot.ui import house
from tests.scripted_services import ScriptedServices, scripted_services

PATIENCE_SECONDS = 60.0


@dataclass
class SlowServices(ScriptedServices):
    """Services of which the adapters are not known for a while."""

    def adapter_choices(self, model_name: str) -> list[str]:
        given_up = time.monotonic() + PATIENCE_SECONDS
        while not (self.settings.data_dir / "listed").exists() and time.monotonic() < given_up:
            time.sleep(0.02)
        return super().adapter_choices(model_name)


def build() -> Services:
    """Services over a model that answers everything."""
    model = ScriptedModel.talkative()
    model.__enter__()  # it serves as long as the process lives
    scripted = scripted_services(read_settings(), model)
    return SlowServices(**vars(scripted))


house.build_with(build)

app = App(ROOT / "bot" / "ui" / "main.py")
