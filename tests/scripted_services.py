"""Services for tests of the page: a scripted model, canned retrieval, a temporary database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Engine

from bot.library.embed import Embedder
from bot.library.keywords import KeywordIndex
from bot.library.library import Library
from bot.library.retrieve import Evidence, Retrieval
from bot.library.split import Passage
from bot.library.vectors import VectorStore
from bot.models.catalog import AdapterRef, AdapterWeights, Model
from bot.models.hub import Hub
from bot.models.keys import Keys
from bot.models.names import Workshop
from bot.models.registry import Models
from bot.records.database import open_database
from bot.services import Services
from bot.settings import ROOT, Settings
from bot.testing import KEY, ScriptedModel
from tests.scripted_trainings import ScriptedTrainings

PASSAGE = Passage(
    id="0123456789abcdef-0000",
    document="kilns <b>list</b>.html",
    title="Kilns",
    heading="Heron 7",
    page=3,
    number=0,
    text="The Heron 7 reaches 1,300 °C.",
)
QUOTE = "The Heron 7 reaches 1,300 °C. ![leak](https://evil.example/quote.png)"


@dataclass
class ScriptedServices(Services):
    """Services whose model, retrieval, adapter and trainings are scripted; nothing is started."""

    scripted_trainings: ScriptedTrainings = field(default_factory=ScriptedTrainings)

    @property
    def trainings(self) -> Any:
        return self.scripted_trainings

    @property
    def trainee(self) -> Model:
        return self.model

    def retrieve(self, question: str, passages: int) -> Retrieval:
        if "off topic" in question:
            return Retrieval(passages=(), evidence=(), off_topic=True, seconds=0.0)
        evidence = Evidence(
            passage_id=PASSAGE.id,
            document=PASSAGE.document,
            title=PASSAGE.title,
            heading=PASSAGE.heading,
            page=PASSAGE.page,
            quote=QUOTE,
            score=0.9,
        )
        return Retrieval(passages=(PASSAGE,), evidence=(evidence,), off_topic=False, seconds=0.0)

    def adapters(self) -> list[Any]:
        return [SimpleNamespace(name="pellworth", base_sha256=self.model.identity)]

    def default_adapter(self, model_name: str = "") -> str:
        return "pellworth"

    def adapter_weights(self, name: str) -> AdapterWeights:
        return AdapterWeights(name=name, path=ROOT / "none.gguf", sha256="1" * 64)

    def adapter_choices(self, model_name: str) -> list[str]:
        if model_name.startswith("bare"):
            return []
        return [one.name for one in self.adapters()]

    def adapter_ref(self, model_name: str, adapter_name: str) -> AdapterRef:
        return self.adapter_weights(adapter_name)

    def warm_up(self) -> None:
        """Nothing to warm up."""


def scripted_models(*models: ScriptedModel, engine: Engine, hub: Hub | None = None) -> Models:
    """A catalogue of scripted models by their names; the first one is the main one."""
    by_name: dict[str, Model] = {one.name: one for one in models}
    main, *others = by_name
    workshop = Workshop(
        servers=cast(Any, SimpleNamespace(ports=frozenset)),
        keys=Keys({"TRIPTYCH_KEY_127_0_0_1": KEY}),
        context_tokens=4096,
        threads=1,
        remote_context_tokens=4096,
        hub=hub or Hub(Path(), "http://127.0.0.1:9"),
    )

    def make(name: str) -> Model:
        return by_name[name] if name in by_name else workshop.make(name)

    return Models(main, others, make, workshop.make_added, engine)


def scripted_services(settings: Settings, *models: ScriptedModel) -> ScriptedServices:
    """Services over models that are serving already, the first one the main one; no child server
    is started."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    settings.knowledge_dir.mkdir(parents=True, exist_ok=True)
    engine = open_database(settings.records)
    servers = cast(Any, SimpleNamespace(close=lambda: None))
    library = Library(
        engine=engine,
        vectors=VectorStore(lambda: servers.address(None)),
        keywords=KeywordIndex(engine),
        embedder=Embedder(),
        knowledge_dir=settings.knowledge_dir,
        upload_bytes=1_000_000,
    )
    return ScriptedServices(
        settings=settings,
        engine=engine,
        servers=servers,
        models=scripted_models(*models, engine=engine),
        library=library,
    )
