"""A GGUF file on this machine as a model, served by the same child server as the embedded one."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from bot.errors import ServerError, WeightsError
from bot.models.catalog import AdapterRef, ModelProfile, Origin, Weights
from bot.models.client import Endpoint
from bot.models.embedded import EmbeddedModel
from bot.models.header import Header, read_header
from bot.servers import Servers

PASSAGES = 3
DEFAULT_CONTEXT_TOKENS = 4096
"""Of a file that does not say what it was trained on."""


@dataclass(frozen=True, slots=True)
class Known:
    """A model file that was read: its SHA-256 and its description."""

    sha256: str
    header: Header


class KnownFiles:
    """What was found in model files, remembered as long as their size and time stay the same.

    Thread-safe, and for several processes: whoever writes last is kept, and nothing is lost that
    could not be read again.

    Args:
        path: where it is remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    def read(self, file: Path) -> Known:
        """The SHA-256 and the description of a file; a large one takes seconds the first time.

        Raises:
            WeightsError: it is missing, damaged or no language model.
        """
        with self._lock:
            try:
                stat = file.stat()
            except OSError as error:
                raise WeightsError(f"There is no file {file}.", cure="Check its path.") from error
            version = [stat.st_size, stat.st_mtime_ns]
            remembered = self._remembered()
            entry = remembered.get(str(file), {})
            if entry.get("version") == version:
                return Known(entry["sha256"], Header(**entry["header"]))
            header = read_header(file)
            with file.open("rb") as opened:
                known = Known(hashlib.file_digest(opened, "sha256").hexdigest(), header)
            entry = {"version": version, "sha256": known.sha256, "header": asdict(header)}
            self._remember({**remembered, str(file): entry})
            return known

    def _remembered(self) -> dict[str, Any]:
        try:
            read = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def _remember(self, entries: dict[str, Any]) -> None:
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(entries, indent=2), encoding="utf-8")
            partial.replace(self._path)
        except OSError:  # it is read again the next time
            partial.unlink(missing_ok=True)


class LocalModel(EmbeddedModel):
    """A GGUF file, with the adapters here that were trained on it.

    What is wrong with the file is told when it shall answer, not before: a page that lists it
    stays up.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        known_files: KnownFiles,
        servers: Servers,
        context_tokens: int,
        threads: int,
    ) -> None:
        unread = ModelProfile(
            name=path.stem,
            context_tokens=DEFAULT_CONTEXT_TOKENS,
            passages=PASSAGES,
            opening="",
            prompt_price_per_million=0.0,
            answer_price_per_million=0.0,
        )
        nothing = Weights(path.stem, path, "", 0)
        super().__init__(servers, nothing, unread, context_tokens, threads, name=name)
        self.path = path
        self._most_context_tokens = context_tokens
        self._known_files = known_files

    @property
    def origin(self) -> Origin:
        """The file, which need not be there."""
        return Origin("weights", self.path.name)

    @property
    def weights(self) -> Weights:
        """The file, with the SHA-256 that it has now.

        Raises:
            WeightsError: it is missing, damaged or no language model.
        """
        known = self._known_files.read(self.path)
        return Weights(self.path.stem, self.path, known.sha256, self.path.stat().st_size)

    @property
    def profile(self) -> ModelProfile:
        """By the file's description; a usual one where it cannot be read."""
        try:
            header = self._known_files.read(self.path).header
        except WeightsError:
            return self._profile
        trained = header.context_tokens or DEFAULT_CONTEXT_TOKENS
        return replace(self._profile, context_tokens=min(trained, self._most_context_tokens))

    @property
    def identity(self) -> str:
        """The SHA-256 of the weights; the file's name where it cannot be read."""
        try:
            return self.weights.sha256
        except WeightsError:
            return f"{self.path.name}@here"

    def endpoint(self, adapter: AdapterRef | None = None, *, scale: float = 1.0) -> Endpoint:
        """Where the model answers; blocks while its server starts (see `EmbeddedModel`).

        Raises:
            WeightsError: the file is missing, damaged or cannot be served.
        """
        weights = self.weights  # says at once what is wrong with it
        try:
            return super().endpoint(adapter, scale=scale)
        except ServerError as error:
            raise WeightsError(
                f"{weights.path.name} cannot be served: llama.cpp does not start with it.",
                cure="It may need more memory than there is, or a newer xllamacpp; "
                "the log of its server in the data directory says more.",
            ) from error
