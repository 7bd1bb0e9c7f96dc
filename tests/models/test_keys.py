"""Keys go to one server each, and appear nowhere: not in logs, records, exports or errors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.chat.columns import Options
from bot.chat.live import Chat
from bot.errors import ModelError
from bot.models.client import Endpoint
from bot.models.hub import Hub
from bot.models.keys import Keys, variable_for
from bot.models.names import Workshop
from bot.models.registry import Models
from bot.records.database import open_database
from bot.records.models import ModelRecord
from bot.servers import Servers
from bot.settings import ROOT, read_variables
from tests.chat.scene import make_bench
from tests.models.web import Answer, Call, serving

MARKER = "sk-marker-7f3a9c51d2e84b60"
USAGE = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}


def streamed() -> Answer:
    parts = [
        {"choices": [{"index": 0, "delta": {"content": "Nine."}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    ]
    lines = [f"data: {json.dumps(one)}\n\n" for one in parts]
    body = "".join([*lines, "data: [DONE]\n\n"]).encode()
    return Answer(body=body, headers={"content-type": "text/event-stream"})


def repeating(status: int) -> Callable[[Call], Answer]:
    """A server that repeats the key in what it says."""

    def answer(call: Call) -> Answer:
        if call.path.endswith("/models"):
            return Answer({"data": []})
        said = f"Incorrect API key provided: {call.headers.get('authorization')}"
        return Answer({"error": {"message": said, "code": "bad"}}, status=status)

    return answer


def catalogue(folder: Path, variables: dict[str, str], *names: str) -> Models:
    workshop = Workshop(
        servers=Servers(folder),
        keys=Keys(variables),
        context_tokens=1024,
        threads=1,
        remote_context_tokens=4096,
        hub=Hub(folder / "hub", "http://127.0.0.1:9", variables.get("HF_TOKEN", "")),
    )
    main, *others = names or ("embedded",)
    engine = open_database(folder / "records.db")
    return Models(main, others, workshop.make, workshop.make_added, engine)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
def test_a_key_is_left_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    def answer(call: Call) -> Answer:
        assert call.headers["authorization"] == f"Bearer {MARKER}"
        spoken = status == 200 and not call.path.endswith("/models")
        return streamed() if spoken else repeating(status)(call)

    with serving(answer) as site:
        variables = {"OPENAI_API_KEY": MARKER, "OPENAI_BASE_URL": f"{site.base_url}/v1"}
        models = catalogue(tmp_path, variables, "openai:kiln")
        engine = models._engine
        bench = make_bench()
        chat = Chat(
            type(bench)(models.get, bench.retrieve, bench.adapter, timeout_seconds=20.0), engine
        )
        options = Options(16, 0.0, 7, 1, "", ("openai:kiln",))
        turn = chat.ask(chat.create(), "How long?", ["prompt"], options)
        while not turn.done:
            chat.wait(turn, turn.version, 5.0)
        told += [repr(turn), repr(models.get("openai:kiln").endpoint()), repr(vars(models))]
        told += [chat.export_markdown(turn.conversation_id), chat.export_csv(turn.conversation_id)]
        told += [chat.export_json(turn.conversation_id), repr(models.check("openai:kiln"))]
        answered = turn.answers["prompt"]
        assert (answered.status == "complete") is (status == 200), answered.error
        chat.close()
        engine.dispose()

    assert site.calls
    assert MARKER not in "\n".join(told)
    assert MARKER not in caplog.text
    traces = [str(one.exc_info) + str(one.args) for one in caplog.records]
    assert MARKER not in "\n".join(traces)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or MARKER.encode() not in file.read_bytes(), file


def test_the_openai_key_goes_to_its_own_server_only(tmp_path: Path) -> None:
    with serving(repeating(401)) as elsewhere:
        variables = {"OPENAI_API_KEY": MARKER, "HF_TOKEN": MARKER}
        models = catalogue(tmp_path, variables)
        models.add(ModelRecord(name="page", base_url=f"{elsewhere.base_url}/v1", model="m"))
        assert not models.check("page").reachable
        assert elsewhere.calls
        assert {one.headers["authorization"] for one in elsewhere.calls} == {"Bearer none"}


def test_a_server_of_the_page_gets_the_key_that_is_named_after_its_host(tmp_path: Path) -> None:
    with serving(lambda _: streamed()) as site:
        variables = {"TRIPTYCH_KEY_127_0_0_1": MARKER, "OPENAI_API_KEY": "another"}
        models = catalogue(tmp_path, variables)
        models.add(ModelRecord(name="page", base_url=f"{site.base_url}/v1", model="m"))
        assert models.check("page").reachable
        assert {one.headers["authorization"] for one in site.calls} == {f"Bearer {MARKER}"}


@pytest.mark.parametrize(
    ("address", "variable"),
    [
        ("https://api.groq.com/openai/v1", "TRIPTYCH_KEY_API_GROQ_COM"),
        ("http://GPU-1.local:8000/v1", "TRIPTYCH_KEY_GPU_1_LOCAL"),
        ("http://user@evil.example@api.groq.com/", "TRIPTYCH_KEY_API_GROQ_COM"),
        ("http://[::1]:8000/v1", "TRIPTYCH_KEY___1"),
    ],
)
def test_the_variable_of_a_host(address: str, variable: str) -> None:
    assert variable_for(address) == variable


def test_the_environment_wins_over_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    found = read_variables({"OPENAI_API_KEY": "from the secrets", "HF_TOKEN": "token"})

    assert found["OPENAI_API_KEY"] == "from the environment"
    assert (ROOT / ".env").exists() or found["HF_TOKEN"] == "token"


def test_no_value_that_carries_a_key_shows_it() -> None:
    keys = Keys({"OPENAI_API_KEY": MARKER})
    shown = [repr(keys), repr(Endpoint("http://x/v1", MARKER, "m")), repr(Hub(Path(), "", MARKER))]

    assert keys.openai() == MARKER
    assert not [one for one in shown if MARKER in one]


def test_an_error_that_a_provider_raises_hides_the_key() -> None:
    from bot.models.providers import _translated

    endpoint = Endpoint("", MARKER, "m", provider="groq")
    error = _translated(endpoint, RuntimeError(f"no such key: {MARKER}"))
    assert isinstance(error, ModelError)
    assert not re.search(MARKER, str(error))
