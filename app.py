"""Triptych in the browser: ``streamlit run app.py``.

The composition root: settings → services → pages. The pages are in `bot/ui`; this file only
says what they stand on and guards every response.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from streamlit.starlette import App

from bot.logs import log_on_one_line
from bot.ui import house
from bot.ui.security import OwnOrigin, SecurityHeaders, server_error

if TYPE_CHECKING:
    from bot.services import Services


def build() -> Services:
    """The services by the settings; imported here, while the browser is loading the page."""
    from bot.services import open_services
    from bot.settings import read_settings

    return open_services(
        read_settings(), secrets=house.secrets(), app_port=int(st.get_option("server.port"))
    )


house.build_with(build)
log_on_one_line("%(asctime)s %(levelname)s %(name)s: %(message)s")


@asynccontextmanager
async def lifespan(_app: App) -> AsyncGenerator[None, None]:
    """Open the services before the first visitor comes, and close them after the last."""
    house.open_early()
    yield
    house.close()


app = App(
    Path(__file__).parent / "bot" / "ui" / "main.py",
    lifespan=lifespan,
    middleware=[
        Middleware(SecurityHeaders),
        Middleware(
            TrustedHostMiddleware,
            allowed_hosts=list(st.get_option("server.allowedHosts")) or ["*"],
            www_redirect=False,
        ),
        Middleware(OwnOrigin),
    ],
    exception_handlers={Exception: server_error},
)
