"""The state of every part, and the proof that the experiment is controlled.

An answer of one strategy may differ from another's for one reason only. Four claims carry that,
and each is measured here on the running servers: an adapter at scale 0 is the base model, the
same adapter at scale 1 is not (or the first claim would prove nothing), the prompt that is served
is the prompt that was trained on, and questions are embedded by what embedded the passages.
"""

from __future__ import annotations

import asyncio
import math
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

from bot.chat import prompts
from bot.chat.strategies import strategy
from bot.damage import set_aside
from bot.errors import TriptychError
from bot.evidence.offers import offer
from bot.library.ingest import documents, passages
from bot.messages import Message
from bot.models import client
from bot.models.catalog import EMBEDDED_NAME, AdapterWeights, verify
from bot.models.embedded import EmbeddedModel
from bot.records.database import title
from bot.records.schema import newest_revision, revision_of
from bot.tuning.adapters import Adapter, broken_adapters
from bot.tuning.adapters import adapter as read_adapter
from bot.tuning.examples import Example

if TYPE_CHECKING:
    from bot.services import MissingPart, Services

QUESTIONS = (
    "What do you make?",
    "How long is the warranty?",
    "Write one sentence about the weather.",
)
"""Prompts of the probability proofs: on the subject of no adapter, so none is favoured."""

TOP_TOKENS = 20
PROBABILITY_TOLERANCE = 0.01
"""Largest difference of one token's probability between two servers of the same weights: the
order in which a server adds up numbers depends on what it computes beside them."""

COSINE_TOLERANCE = 0.01
"""Smallest loss of cosine that tells another embedder from rounding: in 16 bits a vector depends
a little on the texts that are embedded beside it; another model's vectors are nowhere near."""

SAMPLED_PASSAGES = 8
LEAST_FREE_BYTES = 500_000_000

_PACKAGES = (
    "streamlit",
    "xllamacpp",
    "chromadb",
    "torch",
    "transformers",
    "peft",
    "langchain-community",
    "sqlalchemy",
    "alembic",
    "psycopg",
)


@dataclass(frozen=True)
class Part:
    """One part of Triptych: `state` is "ready" when all is well with it."""

    name: str
    version: str = ""
    address: str = ""
    state: str = "ready"
    detail: str = ""


