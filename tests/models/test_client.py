"""The protocol's client: every failure becomes one of our errors, connections are reused."""

from __future__ import annotations

import socket
import sys
from threading import Event

import pytest

from bot.errors import (
    ContextExceeded,
    ModelError,
    ModelProtocolError,
    ModelTimeout,
    ModelUnavailable,
)
from bot.models import client
from bot.models.client import (
    Completion,
    Delta,
    Endpoint,
    Sampling,
    count_tokens,
    stream,
    token_probabilities,
)
from tests.models.wire_server import HANG_UP, QUESTION, answering, ask, page, refused, run, streamed


def test_deltas_come_as_they_are_and_then_one_completion() -> None:
    async def test() -> None:
        async with answering(streamed("Nine", " hours.")) as seen:
            pieces = stream(seen.endpoint, QUESTION, Sampling(40, 0.5, 7), timeout_seconds=60)
            assert [piece async for piece in pieces] == [
                Delta("Nine"),
                Delta(" hours."),
                Completion(prompt_tokens=9, answer_tokens=2, finish_reason="stop"),
            ]
            (body,) = seen.bodies
            assert body["messages"] == [{"role": "user", "content": QUESTION[0].content}]
            assert (body["max_tokens"], body["temperature"], body["seed"]) == (40, 0.5, 7)
            assert "cache_prompt" not in body  # other servers refuse what they do not know

    run(test)


def test_a_prompt_is_reused_only_when_asked() -> None:
    async def test() -> None:
        async with answering(streamed("Nine")) as seen:
            sampling = Sampling(40, 0.0, 7)
            pieces = stream(
                seen.endpoint, QUESTION, sampling, timeout_seconds=60, reuse_prompt=True
            )
            assert [piece async for piece in pieces]
            assert seen.bodies[0]["cache_prompt"] is True

    run(test)


def test_a_schema_is_sent_and_left_out_where_it_is_not_known() -> None:
    schema = {"type": "object"}
    complaint = refused(400, message="Unknown parameter: response_format")

    async def test() -> None:
        async with answering(streamed("{}"), complaint, streamed("{}")) as seen:
            for _ in range(2):
                pieces = stream(
                    seen.endpoint, QUESTION, Sampling(40, 0.0, 7), timeout_seconds=60, schema=schema
                )
                assert Delta("{}") in [piece async for piece in pieces]
            known, refused_once, without = seen.bodies
            assert known["response_format"]["json_schema"]["schema"] == schema
            assert known == refused_once
            assert "response_format" not in without

    run(test)


def test_one_connection_serves_one_request_after_another() -> None:
    async def test() -> None:
        async with answering(streamed("a"), streamed("b"), streamed("c")) as seen:
            for _ in range(3):
                await ask(seen.endpoint)
            assert seen.connections == 1

    run(test)


def test_a_reused_connection_that_breaks_is_replaced_once() -> None:
    async def test() -> None:
        async with answering(streamed("first"), HANG_UP, streamed("again")) as seen:
            await ask(seen.endpoint)
            assert (await ask(seen.endpoint))[0] == "again"
            assert seen.connections == 2

    run(test)


def test_a_new_connection_that_breaks_is_not_tried_again() -> None:
    async def test() -> None:
        async with answering(HANG_UP) as seen:
            with pytest.raises(ModelUnavailable, match="went away"):
                await ask(seen.endpoint)
            assert seen.connections == 1

    run(test)


def test_a_refused_connection_says_that_the_server_is_not_running() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = Endpoint(f"http://127.0.0.1:{probe.getsockname()[1]}/v1", "key", "m")

    async def test() -> None:
        with pytest.raises(ModelUnavailable, match="not running"):
            await ask(nobody)

    run(test)


