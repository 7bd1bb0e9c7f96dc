"""Passage vectors in Chroma, over HTTP. The only user of chromadb."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

from bot.errors import ServerError, SettingsError, VectorStoreError
from bot.servers import ServerAddress, ServerSpec

COLLECTION = "passages"
_IDS_PER_REQUEST = 1000
TIMEOUT_SECONDS = 30.0
"""Chroma answers in milliseconds; but after its disk was full it may not answer any more."""

ATTEMPTS = 3
"""How often a request is made when the server goes away under it: it is started again."""

RETRY_SECONDS = 0.2

SEARCHED = 800
"""Candidates that a search keeps (HNSW's ef). With Chroma's own 100, of the five nearest among
100,000 passages one in eight was missed; the many cost a search some 2 ms."""

NEIGHBOURS = 10
SAME_DISTANCE = 1e-3
"""Two vectors that are no further apart (1 − cosine) are the same."""

_Answer = TypeVar("_Answer")

# Chroma's own command, in this interpreter, with its telemetry off.
_RUN = (
    "import os, sys; os.environ['ANONYMIZED_TELEMETRY'] = 'False'; "
    "from chromadb.cli.cli import app; sys.argv[0] = 'chroma'; app()"
)


def chroma_folder(data_dir: Path) -> Path:
    """Where the Chroma server of a data directory keeps everything."""
    return data_dir / "chroma"


def chroma_spec(data_dir: Path) -> ServerSpec:
    """How to run the Chroma server of a data directory, on loopback."""
    return ServerSpec(
        name="chroma",
        command=(
            *(sys.executable, "-c", _RUN, "run"),
            *("--path", str(chroma_folder(data_dir)), "--host", "{host}", "--port", "{port}"),
        ),
        health_path="/api/v2/heartbeat",
    )


def chroma_at(url: str, token: str = "") -> ServerAddress:
    """A Chroma server that was started by others.

    Args:
        url: such as "https://chroma.example:8000".
        token: sent as a bearer token; empty for none.

    Raises:
        SettingsError: the URL is not one of a web server.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    # A password in it would be shown, and Chroma's client knows no path.
    if not sound or parts.username is not None or parts.path.strip("/") or parts.query:
        raise SettingsError(
            "TRIPTYCH_CHROMA_URL is not the address of a Chroma server.",
            cure="Write it as http://HOST:8000; a token goes into TRIPTYCH_CHROMA_TOKEN.",
        )
    return ServerAddress(url.rstrip("/"), token)


class VectorStore:
    """One collection of passage vectors, all made by one embedder.

    The address is asked for before each request, so a server that was restarted on another
    port is found again.

    Args:
        address: says where the server is, starting it when needed.
        collection: its name, for a server that others use, too.
        set_aside: moves the server's whole folder away and says where to; None when the server
            is not ours to do that with.
        restart: ends the server, which is then started by the next request.
    """

    def __init__(
        self,
        address: Callable[[], ServerAddress],
        set_aside: Callable[[], Path | None] | None = None,
        *,
        collection: str = COLLECTION,
        restart: Callable[[], None] | None = None,
    ) -> None:
        self._address = address
        self._restart = restart
        self._name = collection
        self._set_aside = set_aside
        self._lock = threading.Lock()
        self._base_url = ""
        self._client: Any = None
        self._collection: Any = None
        self._strays: dict[str, NDArray[np.float32]] = {}

    def prepare(self, embedder: str) -> bool:
        """Make the collection ready for vectors of this embedder, before adding any.

        Args:
            embedder: identity of the embedder.

        Returns:
            Whether vectors of another embedder had to be thrown away.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """

        def request(client: Any) -> bool:
            existing = _existing(client, self._name)
            foreign = existing is not None and _embedder_of(existing) != embedder
            if foreign:
                client.delete_collection(self._name)
            elif existing is not None and _searched(existing) != SEARCHED:
                # Chroma minds it when it opens the index the next time.
                existing.modify(configuration={"hnsw": {"ef_search": SEARCHED}})
            self._collection = client.get_or_create_collection(
                self._name,
                metadata={"embedder": embedder},
                configuration={"hnsw": {"space": "cosine", "ef_search": SEARCHED}},
                embedding_function=None,
            )
            return foreign

        return self._ask(request)

    def clear(self) -> None:
        """Throw every vector away.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """

        def request(client: Any) -> None:
            if _existing(client, self._name) is not None:
                client.delete_collection(self._name)
            self._collection = None

        self._strays = {}
        self._ask(request)

    def add(self, vectors: Mapping[str, NDArray[np.float32]], documents: Mapping[str, str]) -> None:
        """Store vectors by passage id, replacing those already there.

        Args:
            vectors: passage id → vector of shape (384,).
            documents: passage id → name of its document, kept beside it for people who look
                into Chroma with other tools.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused, or `prepare` was not called.
        """
        for some in _batches(list(vectors)):

            def request(client: Any, some: list[str] = some) -> None:
                if (collection := self._opened(client)) is None:
                    raise VectorStoreError("The index is gone.", cure="Rebuild the index.")
                collection.upsert(
                    ids=some,
                    embeddings=np.stack([vectors[id_] for id_ in some]),
                    metadatas=[{"document": documents[id_]} for id_ in some],
                )

            self._ask(request)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove vectors by passage id; unknown ids are passed over.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """
        gone = set(ids)
        self._strays = {id_: one for id_, one in self._strays.items() if id_ not in gone}
        for some in _batches(ids):

            def request(client: Any, some: list[str] = some) -> None:
                if (collection := self._opened(client)) is not None:
                    collection.delete(ids=some)

            self._ask(request)

    def present(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that can be recalled.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """
        found: set[str] = set()
        for some in _batches(ids):
            found |= set(self._get(some, include=[])["ids"])
        return found

    def ids(self) -> set[str]:
        """Every id that Chroma lists.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """
        found: set[str] = set()
        while some := self._page(len(found)):
            found |= some
        return found

    def unfindable(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that a search with their own vector does not come back with.

        Chroma keeps what it has been given apart from what it searches in: after damage it can
        still list (and count) a passage that no search finds.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """
        lost: set[str] = set()
        for some in _batches(ids):
            vectors = self.vectors(some)
            whole = [id_ for id_, vector in vectors.items() if _is_unit(vector)]
            found = self._neighbours(np.stack([vectors[id_] for id_ in whole])) if whole else []
            itself = {
                id_
                for id_, neighbours in zip(whole, found, strict=True)
                # A passage may have more twins than neighbours are asked for.
                if any(near == id_ or away <= SAME_DISTANCE for near, away in neighbours)
            }
            lost |= set(some) - itself
        return lost

    def look_at(self, strays: Collection[str]) -> None:
        """Let every search of this process look at these passages as well, one by one.

        A search follows a graph of neighbours, and among many that are nearly the same (the rows
        of a table) it can lose the way to one that is unlike them.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """
        more = self.vectors([id_ for id_ in strays if id_ not in self._strays])
        self._strays = self._strays | more  # a search may be reading the ones of before

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The stored vectors of the ids that are there, by id.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused.
        """
        found: dict[str, NDArray[np.float32]] = {}
        for some in _batches(ids):
            answer = self._get(some, include=["embeddings"])
            found |= {
                id_: np.asarray(vector, dtype=np.float32)
                for id_, vector in zip(answer["ids"], answer["embeddings"], strict=True)
            }
        return found

    def query(
        self, vector: NDArray[np.float32], *, top: int, embedder: str
    ) -> list[tuple[str, float]]:
        """The nearest passages and their cosine, nearest first; nothing when none is stored.

        Args:
            vector: shape (384,), length 1.
            top: how many at most.
            embedder: identity of the embedder that made the vector.

        Raises:
            VectorStoreError: Chroma cannot be reached or refused, or the stored vectors were
                made by another embedder.
        """

        def request(client: Any) -> list[tuple[str, float]]:
            if (collection := self._opened(client)) is None:
                return []
            if _embedder_of(collection) != embedder:
                raise VectorStoreError(
                    "The index was made by another embedding model, so it cannot be searched.",
                    cure="Rebuild the index on the knowledge page, or run `python -m bot ingest`.",
                )
            answer = collection.query(
                query_embeddings=[vector], n_results=top, include=["distances"]
            )
            found = {id_: float(stray @ vector) for id_, stray in self._strays.items()}
            for id_, distance in zip(answer["ids"][0], answer["distances"][0], strict=True):
                found[id_] = 1.0 - float(distance)
            return sorted(found.items(), key=lambda one: -one[1])[:top]

        return self._ask(request)

    def set_aside(self) -> Path | None:
        """Move a damaged index away; the next request finds an empty one.

        Returns:
            Where it lies now; None when there was nothing, or it is not ours to move.

        Raises:
            VectorStoreError: it cannot be moved.
        """
        self.close()
        self._strays = {}
        if self._set_aside is None:
            return None
        try:
            return self._set_aside()
        except ServerError as error:
            raise VectorStoreError(error.message, cure=error.cure) from error

    def close(self) -> None:
        """Close the connections; the next request opens them again."""
        with self._lock:
            self._close()

    def _page(self, offset: int) -> set[str]:
        def request(client: Any) -> set[str]:
            if (collection := self._opened(client)) is None:
                return set()
            answer = collection.get(limit=_IDS_PER_REQUEST, offset=offset, include=[])
            return set(answer["ids"])

        return self._ask(request)

    def _neighbours(self, vectors: NDArray[np.float32]) -> list[list[tuple[str, float]]]:
        """For each vector, the ids nearest to it with their distance."""

        def request(client: Any) -> list[list[tuple[str, float]]]:
            if (collection := self._opened(client)) is None:
                return [[] for _ in vectors]
            answer = collection.query(
                query_embeddings=list(vectors), n_results=NEIGHBOURS, include=["distances"]
            )
            return [
                list(zip(ids, map(float, distances), strict=True))
                for ids, distances in zip(answer["ids"], answer["distances"], strict=True)
            ]

        return self._ask(request)

    def _get(self, ids: list[str], include: list[str]) -> Any:
        """What Chroma has under these ids; nothing at all when there is no collection."""

        def request(client: Any) -> Any:
            if (collection := self._opened(client)) is None:
                return {"ids": [], "embeddings": []}
            return collection.get(ids=ids, include=include)

        return self._ask(request)

    def _ask(self, request: Callable[[Any], _Answer]) -> _Answer:
        """Make a request, and make it again when the server or collection was replaced.

        Every request can be repeated without harm. What chromadb raises is translated here.
        """
        from chromadb.errors import ChromaError

        failure: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(attempt * RETRY_SECONDS)
            try:
                return request(self._connected())
            except ServerError as error:
                raise VectorStoreError(error.message, cure=error.cure) from error
            # chromadb reports a refused connection as ValueError, a closed one as RuntimeError.
            except (ChromaError, httpx.HTTPError, ValueError, RuntimeError) as error:
                failure = error
                self.close()
                self._restart_when_it_hangs(error)
        if self._name != COLLECTION:
            raise VectorStoreError(
                f"The Chroma server at {self._address().base_url} failed: {_first_line(failure)}",
                cure="Check that it runs, and TRIPTYCH_CHROMA_URL; then try again.",
            ) from failure
        raise VectorStoreError(
            f"The vector store (Chroma) failed: {_first_line(failure)}",
            cure="Try again: it is started again when it has stopped. "
            "`python -m bot doctor` shows its state.",
        ) from failure

    def _restart_when_it_hangs(self, error: Exception) -> None:
        """End a server that answers its watchdog but no request."""
        causes = (error, error.__cause__, error.__context__)
        if self._restart and any(isinstance(one, httpx.TimeoutException) for one in causes):
            with suppress(ServerError):  # the next attempt says why
                self._restart()

    def _connected(self) -> Any:
        """A client for the server's present address."""
        address = self._address()
        with self._lock:
            if address.base_url != self._base_url:
                self._close()
                self._client = _client(address)
                self._base_url = address.base_url
            return self._client

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            for session in _sessions(self._client):
                session.close()
        self._client = self._collection = None
        self._base_url = ""

    def _opened(self, client: Any) -> Any:
        """The collection, or nothing when there is none yet."""
        collection = self._collection
        if collection is None:
            collection = self._collection = _existing(client, self._name)
        return collection


def _client(server: ServerAddress) -> Any:
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    address = urlsplit(server.base_url)
    host = address.hostname or "127.0.0.1"
    _reach_directly(host)
    known = set(SharedSystemClient._identifier_to_system)
    try:
        client = chromadb.HttpClient(
            host=host,
            port=address.port or (443 if address.scheme == "https" else 80),
            ssl=address.scheme == "https",
            headers={"Authorization": f"Bearer {server.key}"} if server.key else None,
            settings=Settings(anonymized_telemetry=False),
        )
    except Exception:
        _close_systems(known)
        raise
    for session in _sessions(client):
        session.timeout = httpx.Timeout(TIMEOUT_SECONDS)
    return client


def _close_systems(known: set[str]) -> None:
    """Close what a client that could not be made has opened; chromadb would keep it for ever."""
    from chromadb.api import ServerAPI
    from chromadb.api.shared_system_client import SharedSystemClient

    systems = SharedSystemClient._identifier_to_system
    for name in set(systems) - known:
        if (system := systems.pop(name, None)) is not None:
            system.instance(ServerAPI)._session.close()


def _sessions(client: Any) -> list[httpx.Client]:
    """The connections of a client, which chromadb neither closes nor limits in time."""
    return [client._server._session, client._admin_client._server._session]


def _reach_directly(host: str) -> None:
    """Keep requests to this machine away from a proxy that the environment may name."""
    for variable in ("NO_PROXY", "no_proxy"):
        hosts = os.environ.get(variable, "")
        if host in ("127.0.0.1", "localhost") and host not in hosts.split(","):
            os.environ[variable] = f"{hosts},{host}".lstrip(",")


def _existing(client: Any, name: str) -> Any:
    from chromadb.errors import NotFoundError

    try:
        return client.get_collection(name, embedding_function=None)
    except NotFoundError:
        return None


def _embedder_of(collection: Any) -> str:
    return str((collection.metadata or {}).get("embedder", ""))


def _searched(collection: Any) -> int:
    return int((collection.configuration.get("hnsw") or {}).get("ef_search", 0))


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _IDS_PER_REQUEST):
        yield list(ids[start : start + _IDS_PER_REQUEST])


def _is_unit(vector: NDArray[np.float32]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(abs(float(np.linalg.norm(vector.astype(np.float64))) - 1.0) < SAME_DISTANCE)


def _first_line(error: Exception | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
