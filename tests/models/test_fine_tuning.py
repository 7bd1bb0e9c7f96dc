"""Fine-tuning jobs and loaded adapters, against servers that speak the same endpoints."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bot.errors import ModelError, ModelUnavailable
from bot.messages import Message
from bot.models import fine_tuning, loras
from bot.models.client import Endpoint
from bot.models.prices import OPENAI_HOST, training_price_per_million
from tests.models.web import Answer, Call, Site, serving

CHATS = tuple(
    (Message("user", f"How hot is cone {n}?"), Message("assistant", f"{n * 100} degrees."))
    for n in range(1, 11)
)
KEY = "sk-not-a-real-key-at-all"


def endpoint(site: Site) -> Endpoint:
    return Endpoint(f"{site.base_url}/v1", KEY, "kiln-1")


def job(**changes: Any) -> dict[str, Any]:
    return {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 1_750_000_000,
        "model": "kiln-1",
        "status": "running",
        "fine_tuned_model": None,
        "trained_tokens": None,
        "error": None,
        **changes,
    }


class Provider:
    """What a server with fine-tuning keeps: files and jobs."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.jobs: list[dict[str, Any]] = []

    def __call__(self, call: Call) -> Answer:
        assert call.headers["authorization"].startswith("Bearer ")
        match call.method, call.path.partition("?")[0]:
            case "POST", "/v1/files":
                self.files.append(call.body)
                return Answer({"id": f"file-{len(self.files)}", "object": "file"})
            case "POST", "/v1/fine_tuning/jobs":
                wanted = {"model": call.body["model"], "training_file": call.body["training_file"]}
                self.jobs.insert(0, job(status="validating_files", **wanted))
                return Answer(self.jobs[0])
            case "GET", "/v1/fine_tuning/jobs":
                return Answer({"object": "list", "data": self.jobs, "has_more": False})
            case "POST", "/v1/fine_tuning/jobs/ftjob-1/cancel":
                self.jobs[0]["status"] = "cancelled"
                return Answer(self.jobs[0])
        return Answer({"error": {"message": f"no {call.path}"}}, status=404)


def test_examples_go_up_and_a_job_makes_a_model_of_them() -> None:
    provider = Provider()
    examples = fine_tuning.lines(CHATS, "Be brief.")
    with serving(provider) as site:
        at = endpoint(site)
        started = asyncio.run(fine_tuning.start(at, examples, name="mine", epochs=3, seed=7))
        listed = asyncio.run(fine_tuning.jobs(at))
        stopped = asyncio.run(fine_tuning.cancel(at, started.id))
        asked = next(one.body for one in site.calls if one.path == "/v1/fine_tuning/jobs")
    assert (started.state, started.is_over, started.base) == ("validating_files", False, "kiln-1")
    assert listed == [started]
    assert (stopped.state, stopped.is_over) == ("cancelled", True)
    assert examples in provider.files[0], "the file arrives as it was written"
    assert asked["training_file"] == "file-1"
    assert asked["method"]["supervised"]["hyperparameters"] == {"n_epochs": 3}
    assert (asked["suffix"], asked["seed"]) == ("mine", 7)


def test_each_line_begins_with_the_system_prompt_that_is_served() -> None:
    rows = [json.loads(line) for line in fine_tuning.lines(CHATS, "Be brief.").splitlines()]
    assert len(rows) == len(CHATS)
    assert rows[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How hot is cone 1?"},
        {"role": "assistant", "content": "100 degrees."},
    ]


def test_the_tokens_to_pay_for_grow_with_the_epochs() -> None:
    once = fine_tuning.most_tokens(CHATS, "Be brief.", 1)
    assert once > 10 * len(CHATS)
    assert fine_tuning.most_tokens(CHATS, "Be brief.", 3) == 3 * once


def test_a_job_tells_what_it_made_and_why_it_failed() -> None:
    provider = Provider()
    provider.jobs = [
        job(status="succeeded", fine_tuned_model="ft:kiln-1:acme::9", trained_tokens=1234),
        job(status="failed", error={"code": "bad", "message": "Line 3 is wrong.", "param": None}),
    ]
    with serving(provider) as site:
        made, failed = asyncio.run(fine_tuning.jobs(endpoint(site)))
    assert (made.made, made.trained_tokens, made.error) == ("ft:kiln-1:acme::9", 1234, "")
    assert (failed.made, failed.error) == ("", "Line 3 is wrong.")


def test_a_server_without_fine_tuning_says_so() -> None:
    with (
        serving(lambda _: Answer({"detail": "Not Found"}, status=404)) as site,
        pytest.raises(ModelUnavailable, match="no fine-tuning"),
    ):
        asyncio.run(fine_tuning.jobs(endpoint(site)))


def test_a_refused_upload_starts_nothing_and_repeats_no_key() -> None:
    refusal = Answer({"error": {"message": f"bad file, key {KEY}"}}, status=400)
    with serving(lambda _: refusal) as site, pytest.raises(ModelError) as caught:
        asyncio.run(fine_tuning.start(endpoint(site), b"{}", name="x", epochs=1, seed=1))
    assert [one.path for one in site.calls] == ["/v1/files"]
    assert "bad file" in str(caught.value) and KEY not in str(caught.value)


def test_a_server_loads_an_adapter_and_lets_go_of_it() -> None:
    with serving(lambda _: Answer(body=b"Success: LoRA adapter added.")) as site:
        asyncio.run(loras.load(endpoint(site), "glazes", "/adapters/glazes"))
        asyncio.run(loras.unload(endpoint(site), "glazes"))
    assert [(one.path, one.body) for one in site.calls] == [
        ("/v1/load_lora_adapter", {"lora_name": "glazes", "lora_path": "/adapters/glazes"}),
        ("/v1/unload_lora_adapter", {"lora_name": "glazes"}),
    ]


def test_a_server_that_may_not_load_adapters_says_how_it_may() -> None:
    with (
        serving(lambda _: Answer({"detail": "Not Found"}, status=404)) as site,
        pytest.raises(ModelUnavailable, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ):
        asyncio.run(loras.load(endpoint(site), "glazes", "/adapters/glazes"))


def test_an_adapter_that_cannot_be_loaded_is_the_servers_own_sentence() -> None:
    words = {"error": {"message": "No adapter found for /adapters/none", "code": 404}}
    with (
        serving(lambda _: Answer(words, status=404)) as site,
        pytest.raises(ModelError, match="No adapter found"),
    ):
        asyncio.run(loras.load(endpoint(site), "glazes", "/adapters/none"))


def test_prices_of_training_are_known_for_openai_only() -> None:
    assert training_price_per_million(OPENAI_HOST, "gpt-4.1-mini-2025-04-14") == 5.0
    assert training_price_per_million(OPENAI_HOST, "kiln-1") is None
    assert training_price_per_million("127.0.0.1", "gpt-4.1-mini") is None
