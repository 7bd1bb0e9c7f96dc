"""The vector store over a real Chroma."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from bot.errors import ServerError, SettingsError, VectorStoreError
from bot.library.vectors import (
    COLLECTION,
    SEARCHED,
    VectorStore,
    _existing,
    _searched,
    chroma_at,
)
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


def test_a_stray_among_many_that_are_nearly_the_same_is_found(vectors: VectorStore) -> None:
    chance = np.random.default_rng(7)
    alike = chance.standard_normal(384) + 0.02 * chance.standard_normal((1500, 384))
    for _ in range(20):  # which ones are lost is for Chroma's threads to decide
        some = np.concatenate([alike, chance.standard_normal((30, 384))])
        rows = (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float32)
        given = {f"p{number}": row for number, row in enumerate(rows)}
        vectors.clear()
        vectors.prepare("e1")
        vectors.add(given, dict.fromkeys(given, "doc.md"))
        if strays := vectors.unfindable(list(given)):
            break
    for id_ in strays:
        assert vectors.query(given[id_], top=1, embedder="e1")[0][0] != id_
    vectors.look_at(strays)
    for id_ in strays:
        assert vectors.query(given[id_], top=1, embedder="e1") == [(id_, pytest.approx(1.0))]
    found = vectors.query(given["p0"], top=5, embedder="e1")
    assert len(found) == 5
    assert found == sorted(found, key=lambda one: -one[1])
    vectors.delete(sorted(strays))
    assert vectors.query(given[min(strays)], top=1, embedder="e1")[0][0] not in strays


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


def test_a_collection_made_before_is_searched_as_widely(vectors: VectorStore) -> None:
    def older(client: Any) -> None:
        client.create_collection(
            COLLECTION,
            metadata={"embedder": "e1"},
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )

    vectors._ask(older)
    assert vectors.prepare("e1") is False
    assert vectors._ask(lambda client: _searched(_existing(client, COLLECTION))) == SEARCHED


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


def test_two_triptychs_share_a_chroma_server_that_others_started(chroma: RunningChroma) -> None:
    address = chroma_at(chroma.base_url + "/")
    one = VectorStore(lambda: address, collection="triptych-one")
    other = VectorStore(lambda: address, collection="triptych-other")
    _fill(one)
    assert other.present(["a"]) == set()
    _fill(other, embedder="e2")
    other.clear()
    assert one.present(["a", "b", "c"]) == {"a", "b", "c"}
    one.clear()
    one.close()
    other.close()


def test_a_chroma_server_that_is_away_is_named_with_the_setting() -> None:
    address = chroma_at("http://127.0.0.1:9", "a-token")
    store = VectorStore(lambda: address, collection="triptych-one")
    with pytest.raises(VectorStoreError, match=r"server at http://127\.0\.0\.1:9 ") as failure:
        store.present(["a"])
    assert "TRIPTYCH_CHROMA_URL" in failure.value.cure
    assert "a-token" not in f"{failure.value!r} {address!r}"


def test_a_chroma_server_is_found_again_when_it_is_back(tmp_path: Path) -> None:
    server = RunningChroma(tmp_path)
    port = int(server.base_url.rpartition(":")[2])
    address = chroma_at(server.base_url)
    store = VectorStore(lambda: address, collection="triptych-one")
    _fill(store)
    server.stop()
    with pytest.raises(VectorStoreError):
        store.present(["a"])
    server.start(port)
    assert store.present(["a"]) == {"a"}
    store.close()
    server.stop()


def test_its_token_is_sent(tmp_path: Path) -> None:
    seen: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = chroma_at(f"http://127.0.0.1:{server.server_port}", "a-token")
        with pytest.raises(VectorStoreError) as failure:
            VectorStore(lambda: address, collection="triptych-one").present(["a"])
        server.shutdown()
    assert set(seen) == {"Bearer a-token"}
    assert "a-token" not in str(failure.value)


@pytest.mark.parametrize(
    "url", ["chroma:8000", "file:///etc/passwd", "https://:1", "http://u:p@h:1", "http://h:1/path"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="TRIPTYCH_CHROMA_URL") as failure:
        chroma_at(url)
    assert url not in str(failure.value)
