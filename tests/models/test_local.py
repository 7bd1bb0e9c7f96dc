"""GGUF files as models: what they say of themselves, and how the broken ones are told."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot.errors import WeightsError
from bot.models.catalog import EMBEDDED_SHA256, embedded_weights
from bot.models.header import Header, read_header
from bot.models.local import KnownFiles, LocalModel
from bot.servers import Servers
from tests.models.gguf_files import write_gguf
from tests.models.wire_server import ask, run


def local(path: Path, tmp_path: Path, *, context_tokens: int = 1024) -> LocalModel:
    return LocalModel(
        f"gguf:{path}",
        path,
        KnownFiles(tmp_path / "weights.json"),
        Servers(tmp_path / "data"),
        context_tokens,
        1,
    )


def test_a_file_tells_its_name_and_context(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "kiln.gguf")

    assert read_header(path) == Header("Kiln 1B", "llama", 2048, True)
    model = local(path, tmp_path)
    assert model.profile.context_tokens == 1024, "not more than is served"
    assert local(path, tmp_path, context_tokens=8192).profile.context_tokens == 2048
    assert (model.title, model.profile.opening) == ("kiln", "")
    assert model.profile.cost(10, 10) == 0


def test_the_embedded_weights_are_read_alike() -> None:
    header = read_header(embedded_weights().path)

    assert header.context_tokens == 8192
    assert header.has_chat_template


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"GG", "not a GGUF file"),
        (b"%PDF-1.7 something else", "not a GGUF file"),
        (b"GGUF\x01\x00\x00\x00", "version 1"),
        (b"GGUF\x03\x00\x00\x00", "cut short"),
        (b"GGUF\x03\x00\x00\x00" + b"\xff" * 64, "damaged"),
    ],
)
def test_a_file_that_is_no_model_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=said) as caught:
        local(path, tmp_path).endpoint()
    assert "broken.gguf" in str(caught.value)
    assert local(path, tmp_path).profile.context_tokens > 0, "the page that lists it stays up"
    assert local(path, tmp_path).identity == "broken.gguf@here"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        local(tmp_path / "absent.gguf", tmp_path).endpoint()


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="adapter"):
        read_header(write_gguf(tmp_path / "lora.gguf", kind="adapter"))


def test_wherever_a_file_was_cut_it_is_told(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for share in range(1, 40):
        path.write_bytes(whole[: len(whole) * share // 40])
        with pytest.raises(WeightsError):
            read_header(path)


def test_no_damage_crashes_the_reader(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "damaged.gguf"
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole[:2000] + whole[2000:])
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(1500)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_header(path)
        except WeightsError as error:
            assert len(str(error)) < 300


def test_the_checksum_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(tmp_path / "kiln.gguf")
    first = local(path, tmp_path).identity
    with monkeypatch.context() as patched:
        patched.setattr("bot.models.local.read_header", None)  # not called again
        assert local(path, tmp_path).identity == first
    write_gguf(path, name="Another")
    assert local(path, tmp_path).identity != first
    (tmp_path / "weights.json").write_text("not json", encoding="utf-8")
    assert local(path, tmp_path).identity != first


@pytest.mark.integration
def test_a_file_answers_through_a_child_server(tmp_path: Path) -> None:
    path = tmp_path / "copy.gguf"
    path.symlink_to(embedded_weights().path)
    servers = Servers(tmp_path / "data")
    model = LocalModel(
        str(path), path, KnownFiles(tmp_path / "weights.json"), servers, 512, threads=1
    )
    try:
        endpoint = model.endpoint()
        assert model.identity == EMBEDDED_SHA256

        async def test() -> None:
            text, end = await ask(endpoint, max_tokens=5)
            assert text
            assert end.answer_tokens == 5

        run(test)
        assert urlsplit(endpoint.base_url).port in servers.ports(), "no page may call it"
        assert [one.name for one in servers.status()] == [f"model-{EMBEDDED_SHA256[:12]}"]
    finally:
        servers.close()


@pytest.mark.integration
def test_a_file_that_llama_cpp_cannot_serve_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "hollow.gguf")
    model = local(path, tmp_path)
    try:
        with pytest.raises(WeightsError, match=r"hollow\.gguf cannot be served") as caught:
            model.endpoint()
        assert "\n" not in str(caught.value)
    finally:
        model._servers.close()
