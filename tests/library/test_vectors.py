"""The vector store over a real Chroma."""

from __future__ import annotations

import numpy as np
import pytest

from bot.errors import ServerError, VectorStoreError
from bot.library.vectors import VectorStore
from bot.servers import ServerAddress
from tests.library.conftest import RunningChroma

pytestmark = pytest.mark.integration


def _unit(*values: float) -> np.ndarray:
    vector = np.zeros(384, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


def _fill(store: VectorStore, embedder: str = "e1") -> None:
    store.prepare(embedder)
    vectors = {"a": _unit(1, 0), "b": _unit(1, 1), "c": _unit(0, 1)}
    store.add(vectors, dict.fromkeys(vectors, "doc.md"))


def test_query_gives_the_nearest_by_cosine(vectors: VectorStore) -> None:
    _fill(vectors)
    found = vectors.query(_unit(1, 0.1), top=2, embedder="e1")
    assert [id_ for id_, _ in found] == ["a", "b"]
    assert found[0][1] == pytest.approx(float(_unit(1, 0) @ _unit(1, 0.1)), abs=1e-4)


def test_an_empty_store_finds_nothing(vectors: VectorStore) -> None:
    assert vectors.query(_unit(1), top=2, embedder="e1") == []
    assert vectors.present(["a"]) == set()
    assert vectors.vectors(["a"]) == {}
    vectors.delete(["a"])


def test_what_was_stored_comes_back(vectors: VectorStore) -> None:
    _fill(vectors)
    assert vectors.present(["a", "c", "unknown"]) == {"a", "c"}
    assert np.allclose(vectors.vectors(["b", "unknown"])["b"], _unit(1, 1))


def test_adding_again_replaces_and_deleting_removes(vectors: VectorStore) -> None:
    _fill(vectors)
    vectors.add({"a": _unit(0, 0, 1)}, {"a": "doc.md"})
    assert np.allclose(vectors.vectors(["a"])["a"], _unit(0, 0, 1))
    vectors.delete(["a", "unknown"])
    assert vectors.present(["a", "b"]) == {"b"}


def test_more_ids_than_one_request_carries(vectors: VectorStore) -> None:
    vectors.prepare("e1")
    ids = [f"p{number}" for number in range(1500)]
    vectors.add({id_: _unit(1, n) for n, id_ in enumerate(ids)}, dict.fromkeys(ids, "d"))
    assert vectors.present(ids) == set(ids)


def test_vectors_of_another_embedder_are_not_searched(vectors: VectorStore) -> None:
    _fill(vectors, "e1")
    with pytest.raises(VectorStoreError, match=r"another embedding model.*Rebuild"):
        vectors.query(_unit(1), top=1, embedder="e2")


def test_preparing_for_another_embedder_starts_anew(vectors: VectorStore) -> None:
    _fill(vectors, "e1")
    assert vectors.prepare("e1") is False
    assert vectors.present(["a"]) == {"a"}
    assert vectors.prepare("e2") is True
    assert vectors.present(["a"]) == set()
    assert vectors.query(_unit(1), top=1, embedder="e2") == []


def test_a_collection_replaced_by_another_process_is_found_again(
    vectors: VectorStore, chroma: RunningChroma
) -> None:
    _fill(vectors, "e1")
    other = VectorStore(chroma.address)
    other.clear()
    _fill(other, "e1")
    other.close()
    assert [id_ for id_, _ in vectors.query(_unit(1), top=1, embedder="e1")] == ["a"]


def test_a_restarted_server_is_found_at_its_new_address(
    vectors: VectorStore, chroma: RunningChroma
) -> None:
    _fill(vectors)
    chroma.stop()
    with pytest.raises(VectorStoreError, match="Chroma"):
        vectors.query(_unit(1), top=1, embedder="e1")
    chroma.start()
    assert vectors.present(["a", "b", "c"]) == {"a", "b", "c"}


def test_a_server_that_cannot_be_started_keeps_its_reason() -> None:
    def address() -> ServerAddress:
        raise ServerError("Chroma ended at its start.", cure="Free some disk space.")

    with pytest.raises(VectorStoreError, match=r"ended at its start\. Free some disk"):
        VectorStore(address).present(["a"])
