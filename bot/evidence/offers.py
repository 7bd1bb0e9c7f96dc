"""Which adapters are offered, and why the others are not; the gate that decides, and its work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

from bot.errors import AdapterError, TriptychError
from bot.evidence.parity import Parity, check_parity, read_parity, write_parity
from bot.messages import Message
from bot.models.embedded import EmbeddedModel
from bot.tuning import adapters as shelf
from bot.tuning.adapters import Adapter
from bot.tuning.examples import read_examples
from bot.tuning.reference import QUESTIONS, make_reference, read_reference

logger = logging.getLogger(__name__)

State = Literal["offered", "checking", "refused", "unchecked", "damaged"]

OWN_QUESTIONS = 8
"""Of an adapter's own examples, where a training left no reference."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An adapter on disk, and whether it may answer.

    Args:
        reason: why it may not, or why its check could not be carried out; empty otherwise.
        adapter: None when it is damaged.
        parity: what the gate found for exactly these files; None when it was not checked.
    """

    name: str
    state: State
    reason: str = ""
    adapter: Adapter | None = None
    parity: Parity | None = None


def offer(found: Adapter) -> Offer:
    """Whether a sound adapter may answer."""
    parity = read_parity(found.folder)
    if parity is None or not parity.is_for(found.sha256, found.base_sha256):
        reason = "Whether it answers as it was trained has not been checked yet."
        return Offer(found.name, "unchecked", reason, found)
    state: State = "offered" if parity.passed else "refused"
    return Offer(found.name, state, parity.reason, found, parity)


def offers(adapters_dir: Path) -> list[Offer]:
    """Every adapter on disk, damaged ones included, sorted by name."""
    sound = [offer(found) for found in shelf.adapters(adapters_dir)]
    damaged = [
        Offer(one.name, "damaged", one.reason) for one in shelf.broken_adapters(adapters_dir)
    ]
    return sorted([*sound, *damaged], key=lambda one: one.name)


def require_offered(found: Adapter) -> None:
    """Refuse an adapter that the gate did not let through.

    Raises:
        AdapterError: it was not checked, or it failed.
    """
    said = offer(found)
    if said.state != "offered":
        raise AdapterError(
            f"The adapter {found.name} does not answer: {said.reason}",
            cure="Check it again on the page Fine-tune, or with: python -m bot adapters check "
            f"{found.name}.",
        )


class Gate:
    """Checks the adapters of a folder, one at a time. Thread-safe.

    Args:
        adapters_dir: where they are.
        scratch: a folder for merged weights, which go away again.
    """

    def __init__(self, adapters_dir: Path, scratch: Path) -> None:
        self._adapters_dir = adapters_dir
        self._scratch = scratch
        self._checking: set[str] = set()
        self._said: dict[str, str] = {}
        self._one_at_a_time = Lock()
        self._lock = Lock()

    def offers(self) -> list[Offer]:
        """Every adapter on disk, with those that are being checked now."""
        return [self._as_it_is(one) for one in offers(self._adapters_dir)]

    def _as_it_is(self, found: Offer) -> Offer:
        with self._lock:
            if found.name in self._checking:
                return replace(found, state="checking", reason="")
            said = self._said.get(found.name, "")
        return replace(found, reason=said) if found.state == "unchecked" and said else found

    def check(self, name: str, model: EmbeddedModel) -> Parity:
        """Check an adapter and keep the result beside it; takes up to a minute.

        Raises:
            AdapterError: there is none of that name, or it is damaged or for another base.
            TuningError: PEFT's answers or the merged weights cannot be made just now.
            ServerError: the base model cannot be served.
        """
        with self._lock:
            self._checking.add(name)
            self._said.pop(name, None)
        try:
            with self._one_at_a_time:
                return self._measure(name, model)
        except TriptychError as error:
            with self._lock:
                self._said[name] = str(error)
            raise
        finally:
            with self._lock:
                self._checking.discard(name)

    def begin(self, name: str, model: EmbeddedModel) -> None:
        """Check an adapter in the background; `offers` shows how that goes."""
        with self._lock:
            if name in self._checking:
                return
            self._checking.add(name)
        Thread(target=self._try, args=(name, model), name="triptych-parity", daemon=True).start()

    def _try(self, name: str, model: EmbeddedModel) -> None:
        try:
            self.check(name, model)
        except TriptychError as error:
            logger.warning("The adapter %s was not checked: %s", name, error)
        except Exception:
            logger.exception("The check of %s ended by a defect", name)
            with self._lock:
                self._said[name] = "The check ended by a defect of Triptych; its log says more."

    def _measure(self, name: str, model: EmbeddedModel) -> Parity:
        found = shelf.adapter(self._adapters_dir, name)
        shelf.require_base(found, model.identity)
        reference = read_reference(found.folder)
        if reference is None:
            reference = make_reference(
                found.folder, model.weights.path, found.recipe.system_prompt, _asked_of(found)
            )
        parity = check_parity(found, model, reference, self._scratch)
        try:
            write_parity(parity, found.folder)
        except OSError as error:
            raise AdapterError(
                f"What was found of {name} cannot be written.", cure="Check the disk."
            ) from error
        return parity


def _asked_of(found: Adapter) -> Sequence[Sequence[Message]]:
    """Some questions of the adapter's own examples, and ours."""
    own: list[Sequence[Message]] = []
    path = found.folder / shelf.EXAMPLES_NAME
    if path.is_file():
        examples = read_examples(path)
        every = max(1, len(examples) // OWN_QUESTIONS)
        own = [one.messages[:1] for one in examples[::every][:OWN_QUESTIONS]]
    return [*own, *([Message("user", one)] for one in QUESTIONS)]
