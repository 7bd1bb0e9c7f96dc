"""A Triptych that is made to be broken: real records, real Chroma, cheap embedder and model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from bot import services as composition
from bot.library.embed import DIMENSIONS, Embedder
from bot.library.keywords import KeywordIndex
from bot.library.library import Library
from bot.library.load import load
from bot.library.reader import Reader, Reading
from bot.library.split import split
from bot.library.vectors import VectorStore, chroma_spec
from bot.models.catalog import AdapterRef, AdapterWeights, Model
from bot.models.hub import Hub
from bot.models.keys import Keys
from bot.models.names import Workshop
from bot.models.registry import Models
from bot.records.database import open_database
from bot.records.mending import when_mended
from bot.servers import Servers
from bot.services import Services
from bot.settings import read_settings
from bot.testing import MODEL_NAME, ScriptedModel

CONTEXT_TOKENS = 512
NOWHERE = "http://127.0.0.1:9"


class WordEmbedder(Embedder):
    """Unit vectors that follow from the words alone; what embeds is not what is tested."""

    identity = "words@1"  # type: ignore[assignment]

    def embed_each(
        self, texts: Sequence[str], **_ways: bool
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Vectors of length 1, each with the number of its text."""
        return enumerate(map(_vector, texts))


def _vector(text: str) -> NDArray[np.float32]:
    total = np.sum([_word(word) for word in text.split()], axis=0, dtype=np.float32)
    length = float(np.linalg.norm(total))
    unit: NDArray[np.float32] = total / length if length else _word("")
    return unit


@lru_cache(maxsize=20_000)
def _word(word: str) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)
    return vector / np.float32(np.linalg.norm(vector))


class HereReader(Reader):
    """Reads in this process: `bench.faults.files` is about the child that reads."""

    def read(self, path: Path, *, name: str | None = None) -> Reading:
        """A document, cut into passages."""
        document = load(path, name=name or path.name)
        return Reading(
            document.name,
            document.sha256,
            document.title,
            document.kind,
            document.size_bytes,
            tuple(split(document)),
        )


@dataclass(frozen=True)
class Home:
    """Where one Triptych lives.

    Args:
        folder: of everything.
        model_port: where its scripted model answers; its other models are real.
        reads_in_child: whether documents are read in a child process, as in the product.
    """

    folder: Path
    model_port: int
    reads_in_child: bool = False

    @property
    def data_dir(self) -> Path:
        """Records, index and server state."""
        return self.folder / "data"

    @property
    def knowledge_dir(self) -> Path:
        """The documents."""
        return self.folder / "knowledge"

    @property
    def adapters_dir(self) -> Path:
        """The adapters."""
        return self.folder / "adapters"

    @property
    def local_weights(self) -> Path:
        """A model file of the person's own."""
        return self.folder / "local.gguf"

    def open(self) -> Services:
        """The services as the page opens them, on cheap parts where those are not tested."""
        settings = read_settings(
            data_dir=self.data_dir,
            knowledge_dir=self.knowledge_dir,
            adapters_dir=self.adapters_dir,
        )
        for folder in (self.data_dir, self.knowledge_dir, self.adapters_dir):
            folder.mkdir(parents=True, exist_ok=True)
        engine = open_database(self.data_dir / "triptych.db")
        servers = Servers(self.data_dir)
        library = Library(
            engine=engine,
            vectors=VectorStore(
                lambda: servers.address(chroma_spec(self.data_dir)),
                lambda: composition._set_chroma_aside(servers, self.data_dir),
                restart=lambda: servers.stop(chroma_spec(self.data_dir).name),
            ),
            keywords=KeywordIndex(engine),
            embedder=WordEmbedder(),
            knowledge_dir=self.knowledge_dir,
            upload_bytes=1_000_000,
            reader=Reader() if self.reads_in_child else HereReader(),
        )
        services = BareServices(
            settings=settings,
            engine=engine,
            servers=servers,
            models=self._models(servers, engine),
            library=library,
        )
        when_mended(engine, services.sync)
        return services

    def _models(self, servers: Servers, engine: Engine) -> Models:
        scripted = ScriptedModel(port=self.model_port)
        workshop = Workshop(
            servers=servers,
            keys=Keys({}),
            context_tokens=CONTEXT_TOKENS,
            threads=2,
            remote_context_tokens=CONTEXT_TOKENS,
            hub=Hub(self.data_dir / "hub", NOWHERE, ""),
        )

        def make(name: str) -> Model:
            return scripted if name == MODEL_NAME else workshop.make(name)

        names = ("embedded", f"gguf:{self.local_weights}")
        return Models(MODEL_NAME, names, make, workshop.make_added, engine)


class BareServices(Services):
    """Services whose scripted model answers with any adapter."""

    def adapter_ref(self, model_name: str, adapter_name: str) -> AdapterRef:
        """An adapter of a model; for the scripted one, weights that no server has to load."""
        if model_name != MODEL_NAME:
            return super().adapter_ref(model_name, adapter_name)
        return AdapterWeights(adapter_name, Path("none.gguf"), "0" * 64)
