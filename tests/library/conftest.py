"""A real embedder and a real Chroma, shared by the tests of the library."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bot.library.embed import Embedder
from bot.library.keywords import KeywordIndex
from bot.library.library import Library
from bot.library.reader import Reader
from bot.library.vectors import VectorStore, chroma_spec
from bot.records.database import open_database
from bot.servers import ServerAddress


class RunningChroma:
    """A Chroma server that a test may stop and start again, each time on another port."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""
        self.start()

    def start(self, port: int | None = None) -> None:
        spec = chroma_spec(self._data_dir)
        port = port or _free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        command = [
            part.replace("{host}", "127.0.0.1").replace("{port}", str(port))
            for part in spec.command
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not _answers(self.base_url + spec.health_path):
            assert self._process.poll() is None, "chroma ended at its start"
            assert time.monotonic() < deadline, "chroma did not answer in time"
            time.sleep(0.05)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def address(self) -> ServerAddress:
        return ServerAddress(self.base_url, key="")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    """One for all tests, since its child takes a moment to start."""
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChroma]:
    server = RunningChroma(tmp_path_factory.mktemp("chroma"))
    yield server
    server.stop()


@pytest.fixture
def vectors(chroma: RunningChroma) -> Iterator[VectorStore]:
    """An empty store."""
    store = VectorStore(chroma.address)
    store.clear()
    yield store
    store.close()


@pytest.fixture
def library(
    where: Path | str, tmp_path: Path, vectors: VectorStore, embedder: Embedder, reader: Reader
) -> Iterator[Library]:
    """An empty library over an empty knowledge folder."""
    engine = open_database(where)
    knowledge_dir = tmp_path / "knowledge"
    knowledge_dir.mkdir()
    keywords = KeywordIndex(engine)
    yield Library(engine, vectors, keywords, embedder, knowledge_dir, 1_000_000, reader)
    engine.dispose()


@pytest.fixture
def write(library: Library) -> Callable[[str, str], Path]:
    """Writes a text file into the knowledge folder."""

    def _write(name: str, text: str) -> Path:
        path = library.knowledge_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write
