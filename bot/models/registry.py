"""The models to choose from: those of the settings, then those added on the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from threading import Lock

from sqlalchemy import Engine

from bot.errors import ModelUnavailable, TriptychError
from bot.messages import Message
from bot.models.catalog import Model, ModelStatus
from bot.models.client import Delta, Endpoint, Sampling, stream
from bot.models.hub import PREFIX, FetchProgress, HubModel
from bot.models.remote import Listing, RemoteModel
from bot.records.models import ModelRecord, delete_model, models, put_model

HELLO = Message("user", "Say hello in one short sentence.")
HELLO_TOKENS = 32
HELLO_TIMEOUT_SECONDS = 20.0
LISTING_PATIENCE_SECONDS = 10.0
"""How long a person waits for a server to list its models."""


class Models:
    """Every model that can be chosen, by its name. Thread-safe.

    Args:
        main: the model that answers unless another is chosen.
        named: further names of the settings.
        make: a name of the settings → its model; raises `ModelError` for one that means nothing.
        make_added: a model that was added on the page → its model.
        engine: where the added ones are kept.
    """

    def __init__(
        self,
        main: str,
        named: Sequence[str],
        make: Callable[[str], Model],
        make_added: Callable[[ModelRecord], Model],
        engine: Engine,
    ) -> None:
        self._main = main
        self._named = tuple(dict.fromkeys((main, *named)))
        self._make = make
        self._make_added = make_added
        self._engine = engine
        self._made: dict[str, tuple[ModelRecord | None, Model]] = {}
        self._lock = Lock()

    @property
    def main(self) -> str:
        """The model that answers unless another is chosen."""
        return self._main

    def names(self) -> list[str]:
        """Every model, the main one first.

        Raises:
            RecordsError: the added ones cannot be read.
        """
        return [*self._named, *self._added()]

    def get(self, name: str) -> Model:
        """The model of a name; the same value every time, until it is added anew.

        Raises:
            ModelUnavailable: there is none of that name.
            RecordsError: the added ones cannot be read.
        """
        record = None if name in self._named else self._added().get(name)
        if record is None and name not in self._named:
            raise ModelUnavailable(
                f"There is no model named {name}.",
                cure=f"Choose one of these: {', '.join(self.names())}.",
            )
        with self._lock:
            made = self._made.get(name)
            if made is None or made[0] != record:
                model = self._make(name) if record is None else self._make_added(record)
                made = self._made[name] = (record, model)
            return made[1]

    def offer(self, name: str) -> None:
        """Let a model be chosen in this process that no setting names.

        Raises:
            ModelError: the name means nothing.
            RecordsError: the added ones cannot be read.
        """
        if name not in self.names():
            self._make(name)
            self._named = (*self._named, name)

    def added(self) -> list[ModelRecord]:
        """What was added on the page, sorted by name.

        Raises:
            RecordsError: it cannot be read.
        """
        return list(self._added().values())

    def add(self, record: ModelRecord) -> None:
        """Keep a model that was entered on the page; one of the same name is replaced.

        Raises:
            ModelUnavailable: the name is empty or taken, or the address is refused.
            RecordsError: it cannot be kept.
        """
        if not record.name.strip() or not record.model.strip():
            raise ModelUnavailable(
                "A model needs a name, and the name its server has for it.", cure="Enter both."
            )
        if record.name in self._named:
            raise ModelUnavailable(
                f"{record.name} is the name of a model in the settings.", cure="Choose another."
            )
        self._make_added(record)
        put_model(self._engine, record)

    def listed_at(self, base_url: str) -> tuple[str, ...]:
        """The model names that a server at an address lists; none when it cannot be asked. May
        block for some seconds.

        Raises:
            AddressRefused: the address is not one that may be called.
        """
        asked = self._make_added(ModelRecord(name=base_url, base_url=base_url, model=""))
        if not isinstance(asked, RemoteModel):
            return ()
        return asked.listing(patience_seconds=LISTING_PATIENCE_SECONDS).models

    def remove(self, name: str) -> None:
        """Take a model out that was added on the page.

        Raises:
            ModelUnavailable: it was not added there.
            RecordsError: it cannot be taken out.
        """
        if not delete_model(self._engine, name):
            raise ModelUnavailable(
                f"No model named {name} was added here.",
                cure="Models of the settings are changed in the settings.",
            )

    def fetch(self, name: str) -> Iterator[FetchProgress]:
        """Fetch a file of a hub, whether a setting names it or not; it goes on where an earlier
        attempt stopped.

        Raises:
            ModelUnavailable: there is no such model, or it is none of a hub.
            WeightsError: it cannot be fetched (see `hub.fetch`).
        """
        model = self._make(name) if name.startswith(PREFIX) else self.get(name)
        if not isinstance(model, HubModel):
            raise ModelUnavailable(
                f"{name} is no file of a model hub.", cure="Nothing has to be fetched for it."
            )
        return model.fetch()

    def check(self, name: str) -> ModelStatus:
        """Say hello to a model; may block for long. What fails is in the status, never raised."""
        began = time.monotonic()
        context_tokens, listing = 0, Listing()
        try:
            model = self.get(name)
            if isinstance(model, RemoteModel):
                model.forget_listing()
            endpoint = model.endpoint()
            context_tokens = model.profile.context_tokens
            if isinstance(model, RemoteModel):
                listing = model.listing()
            said = asyncio.run(_hello(endpoint))
        except TriptychError as error:
            reachable, detail = False, str(error)
        else:
            reachable, detail = True, f"It said: {said}" if said else "It answered with no words."
        seconds = time.monotonic() - began
        return ModelStatus(
            name=name,
            reachable=reachable,
            detail=detail,
            context_tokens=context_tokens,
            models=listing.models,
            adapters=listing.adapters,
            seconds=seconds,
        )

    def _added(self) -> dict[str, ModelRecord]:
        return {one.name: one for one in models(self._engine) if one.name not in self._named}


async def _hello(endpoint: Endpoint) -> str:
    sampling = Sampling(HELLO_TOKENS, 0.0, 0)
    pieces = stream(endpoint, [HELLO], sampling, timeout_seconds=HELLO_TIMEOUT_SECONDS)
    async with aclosing(pieces):
        return "".join([one.text async for one in pieces if isinstance(one, Delta)]).strip()
