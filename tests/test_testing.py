"""The scripted model: plays its script, and fails loudly when the script was wrong."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

import httpx
import pytest

from bot.errors import ModelError
from bot.messages import Message
from bot.models import client
from bot.models.catalog import AdapterWeights
from bot.models.client import Completion, Delta, Endpoint, Sampling
from bot.testing import Gate, Reply, ScriptedModel

HELLO = [Message("user", "Hello there")]


def ask(
    endpoint: Endpoint, messages: Sequence[Message] = HELLO, max_tokens: int = 50
) -> list[Delta | Completion]:
    async def run() -> list[Delta | Completion]:
        sampling = Sampling(max_tokens, 0.0, 7)
        return [
            piece async for piece in client.stream(endpoint, messages, sampling, timeout_seconds=30)
        ]

    return asyncio.run(run())


def test_replies_are_played_word_by_word_in_order() -> None:
    with ScriptedModel([Reply("one two"), Reply("three")]) as model:
        first, second = ask(model.endpoint()), ask(model.endpoint())
    assert first[:2] == [Delta("one"), Delta(" two")]
    end = first[2]
    assert isinstance(end, Completion)
    assert (end.answer_tokens, end.finish_reason) == (2, "stop")
    assert second[0] == Delta("three")


def test_replies_can_be_meant_for_a_model_or_a_text() -> None:
    adapter = AdapterWeights("kilns", Path("kilns.gguf"), "a" * 64)
    script = [
        Reply("adapter", model="scripted+kilns"),
        Reply("kiln", contains="kiln"),
        Reply("anything"),
    ]
    with ScriptedModel(script) as model:
        assert ask(model.endpoint())[0] == Delta("anything")
        assert ask(model.endpoint(), [Message("user", "A kiln?")])[0] == Delta("kiln")
        assert ask(model.endpoint(adapter))[0] == Delta("adapter")
        assert [one.model for one in model.requests] == ["scripted", "scripted", "scripted+kilns"]


def test_an_unexpected_request_fails_the_test() -> None:
    with (
        pytest.raises(AssertionError, match=r"unexpected requests.*Hello there"),
        ScriptedModel() as model,
        pytest.raises(ModelError),
    ):
        ask(model.endpoint())


def test_an_unused_reply_fails_the_test() -> None:
    with (
        pytest.raises(AssertionError, match=r"unused replies.*never asked"),
        ScriptedModel([Reply("never asked")]),
    ):
        pass


def test_a_failing_test_is_not_hidden_behind_the_script() -> None:
    with pytest.raises(ZeroDivisionError), ScriptedModel([Reply("never asked")]):
        raise ZeroDivisionError


def test_the_length_asked_for_is_kept() -> None:
    with ScriptedModel([Reply("one two three")]) as model:
        end = ask(model.endpoint(), max_tokens=2)[-1]
    assert isinstance(end, Completion)
    assert (end.answer_tokens, end.finish_reason) == (2, "length")


def test_the_count_of_a_prompt_is_the_count_of_its_completion() -> None:
    with ScriptedModel([Reply("fine")]) as model:
        counted = asyncio.run(client.count_tokens(model.endpoint(), HELLO))
        end = ask(model.endpoint())[-1]
    assert isinstance(end, Completion)
    assert counted == end.prompt_tokens > 0


@pytest.mark.parametrize(
    "reply",
    [Reply("no", status=500), Reply("one two", cut_at=1), Reply(garbage=True)],
    ids=["refused", "cut", "garbage"],
)
def test_failures_are_failures_for_the_client(reply: Reply) -> None:
    with ScriptedModel([reply]) as model, pytest.raises(ModelError):
        ask(model.endpoint())


def test_a_wrong_key_and_a_wrong_path_are_refused() -> None:
    with ScriptedModel() as model:
        root = model.endpoint().base_url.removesuffix("/v1")
        key = {"Authorization": f"Bearer {model.endpoint().key}"}
        assert httpx.get(f"{root}/health").status_code == 200
        assert httpx.post(f"{root}/tokenize", json={"content": "a"}).status_code == 401
        assert httpx.post(f"{root}/other", json={}, headers=key).status_code == 404


def test_a_gate_holds_the_answer_until_it_is_released() -> None:
    gate = Gate()

    async def run(endpoint: Endpoint) -> list[object]:
        pieces: list[object] = []
        async for piece in client.stream(endpoint, HELLO, Sampling(9, 0, 7), timeout_seconds=30):
            pieces.append(piece)
            if len(pieces) == 1:
                await asyncio.to_thread(gate.reached.wait)
                assert pieces == [Delta("one")]
                gate.release()
        return pieces

    with ScriptedModel([Reply("one two", gate=gate, gate_at=1)]) as model:
        assert asyncio.run(run(model.endpoint()))[1] == Delta(" two")


def test_what_the_client_breaks_off_is_seen() -> None:
    async def run(endpoint: Endpoint) -> None:
        pieces = client.stream(endpoint, HELLO, Sampling(9, 0, 7), timeout_seconds=30)
        assert await anext(pieces) == Delta("one")
        await pieces.aclose()

    with ScriptedModel([Reply("one two", gate=Gate(), gate_at=1)]) as model:
        asyncio.run(run(model.endpoint()))
        assert model.wait_for_cancelled(1)[0].messages == tuple(HELLO)


def test_a_talkative_model_answers_everything() -> None:
    with ScriptedModel.talkative(tokens_per_second=0, tokens=120) as model:
        for _ in range(3):
            end = ask(model.endpoint(), max_tokens=500)[-1]
            assert isinstance(end, Completion)
            assert end.answer_tokens == 120


def test_it_can_be_a_process_of_its_own() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bot.testing", "--tokens-per-second", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address, key = process.stdout.readline().removesuffix(")\n").split(" (key: ")
    try:
        assert len(ask(Endpoint(address, key, "scripted"), max_tokens=5)) == 6
    finally:
        process.communicate()  # its standard input closes, and so it ends
    assert process.returncode == 0


def test_it_ends_with_every_connection_also_those_that_are_just_coming() -> None:
    def knock(port: int) -> None:
        with suppress(OSError):  # nobody listens any more
            while True:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(5):
            with ScriptedModel() as model:
                visitors = [Thread(target=knock, args=(model.port,)) for _ in range(3)]
                for visitor in visitors:
                    visitor.start()
            for visitor in visitors:
                visitor.join()
        gc.collect()
    assert [str(one.message) for one in warned if one.category is ResourceWarning] == []
