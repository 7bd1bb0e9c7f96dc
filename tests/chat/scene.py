"""A library, an adapter and a bench that tests of the chat share; the model is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from bot.chat.compare import Bench, Comparison, Options
from bot.chat.events import Event, Finished
from bot.errors import AdapterError, ModelUnavailable
from bot.library.retrieve import Evidence, Retrieval
from bot.library.split import Passage
from bot.models.catalog import AdapterWeights
from bot.testing import ScriptedModel

ADAPTER_SHA256 = "ad" * 32
ALL = ("prompt", "few-shot", "rag", "adapter", "hybrid")


def make_passage(number: int = 0, text: str = "The K30 costs 900 euros.") -> Passage:
    return Passage(f"doc-{number:04d}", "prices.md", "Price list", "Kilns", None, number, text)


FOUND = Retrieval(
    passages=(make_passage(),),
    evidence=(
        Evidence(
            passage_id="doc-0000",
            document="prices.md",
            title="Price list",
            heading="Kilns",
            page=2,
            quote="The K30 costs 900 euros.",
            score=0.9,
        ),
    ),
    off_topic=False,
    seconds=0.01,
)
NOTHING = Retrieval(passages=(), evidence=(), off_topic=True, seconds=0.01)


def make_options(**changes: object) -> Options:
    values = {
        "answer_tokens": 40,
        "temperature": 0.0,
        "seed": 7,
        "passages": 1,
        "adapter": "kilns",
        "models": ("scripted",),
    }
    return Options(**{**values, **changes})  # type: ignore[arg-type]


def make_bench(
    *models: ScriptedModel, retrieve: Callable[[str, int], Retrieval] | None = None
) -> Bench:
    by_name = {model.name: model for model in models}

    def model_of(name: str) -> ScriptedModel:
        if name not in by_name:
            raise ModelUnavailable(f"There is no model {name}.", cure="Choose another.")
        return by_name[name]

    def adapter(_model: str, name: str) -> AdapterWeights:
        if name != "kilns":
            raise AdapterError(f"There is no adapter {name}.", cure="Train one.")
        return AdapterWeights(name, Path("kilns.gguf"), ADAPTER_SHA256)

    return Bench(
        models=model_of,
        retrieve=retrieve or (lambda _question, _passages: FOUND),
        adapter=adapter,
        timeout_seconds=30.0,
    )


def collect(comparison: Comparison) -> dict[str, list[Event]]:
    """All events of a comparison, by column."""

    async def run() -> dict[str, list[Event]]:
        events: dict[str, list[Event]] = {}
        async with aclosing(aiter(comparison)) as pairs:
            async for name, event in pairs:
                events.setdefault(name, []).append(event)
        return events

    return asyncio.run(run())


def finished(events: list[Event]) -> Finished:
    """The end of an answer that must have come to one."""
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]