def test_a_silent_server_is_given_up() -> None:
    async def test() -> None:
        silent = streamed("Nine", end=False).replace(b"Content-Length: ", b"Content-Length: 9")
        async with answering(silent) as seen:
            with pytest.raises(ModelTimeout):
                await ask(seen.endpoint, timeout_seconds=0.1)

    run(test)


def test_an_answer_that_is_cut_off_is_not_complete() -> None:
    async def test() -> None:
        async with answering(streamed("Nine", end=False)) as seen:
            with pytest.raises(ModelProtocolError, match="cut off"):
                await ask(seen.endpoint)

    run(test)


def test_a_connection_that_breaks_within_an_answer_is_reported() -> None:
    async def test() -> None:
        longer = streamed("Nine", end=False).replace(b"Content-Length: ", b"Content-Length: 9")
        async with answering(longer, then_hang_up=True) as seen:
            with pytest.raises(ModelUnavailable, match="went away"):
                await ask(seen.endpoint)

    run(test)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused(401, code=401, message="Invalid API Key"), ModelUnavailable),
        (refused(404, code=404, message="no such model"), ModelUnavailable),
        (refused(503, code=503, message="Loading model"), ModelUnavailable),
        (refused(400, code=400, message="bad grammar"), ModelProtocolError),
        (refused(500, code=500, message="oh no"), ModelProtocolError),
        (page("<html>Welcome!</html>"), ModelProtocolError),
        (page("data: {not json\n\n"), ModelProtocolError),
        (page('data: {"error": {"code": 500, "message": "oh no"}}\n\n'), ModelProtocolError),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ModelError),
    ],
)
def test_an_answer_that_is_none_becomes_an_error_of_ours(
    answer: bytes, error: type[ModelError]
) -> None:
    async def test() -> None:
        async with answering(answer, then_hang_up=True) as seen:
            with pytest.raises(error):
                await ask(seen.endpoint)

    run(test)


def test_a_prompt_that_is_too_long_is_reported_with_both_counts() -> None:
    answer = refused(
        400,
        code=400,
        type="exceed_context_size_error",
        message="too long",
        n_prompt_tokens=5000,
        n_ctx=4096,
    )

    async def test() -> None:
        async with answering(answer) as seen:
            with pytest.raises(ContextExceeded) as caught:
                await ask(seen.endpoint)
            assert (caught.value.prompt_tokens, caught.value.context_tokens) == (5000, 4096)

    run(test)


@pytest.mark.parametrize("answer", [page("hello"), page("[]"), page('{"prompt": 3}')])
def test_counting_on_a_server_that_cannot_is_an_error_of_ours(answer: bytes) -> None:
    async def test() -> None:
        async with answering(answer) as seen:
            with pytest.raises(ModelProtocolError):
                await count_tokens(seen.endpoint, QUESTION)

    run(test)


def test_probabilities_that_are_not_reported_are_an_error_of_ours() -> None:
    answer = page('{"choices": [{"index": 0, "message": {"content": "Nine"}}]}')

    async def test() -> None:
        async with answering(answer.replace(b"text/html", b"application/json")) as seen:
            with pytest.raises(ModelProtocolError):
                await token_probabilities(seen.endpoint, QUESTION, top=3)

    run(test)


def test_an_error_of_ours_never_shows_the_key() -> None:
    async def test() -> None:
        async with answering(HANG_UP) as seen:
            with pytest.raises(ModelUnavailable) as caught:
                await ask(seen.endpoint)
            assert seen.endpoint.key not in repr(seen.endpoint).replace("'key'", "")
            assert "key" not in str(caught.value)

    run(test)


def test_a_library_that_somebody_else_has_begun_to_load_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited_for: list[str] = []
    monkeypatch.setattr(client, "_loaded", Event())
    monkeypatch.setattr(client, "import_module", waited_for.append)
    assert "openai" in sys.modules, "as it is from the moment at which its import begins"

    async def test() -> None:
        await client.load()
        await client.load()

    run(test)
    assert waited_for == ["openai"]