@dataclass(frozen=True)
class Proof:
    """A claim about the experiment, whether it holds here and now, and what was measured."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """What the doctor found."""

    parts: tuple[Part, ...]
    proofs: tuple[Proof, ...]

    @property
    def ok(self) -> bool:
        """Every part is ready and every proof holds."""
        return all(part.state == "ready" for part in self.parts) and all(
            proof.passed for proof in self.proofs
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "parts": [asdict(part) for part in self.parts],
            "proofs": [asdict(proof) for proof in self.proofs],
            "ok": self.ok,
        }


def report_missing(missing: Sequence[MissingPart]) -> Report:
    """The report of a machine on which model weights are not installed."""
    absent = (
        Part(part.name, state="missing", detail=f"{part.purpose}; run `make setup`")
        for part in missing
    )
    return Report((*_packages(), *absent), ())


def examine(services: Services) -> Report:
    """Look at every part, start those that are not running, and prove the experiment.

    Takes some seconds. What is broken is reported, never raised.
    """
    parts = (
        *_packages(),
        _check("records", services, _records),
        _check("data directory", services, _data_directory),
        _check("model server", services, _model_server),
        _check("vector server", services, _vector_server),
        _check("embedder", services, _embedder),
        _check("knowledge", services, _knowledge),
        _check("adapters", services, _adapters),
        _check("trainings", services, _trainings),
    )
    if not _runs_here(services):
        parts += (_check("main model", services, _main_model),)
    proofs = [_prove("the embedder is the one that made the index", services, _same_embedder)]
    if _default_adapter(services):
        parts += (_check("adapter server", services, _adapter_server),)
        proofs += [
            _prove("at scale 0 the adapter is the base model", services, _adapter_at_zero),
            _prove("at scale 1 the adapter is not the base model", services, _adapter_at_one),
            _prove("the served prompt is the trained prompt", services, _same_prompt),
        ]
    return Report(parts, tuple(proofs))


def _check(name: str, services: Services, look: Callable[[Services], Part]) -> Part:
    try:
        return look(services)
    except Exception as error:
        return Part(name, state="failed", detail=_said(error))


def _prove(name: str, services: Services, measure: Callable[[Services], Proof]) -> Proof:
    try:
        measured = measure(services)
    except Exception as error:
        return Proof(name, False, _said(error))
    return replace(measured, name=name)


def _said(error: Exception) -> str:
    """What an error says in a line; a doctor survives every patient."""
    if isinstance(error, TriptychError):
        return str(error)
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


# ---------------------------------------------------------------- parts


def _packages() -> tuple[Part, ...]:
    python = Part("python", platform.python_version(), detail=platform.platform())
    return (python, *(_package(name) for name in _PACKAGES))


def _package(name: str) -> Part:
    try:
        return Part(name, version(name))
    except PackageNotFoundError:
        return Part(name, state="missing", detail="not installed; run `make setup`")


def _records(services: Services) -> Part:
    """Whether the database is whole and of the schema that this code works with."""
    where = title(services.engine)
    name = "SQLite" if services.engine.dialect.name == "sqlite" else "PostgreSQL"
    damage = "ok"
    with services.engine.connect() as connection:
        if name == "SQLite":
            damage = str(connection.execute(text("PRAGMA quick_check")).scalar())
        tables = sorted(inspect(connection).get_table_names())
        known, found = newest_revision(), revision_of(connection)
        numbers = connection.dialect.server_version_info or ()
    faults = [] if damage == "ok" else [damage]
    if found != known:
        faults.append(f"schema {found or 'unknown'}, but this code works with {known}")
    server = f"{name} {'.'.join(map(str, numbers))}"
    if faults:
        return Part("records", server, where, "failed", "; ".join(faults))
    return Part("records", server, where, detail=f"schema {found}, tables: {', '.join(tables)}")


def _data_directory(services: Services) -> Part:
    folder = services.settings.data_dir
    free_bytes = shutil.disk_usage(folder).free
    state = "ready" if free_bytes >= LEAST_FREE_BYTES else "nearly full"
    detail = f"{free_bytes / 1e9:.1f} GB free"
    if damaged := [path.name for path in set_aside(folder)]:
        detail = f"{detail}; damaged and set aside: {', '.join(damaged)}"
    return Part("data directory", "", str(folder), state, detail)


def _local(services: Services) -> EmbeddedModel:
    """The model that the proofs are about: the main one, or the embedded one where the main one
    runs on a server of which nothing can be proved."""
    model = services.model
    if not isinstance(model, EmbeddedModel):
        model = services.models.get(EMBEDDED_NAME)
    assert isinstance(model, EmbeddedModel)
    return model


def _runs_here(services: Services) -> bool:
    """Whether the main model's weights are on this machine."""
    return _local(services).name == services.models.main


def _default_adapter(services: Services) -> str:
    """The adapter that the proofs are about; empty when there is none."""
    return services.default_adapter(_local(services).name)


def _adapter_weights(services: Services) -> AdapterWeights:
    return services.adapter_weights(_default_adapter(services), _local(services).name)


def _main_model(services: Services) -> Part:
    """A main model on another server: whether it answers, and what cannot be proved of it."""
    status = services.models.check(services.models.main)
    unproved = (
        f"context {status.context_tokens} tokens. Which weights it runs, with which prompt "
        "template and whether an adapter is a controlled change cannot be proved: its server does "
        "not show them. The proofs below are about the weights on this machine."
    )
    return Part(
        "main model",
        address=services.model.identity,
        state="ready" if status.reachable else "failed",
        detail=f"{status.detail}; {unproved}" if status.reachable else status.detail,
    )


