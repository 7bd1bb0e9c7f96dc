"""A running page and a scripted model, each a process of its own, to be measured from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import psutil

from bot.settings import ROOT

START_SECONDS = 120.0
SCRIPTED_KEY = "scripted-key"


@dataclass(frozen=True)
class Page:
    """A running app: its address and its process."""

    address: str
    process: psutil.Process

    def sessions(self) -> int:
        """How many visitors the page keeps in memory."""
        text = httpx.get(f"{self.address}/_stcore/metrics", trust_env=False).text
        found = [line for line in text.splitlines() if line.startswith("active_sessions")]
        return int(float(found[0].split()[-1])) if found else 0


@contextmanager
def scripted_model(tokens: int, tokens_per_second: float) -> Iterator[str]:
    """A model in a process of its own whose tokens are the moments in which they are sent.

    Args:
        tokens: of each answer.

    Yields:
        Its base URL.
    """
    pace = ["--tokens", str(tokens), "--tokens-per-second", str(tokens_per_second)]
    command = [sys.executable, "-m", "bot.testing", "--stamped", "--adapter", "tuned", *pace]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def scripted_environment(scripted_at: str) -> dict[str, str]:
    """What a client of OpenAI's protocol reads to speak to the scripted model at a base URL."""
    return {"OPENAI_BASE_URL": scripted_at, "OPENAI_API_KEY": SCRIPTED_KEY}


@contextmanager
def page(data_dir: Path, scripted_at: str = "") -> Iterator[Page]:
    """Triptych as it ships, with the embedded model or the scripted one at a base URL."""
    environment = {"TRIPTYCH_DATA_DIR": str(data_dir)}
    if scripted_at:
        environment |= {"TRIPTYCH_MODEL": "openai:scripted", **scripted_environment(scripted_at)}
    with (
        (data_dir.parent / f"{data_dir.name}.log").open("wb") as log,
        streamlit(ROOT / "app.py", environment, log) as running,
    ):
        wait_for(running)
        yield running


@contextmanager
def streamlit(
    script: Path, environment: dict[str, str], output: IO[bytes] | int = subprocess.DEVNULL
) -> Iterator[Page]:
    """Run a Streamlit script on a free port; nobody waits until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Page(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        process.kill()
        process.wait()


def wait_for(running: Page) -> None:
    """Wait until a page answers.

    Raises:
        RuntimeError: it did not, within two minutes.
    """
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(f"{running.address}/_stcore/health", trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError("The page did not start.")
