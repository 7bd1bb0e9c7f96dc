"""The embedded model: the real engine in child servers, asked through the real client."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from openai import AsyncOpenAI

from bot.errors import ContextExceeded, ModelUnavailable, WeightsError
from bot.messages import Message
from bot.models.catalog import EMBEDDED_PROFILE, AdapterWeights, embedded_weights
from bot.models.client import (
    Delta,
    Endpoint,
    Sampling,
    count_tokens,
    estimated_tokens,
    rendered_prompt,
    stream,
    token_probabilities,
)
from bot.models.embedded import EmbeddedModel
from bot.models.serve import SLOTS
from bot.servers import Servers
from tests.models.wire_server import ask, run

pytestmark = pytest.mark.integration

CONTEXT_TOKENS = 512
STORIES = [
    [Message("user", f"Tell story number {n} of the kiln. " * (18 + 8 * n))] for n in range(2)
]
OPENING = Message("assistant", "According to the documents,")
QUESTION = Message("user", "Name the capital of France.")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers.open(tmp_path_factory.mktemp("data"))
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def model(servers: Servers) -> EmbeddedModel:
    return EmbeddedModel(servers, embedded_weights(), EMBEDDED_PROFILE, CONTEXT_TOKENS, 1)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> AdapterWeights:
    """A LoRA of random numbers on one matrix: enough to change every answer."""
    path = tmp_path_factory.mktemp("adapter") / "noise.gguf"
    numbers = np.random.default_rng(7)
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 64.0)
    name = "blk.0.attn_output.weight"
    writer.add_tensor(f"{name}.lora_a", numbers.normal(size=(4, 576)).astype(np.float32))
    writer.add_tensor(f"{name}.lora_b", numbers.normal(size=(576, 4)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return AdapterWeights("noise", path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def endpoint(model: EmbeddedModel) -> Endpoint:
    return model.endpoint()


def test_it_answers_and_counts(endpoint: Endpoint) -> None:
    async def test() -> None:
        text, end = await ask(endpoint, [QUESTION])
        assert "Paris" in text
        assert end.finish_reason == "stop"
        assert end.answer_tokens > 1

    run(test)


def test_an_answer_ends_at_its_longest(endpoint: Endpoint) -> None:
    async def test() -> None:
        _, end = await ask(endpoint, [Message("user", "Tell a long story.")], max_tokens=5)
        assert (end.finish_reason, end.answer_tokens) == ("length", 5)

    run(test)


def test_an_opening_is_continued_and_not_repeated(endpoint: Endpoint) -> None:
    """The answer is the one that the bare engine gives to the template with the opening at its
    end."""

    async def test() -> None:
        prompt = await rendered_prompt(endpoint, [QUESTION, OPENING])
        assert prompt.endswith(f"<|im_start|>assistant\n{OPENING.content}")
        async with AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.key) as bare:
            expected = await bare.completions.create(
                model=endpoint.model, prompt=prompt, temperature=0.0, max_tokens=40
            )
        text, _ = await ask(endpoint, [QUESTION, OPENING])
        assert text == expected.choices[0].text
        assert not text.startswith(OPENING.content)

    run(test)


@pytest.mark.parametrize(
    "messages", [[QUESTION], [Message("system", "Be brief."), QUESTION, OPENING]]
)
def test_tokens_are_counted_as_the_server_counts_them(
    endpoint: Endpoint, messages: list[Message]
) -> None:
    async def test() -> None:
        _, end = await ask(endpoint, messages, max_tokens=1)
        assert await count_tokens(endpoint, messages) == end.prompt_tokens

    run(test)


def test_every_answer_may_use_the_whole_context_and_no_more(endpoint: Endpoint) -> None:
    async def test() -> None:
        most = [Message("user", "hello " * (CONTEXT_TOKENS - 40))]
        answers = await asyncio.gather(*(ask(endpoint, most, max_tokens=4) for _ in range(2)))
        assert all(end.prompt_tokens > CONTEXT_TOKENS - 16 for _, end in answers)
        with pytest.raises(ContextExceeded) as caught:
            await ask(endpoint, [Message("user", "hello " * CONTEXT_TOKENS)])
        assert caught.value.context_tokens == CONTEXT_TOKENS
        assert caught.value.prompt_tokens > CONTEXT_TOKENS

    run(test)


def test_an_answer_is_the_same_alone_and_in_company(endpoint: Endpoint) -> None:
    """To the last bit, and not only in the words that are chosen."""

    async def chances(messages: list[Message]) -> dict[str, float]:
        return await token_probabilities(endpoint, messages, top=5)

    async def test() -> None:
        alone = [(await chances(story), await ask(endpoint, story)) for story in STORIES]
        assert await asyncio.gather(*map(chances, STORIES)) == [before for before, _ in alone]
        together = await asyncio.gather(*(ask(endpoint, story) for story in STORIES))
        assert together == [answer for _, answer in alone]
        assert together[0] != together[1]

    run(test)


def test_the_seed_decides_what_temperature_leaves_open(endpoint: Endpoint) -> None:
    async def told(seed: int) -> str:
        pieces = stream(
            endpoint,
            [Message("user", "Tell a story.")],
            Sampling(20, 1.0, seed),
            timeout_seconds=60,
        )
        return "".join([piece.text async for piece in pieces if isinstance(piece, Delta)])

    async def test() -> None:
        assert await told(1) == await told(1)
        assert await told(1) != await told(2)

    run(test)


def test_closing_the_generator_frees_the_slot(endpoint: Endpoint) -> None:
    """All slots are busy for half a minute; the next answer has the patience of a few seconds
    of silence."""

    async def begin_and_leave() -> None:
        endless = stream(
            endpoint,
            [Message("user", "Count from one to a thousand: one, two, three,")],
            Sampling(CONTEXT_TOKENS, 2.0, 7),
            timeout_seconds=60,
        )
        async with aclosing(endless):
            await anext(endless)

    async def test() -> None:
        await asyncio.gather(*(begin_and_leave() for _ in range(3 * SLOTS)))
        assert (await ask(endpoint, [QUESTION], max_tokens=2, timeout_seconds=15))[1]

    run(test)


def test_an_estimate_of_tokens_is_on_the_safe_side(endpoint: Endpoint) -> None:
    texts = (
        "The kiln cools slowly, so leave its door closed. " * 10,
        "1,234.56 − 7/8 = 0x1F; #42 (a) [b] {c} " * 10,
        "def f(x):\n    return {'a': [1, 2, None]}\n" * 10,
        "Der Brennofenkühlungsvorgang dauert länger als überall üblich. " * 10,
        "Le four à céramique refroidit très lentement, évidemment. " * 10,
    )

    async def test() -> None:
        for text in texts:
            counted = await count_tokens(endpoint, [Message("user", text)])
            assert estimated_tokens([Message("user", text)]) >= counted, text

    run(test)


def test_first_token_probabilities_agree_with_the_answer(endpoint: Endpoint) -> None:
    async def test() -> None:
        logarithms = await token_probabilities(endpoint, [QUESTION], top=5)
        text, _ = await ask(endpoint, [QUESTION], max_tokens=1)
        assert len(logarithms) == 5
        assert max(logarithms, key=lambda token: logarithms[token]) == text
        assert 0 < np.exp(list(logarithms.values())).sum() <= 1.0001

    run(test)


def test_an_adapter_answers_at_its_scale(
    model: EmbeddedModel, endpoint: Endpoint, adapter: AdapterWeights
) -> None:
    adapted, switched_off = model.endpoint(adapter), model.endpoint(adapter, scale=0.0)

    async def test() -> None:
        base = await token_probabilities(endpoint, [QUESTION], top=5)
        assert await token_probabilities(switched_off, [QUESTION], top=5) == pytest.approx(base)
        assert await token_probabilities(adapted, [QUESTION], top=5) != pytest.approx(base)

    run(test)
    assert adapted.model == f"{endpoint.model}+noise"


def test_a_stranger_is_refused(endpoint: Endpoint) -> None:
    async def test() -> None:
        with pytest.raises(ModelUnavailable, match="key"):
            await ask(replace(endpoint, key="another"))

    run(test)
    root = endpoint.base_url.removesuffix("/v1")
    for path in ("/props", "/slots", "/lora-adapters", "/v1/models"):
        with pytest.raises(urllib.error.HTTPError, match="401") as caught:
            urllib.request.urlopen(root + path)
        caught.value.close()


def test_the_profile_tells_the_context_that_is_served(model: EmbeddedModel) -> None:
    assert model.profile.context_tokens == CONTEXT_TOKENS


def test_changed_adapter_weights_are_never_loaded(
    model: EmbeddedModel, adapter: AdapterWeights, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(adapter.path.read_bytes()[:-1] + b"!")

    with pytest.raises(WeightsError, match="damaged"):
        model.endpoint(replace(adapter, name="damaged", path=damaged))


def serve(*, key: str | None) -> subprocess.Popen[bytes]:
    weights = embedded_weights()
    environment = {name: value for name, value in os.environ.items() if "TRIPTYCH" not in name}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "bot.models.serve", "--weights", str(weights.path)),
            *("--sha256", weights.sha256, "--alias", "m", "--port", "0"),
            *("--context-tokens", "512", "--threads", "1"),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "TRIPTYCH_SERVER_KEY": key} if key else environment,
    )


def test_a_server_without_a_key_does_not_start() -> None:
    _, said = (process := serve(key=None)).communicate(timeout=30)

    assert process.returncode == 2
    assert b"TRIPTYCH_SERVER_KEY" in said


def test_a_server_ends_when_its_input_closes_even_at_once() -> None:
    for _ in range(4):  # destroying a server so young used to hang, one time in twenty
        process = serve(key="key")
        assert process.stderr is not None
        assert b"Serving" in process.stderr.readline()

        process.communicate(timeout=30)

        assert process.returncode == 0