def _model_server(services: Services) -> Part:
    model = _local(services)
    weights = model.weights
    verify(weights.path, weights.sha256)
    endpoint = model.endpoint()
    return Part(
        "model server",
        f"xllamacpp {version('xllamacpp')}",
        endpoint.base_url,
        detail=f"{weights.name}, {weights.size_bytes / 1e6:.0f} MB, SHA-256 {weights.sha256}",
    )


def _vector_server(services: Services) -> Part:
    from bot.services import chroma_address

    address = chroma_address(services.settings, services.servers)
    services.library.vectors.present(["anything"])
    return Part("vector server", f"chroma {version('chromadb')}", address.base_url)


def _embedder(services: Services) -> Part:
    shape = services.library.embedder.embed(["Is anybody there?"]).shape
    identity = services.library.embedder.identity
    installed = f"torch {version('torch')}"
    return Part("embedder", installed, detail=f"{identity}, {shape[1]} dimensions")


def _knowledge(services: Services) -> Part:
    library = services.library
    rows = documents(library)
    ids = [one.id for row in rows if row.status == "ready" for one in passages(library, row.name)]
    lost = {
        "the keyword index": len(set(ids) - library.keywords.present(ids)),
        "Chroma": len(set(ids) - library.vectors.present(ids)),
    }
    failed = [row.name for row in rows if row.status == "failed"]
    faults = [f"{index} has lost {count} of them" for index, count in lost.items() if count]
    faults += [f"{', '.join(failed)} cannot be read"] if failed else []
    size = f"{len(rows)} documents, {len(ids)} passages"
    detail = f"{size}, all of them in every index"
    if faults:
        detail = f"{size}; {'; '.join(faults)}; run `python -m bot ingest`"
    state = "failed" if faults else "ready"
    return Part("knowledge", "", str(services.settings.knowledge_dir), state, detail)


def _adapters(services: Services) -> Part:
    folder = services.settings.adapters_dir
    found, broken = services.adapters(), broken_adapters(folder)
    if broken:
        detail = " ".join(one.reason for one in broken)
        return Part("adapters", "", str(folder), "failed", detail)
    kept_back = [
        f"{one.name} does not answer: {one.reason}"
        for one in map(offer, found)
        if one.state != "offered"
    ]
    names = ", ".join(one.name for one in found) or "none"
    return Part("adapters", "", str(folder), detail="; ".join([names, *kept_back]))


def _trainings(services: Services) -> Part:
    states = Counter(one.state for one in services.trainings.all())
    detail = ", ".join(f"{count} {state}" for state, count in states.items()) or "none"
    return Part("trainings", "", str(services.settings.data_dir / "trainings"), detail=detail)


def _adapter_server(services: Services) -> Part:
    weights = _adapter_weights(services)
    endpoint = _local(services).endpoint(weights)
    return Part(
        "adapter server",
        f"xllamacpp {version('xllamacpp')}",
        endpoint.base_url,
        detail=f"{endpoint.model}, SHA-256 {weights.sha256}",
    )


# ---------------------------------------------------------------- proofs


def _adapter_at_zero(services: Services) -> Proof:
    largest = asyncio.run(_largest_difference(services, scale=0.0))
    return Proof(
        "",
        largest <= PROBABILITY_TOLERANCE,
        f"the largest difference of a token's probability is {largest:.6f} over "
        f"{len(QUESTIONS)} prompts (at most {PROBABILITY_TOLERANCE} is rounding)",
    )


def _adapter_at_one(services: Services) -> Proof:
    largest = asyncio.run(_largest_difference(services, scale=1.0))
    return Proof(
        "",
        largest > PROBABILITY_TOLERANCE,
        f"the largest difference of a token's probability is {largest:.6f}",
    )


