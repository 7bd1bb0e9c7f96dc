"""The app as a process, and a real Chromium that looks at it.

`app` is Triptych as it ships, on a temporary data directory and a copy of the sample documents.
`scripted_app` is the same page over a model that plays a script, for what must happen in an
exact order. Both are started once and their logs must not hold a traceback.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.visiting import RunningApp, Visitor, watch

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
_BROWSER_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Uncaught app", re.IGNORECASE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """Triptych as it ships, with the embedded model, the sample documents and its adapter."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(ROOT / "knowledge", folder / "knowledge")
    shutil.copytree(ROOT / "adapters", folder / "adapters")
    adapters = {"TRIPTYCH_ADAPTERS_DIR": str(folder / "adapters")}
    with running_app(ROOT / "app.py", folder, **adapters) as running:
        yield running


@pytest.fixture(scope="session")
def scripted_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The same page over a scripted model (see `scripted_app.py` for its script)."""
    folder = tmp_path_factory.mktemp("scripted")
    (folder / "knowledge").mkdir()
    with running_app(Path(__file__).with_name("scripted_app.py"), folder) as running:
        yield running


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver. A condition may take its time on a busy machine."""
    expect.set_options(timeout=20_000)
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium when there is one, else Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    launched = playwright.chromium.launch(executable_path=found, args=_BROWSER_ARGUMENTS)
    yield launched
    launched.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """What all visitors share: the browser's cache, as with somebody who comes back."""
    opened = browser.new_context(
        viewport={"width": 1300, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    opened.set_default_timeout(20_000)
    yield opened
    opened.close()


@pytest.fixture
def visitor(context: BrowserContext) -> Iterator[Visitor]:
    """A fresh visitor at 1300 × 900; at the end, nothing may have been asked for outside and
    the console must be clean."""
    visitor = Visitor(context.new_page())
    watch(visitor)
    yield visitor
    visitor.page.close()
    assert visitor.outside == []
    assert visitor.complaints == []


@pytest.fixture
def page(visitor: Visitor) -> Page:
    """The page of a fresh visitor."""
    return visitor.page


@contextmanager
def running_app(script: Path, folder: Path, **variables: str) -> Iterator[RunningApp]:
    """A script of ours under ``streamlit run``; at the end its log holds no traceback.

    Args:
        variables: of the environment, besides those of the folders.
    """
    port = _free_port()
    log = folder / "log.txt"
    running = RunningApp(f"http://127.0.0.1:{port}", folder / "data", folder / "knowledge", log)
    environment = {
        **os.environ,
        "TRIPTYCH_DATA_DIR": str(running.data_dir),
        "TRIPTYCH_KNOWLEDGE_DIR": str(running.knowledge_dir),
        "TRIPTYCH_ADAPTERS_DIR": str(ROOT / "adapters"),
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_healthy(running, process)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    written = log.read_text(encoding="utf-8", errors="replace")
    assert not _TRACEBACK.search(written), written


def _wait_until_healthy(app: RunningApp, process: subprocess.Popen[bytes]) -> None:
    transport = httpx.HTTPTransport(retries=0)
    with httpx.Client(transport=transport, timeout=2) as client:
        for _ in range(START_SECONDS * 10):
            if process.poll() is not None:
                raise RuntimeError(f"The app ended early:\n{app.log.read_text()}")
            try:
                if client.get(f"{app.url}/_stcore/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            with _timeout_ignored():
                process.wait(0.1)
    raise RuntimeError(f"The app did not become healthy:\n{app.log.read_text()}")


@contextmanager
def _timeout_ignored() -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired:
        return


def _free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
