"""Models on servers that speak the OpenAI protocol, each with its own habits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.errors import AddressRefused, ModelError, ModelUnavailable
from bot.messages import Message
from bot.models.catalog import AdapterWeights, ModelProfile, RemoteAdapter
from bot.models.client import Endpoint, count_tokens
from bot.models.prices import offer
from bot.models.remote import RemoteModel
from tests.models.web import Answer, Call, serving
from tests.models.wire_server import answering, ask, refused, run, streamed

PROFILE = ModelProfile("kiln", 5000, 4, "", None, None)
NO_SUCH_PAGE = Answer({"error": {"message": "not here"}}, status=404)


def remote(base_url: str, **options: Any) -> RemoteModel:
    return RemoteModel("openai:kiln", Endpoint(f"{base_url}/v1", "key", "kiln"), PROFILE, **options)


def listing(*entries: dict[str, Any]) -> Answer:
    return Answer({"object": "list", "data": list(entries)})


def test_a_vllm_server_tells_its_context_and_its_adapters() -> None:
    entries = (
        {"id": "kiln", "object": "model", "owned_by": "vllm", "root": "org/kiln"}
        | {"max_model_len": 32_768, "parent": None},
        {"id": "glazes", "object": "model", "owned_by": "vllm", "parent": "kiln"},
        {"id": "stranger", "object": "model", "owned_by": "vllm", "parent": "other"},
    )
    with serving(lambda _: listing(*entries)) as site:
        model = remote(site.base_url)
        assert model.profile.context_tokens == 5000, "nobody was asked yet"
        assert model.adapter_names() == ["glazes"]
        assert model.profile.context_tokens == 32_768
        assert model.endpoint().model == "kiln"
        assert not model.endpoint().counts
        assert model.endpoint(RemoteAdapter("glazes")).model == "glazes"
        assert len(site.calls) == 1, "it is asked once"
        assert site.calls[0].headers["authorization"] == "Bearer key"


def test_a_llama_cpp_server_tells_its_context_and_counts() -> None:
    def answer(call: Call) -> Answer:
        if call.path == "/v1/models":
            meta = {"n_ctx_train": 131_072}
            return listing({"id": "kiln", "owned_by": "llamacpp", "meta": meta})
        assert call.path == "/props"
        return Answer({"default_generation_settings": {"n_ctx": 2048}})

    with serving(answer) as site:
        model = remote(site.base_url)
        assert model.endpoint().counts
        assert model.profile.context_tokens == 2048


def test_an_ollama_server_tells_the_context_that_it_loaded() -> None:
    def answer(call: Call) -> Answer:
        if call.path == "/v1/models":
            return listing({"id": "kiln", "owned_by": "library"})
        assert call.path == "/api/ps"
        return Answer({"models": [{"model": "kiln", "context_length": 4096}]})

    with serving(answer) as site:
        model = remote(site.base_url)
        assert not model.endpoint().counts
        assert model.profile.context_tokens == 4096


def test_fine_tuned_models_of_the_base_are_its_adapters() -> None:
    ids = ("kiln", "ft:kiln:acme::1", "ft:oven:acme::2")
    with serving(lambda _: listing(*({"id": one} for one in ids))) as site:
        assert remote(site.base_url).adapter_names() == ["ft:kiln:acme::1"]


@pytest.mark.parametrize(
    "answer", [NO_SUCH_PAGE, Answer(body=b"<h1>It works</h1>"), Answer({"data": None})]
)
def test_a_server_that_lists_nothing_is_taken_as_configured(answer: Answer) -> None:
    with serving(lambda _: answer) as site:
        model = remote(site.base_url)
        assert model.endpoint().model == "kiln"
        assert model.profile.context_tokens == 5000
        assert model.adapter_names() == []


def test_a_context_that_a_person_chose_is_kept() -> None:
    with serving(lambda _: listing({"id": "kiln", "max_model_len": 32_768})) as site:
        model = remote(site.base_url, fixed_context=True)
        model.endpoint()
        assert model.profile.context_tokens == 5000


def test_an_adapter_of_this_machine_is_refused() -> None:
    with serving(lambda _: listing()) as site, pytest.raises(ModelUnavailable, match="glazes"):
        remote(site.base_url).endpoint(AdapterWeights("glazes", Path("a.gguf"), "0"))


def test_a_refused_address_is_never_called() -> None:
    from bot.models.addresses import AddressPolicy

    with serving(lambda _: listing()) as site:
        port = int(site.base_url.rpartition(":")[2])
        model = remote(site.base_url, policy=lambda: AddressPolicy(frozenset({port})))
        with pytest.raises(AddressRefused):
            model.endpoint()
        assert site.calls == []


def test_what_a_server_does_not_know_is_left_out() -> None:
    async def test() -> None:
        complaints = [
            refused(400, message="Unsupported parameter: 'max_tokens' is not supported"),
            refused(400, message="Unsupported value", param="temperature"),
            refused(422, message="Extra inputs are not permitted: stream_options"),
        ]
        async with answering(*complaints, streamed("a"), streamed("b")) as seen:
            assert (await ask(seen.endpoint))[0] == "a"
            assert (await ask(seen.endpoint))[0] == "b"
            last, again = seen.bodies[-2:]
        assert last["max_completion_tokens"] == 40
        assert {"max_tokens", "temperature", "stream_options"}.isdisjoint(last)
        assert last == again, "what was learnt is kept"

    run(test)


def test_another_complaint_is_reported() -> None:
    async def test() -> None:
        async with answering(refused(400, message="max_tokens is too large")) as seen:
            with pytest.raises(ModelError, match="too large"):
                await ask(seen.endpoint)

    run(test)


def test_tokens_are_estimated_where_the_server_cannot_count() -> None:
    async def test() -> None:
        endpoint = Endpoint("http://127.0.0.1:9/v1", "", "m", counts=False)
        assert 30 <= await count_tokens(endpoint, [Message("user", "word " * 20)]) <= 60

    run(test)


def test_prices_are_those_of_their_host_only() -> None:
    dated = offer("api.openai.com", "gpt-4.1-mini-2025-04-14")

    assert dated is not None
    assert dated == offer("api.openai.com", "gpt-4.1-mini")
    assert offer("127.0.0.1", "gpt-4.1-mini") is None
    assert offer("api.openai.com", "ft:gpt-4.1-mini:acme::1") is None
