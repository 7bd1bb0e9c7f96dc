"""The second speaker: LangChain's providers as the same events, with a scripted Ollama server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.errors import ModelError, ModelProtocolError, ModelTimeout, ModelUnavailable
from bot.messages import Message
from bot.models.client import Completion, Delta, Endpoint, Sampling, stream
from tests.models.web import Answer, Call, serving

CONVERSATION = [Message("system", "Be brief."), Message("user", "How long does it cool?")]


def line(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "kiln",
        "created_at": "2026-11-21T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": False,
        **more,
    }


END = line("", done=True, done_reason="stop", prompt_eval_count=21, eval_count=2)


def spoken(
    base_url: str, provider: str = "ollama", *, timeout_seconds: float = 30
) -> list[Delta | Completion]:
    async def collect() -> list[Delta | Completion]:
        endpoint = Endpoint(
            base_url, "", "kiln", counts=False, provider=provider, context_tokens=3000
        )
        pieces = stream(
            endpoint, CONVERSATION, Sampling(40, 0.5, 7), timeout_seconds=timeout_seconds
        )
        return [one async for one in pieces]

    return asyncio.run(collect())


def test_an_answer_comes_as_deltas_and_one_completion() -> None:
    with serving(lambda _: Answer(lines=[line("Nine"), line(" hours."), END])) as site:
        pieces = spoken(site.base_url)

    assert pieces == [Delta("Nine"), Delta(" hours."), Completion(21, 2, "stop")]
    (call,) = site.calls
    assert call.path == "/api/chat"
    assert call.body["options"]["num_predict"] == 40
    assert call.body["options"]["seed"] == 7
    assert call.body["options"]["num_ctx"] == 3000
    sent = [(one["role"], one["content"]) for one in call.body["messages"]]
    assert sent == [("system", "Be brief."), ("user", "How long does it cool?")]


def test_an_answer_that_reached_its_longest_length_says_so() -> None:
    cut = {**END, "done_reason": "length"}
    with serving(lambda _: Answer(lines=[line("Nine"), cut])) as site:
        assert spoken(site.base_url)[-1] == Completion(21, 2, "length")


def test_an_answer_far_beyond_its_length_is_cut_off() -> None:
    with serving(lambda _: Answer(lines=[line(" more")] * 500)) as site:
        *deltas, end = spoken(site.base_url)
    assert isinstance(end, Completion)
    assert end.finish_reason == "length"
    assert len(deltas) == end.answer_tokens < 100


def test_an_answer_that_was_cut_off_is_not_whole() -> None:
    answer = Answer(lines=[line("Nine")])
    with serving(lambda _: answer) as site, pytest.raises(ModelProtocolError, match="cut off"):
        spoken(site.base_url)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (401, ModelUnavailable, "key"),
        (404, ModelUnavailable, "does not know"),
        (429, ModelUnavailable, "busy"),
        (500, ModelProtocolError, "the oven is hot"),
    ],
)
def test_a_refusal_is_one_of_our_errors(status: int, kind: type[ModelError], said: str) -> None:
    answer = Answer({"error": "the oven is hot"}, status=status)
    with serving(lambda _: answer) as site, pytest.raises(kind, match=said):
        spoken(site.base_url)


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        spoken("http://127.0.0.1:9")


def test_a_silent_server_is_not_waited_for() -> None:
    from threading import Event

    released = Event()

    def wait(_: Call) -> Answer:
        released.wait(30)
        return Answer(lines=[END])

    with serving(wait) as site:
        with pytest.raises(ModelTimeout):
            spoken(site.base_url, timeout_seconds=0.3)
        released.set()


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ModelUnavailable, match="pip install langchain-anthropic"):
        spoken("", provider="anthropic")


def test_an_unknown_provider_is_named() -> None:
    with pytest.raises(ModelUnavailable, match="no provider named kilnworks"):
        spoken("", provider="kilnworks")