async def _largest_difference(services: Services, *, scale: float) -> float:
    """Between the base model and the adapter, over the likeliest first tokens of some answers."""
    weights = _adapter_weights(services)
    base = await asyncio.to_thread(_local(services).endpoint)
    adapted = await asyncio.to_thread(_local(services).endpoint, weights, scale=scale)
    largest = 0.0
    for question in QUESTIONS:
        asked = prompts.messages(strategy("prompt"), question)
        largest = max(
            largest,
            difference(
                await client.token_probabilities(base, asked, top=TOP_TOKENS),
                await client.token_probabilities(adapted, asked, top=TOP_TOKENS),
            ),
        )
    return largest


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The largest difference of a token's probability, from two tables of its logarithm; a token
    that only one of them lists counts as improbable in the other."""
    tokens = one.keys() | other.keys()
    return max(
        (abs(_probability(one, token) - _probability(other, token)) for token in tokens),
        default=0.0,
    )


def _probability(logarithms: Mapping[str, float], token: str) -> float:
    return math.exp(logarithms.get(token, -math.inf))


def _same_prompt(services: Services) -> Proof:
    """Compare what the server makes of a question with what the training made of it."""
    adapter = read_adapter(services.settings.adapters_dir, _default_adapter(services))
    if adapter.recipe.system_prompt != prompts.system_prompt():
        return Proof("", False, f"{adapter.name} was trained with another system prompt")
    served, served_tokens = asyncio.run(_served_prompt(services, QUESTIONS[0]))
    trained, trained_tokens = _trained_prompt(services, adapter, QUESTIONS[0])
    if served != trained:
        return Proof("", False, f"the server sends {served!r}, the training used {trained!r}")
    if served_tokens != trained_tokens:
        return Proof("", False, f"{served_tokens} tokens served, {trained_tokens} trained")
    return Proof("", True, f"the same text, {served_tokens} tokens, for {adapter.name}")


async def _served_prompt(services: Services, question: str) -> tuple[str, int]:
    endpoint = await asyncio.to_thread(_local(services).endpoint)
    asked = prompts.messages(strategy("adapter"), question)
    text_ = await client.rendered_prompt(endpoint, asked)
    return text_, await client.count_tokens(endpoint, asked)


def _trained_prompt(services: Services, adapter: Adapter, question: str) -> tuple[str, int]:
    """The prompt of an example as the training job encodes it, and its length in tokens."""
    from bot.tuning.base import read_tokenizer
    from bot.tuning.drills import encode

    tokenizer = read_tokenizer(_local(services).weights.path)
    example = Example((Message("user", question), Message("assistant", "")))
    system, (drill,) = encode(tokenizer, adapter.recipe, [example])
    asked = [token for token, learnt in zip(drill.ids, drill.learnt, strict=True) if not learnt]
    ids = [*system, *asked]
    return str(tokenizer.decode(ids)), len(ids)


def _same_embedder(services: Services) -> Proof:
    """Embed some passages again, and compare with their vectors in the index."""
    library = services.library
    ready = [row.name for row in documents(library) if row.status == "ready"]
    some = [passages(library, name)[0] for name in ready[:SAMPLED_PASSAGES]]
    if not some:
        return Proof("", True, "the index is empty")
    stored = library.vectors.vectors([one.id for one in some])
    if len(stored) < len(some):
        return Proof("", False, f"Chroma gives back {len(stored)} of {len(some)} passages")
    again = library.embedder.embed([one.sourced_text for one in some])
    cosine = min(float(stored[one.id] @ vector) for one, vector in zip(some, again, strict=True))
    return Proof(
        "",
        cosine >= 1 - COSINE_TOLERANCE,
        f"the smallest cosine of {len(some)} passages embedded again is {cosine:.6f} "
        f"(at least {1 - COSINE_TOLERANCE} is rounding), {library.embedder.identity}",
    )
