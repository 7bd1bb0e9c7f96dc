"""How the models are: asked in the background, once for all visitors of this process."""

from __future__ import annotations

import logging
from threading import Lock, Thread

import streamlit as st

from bot.models.catalog import ModelStatus
from bot.models.registry import Models

logger = logging.getLogger(__name__)

_DEFECT = "Something went wrong inside Triptych; the log has the details."


class Checks:
    """What is known of each model's server.

    Plain values, read by any thread without a lock; `version` grows with every change.
    """

    def __init__(self, models: Models) -> None:
        self.version = 0
        self._models = models
        self._found: dict[str, ModelStatus] = {}
        self._running: set[str] = set()
        self._beginning = Lock()

    def status(self, name: str) -> ModelStatus | None:
        """How a model was when it was last asked; None when it never was."""
        return self._found.get(name)

    def is_running(self, name: str) -> bool:
        """Whether a model is being asked now."""
        return name in self._running

    def begin(self, name: str) -> None:
        """Ask a model in a thread, unless it is being asked already."""
        with self._beginning:
            if name in self._running:
                return
            self._running.add(name)
        Thread(target=self._run, args=(name,), name="triptych-check", daemon=True).start()

    def forget(self, name: str) -> None:
        """What was known of a model that is gone, or is another one now."""
        self._found.pop(name, None)

    @property
    def busy(self) -> bool:
        """Whether any model is being asked."""
        return bool(self._running)

    def _run(self, name: str) -> None:
        try:
            self._found[name] = self._models.check(name)
        except Exception:
            logger.exception("The model %s could not be checked", name)
            self._found[name] = ModelStatus(name, False, _DEFECT, 0, (), (), 0.0)
        finally:
            self._running.discard(name)
            self.version += 1


@st.cache_resource(show_spinner=False, hash_funcs={Models: id})
def checks(models: Models) -> Checks:
    """The checks that all visitors of this process share."""
    return Checks(models)
