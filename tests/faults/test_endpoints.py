"""The battery of bad model servers: a tenth of it, and whether it sees what it is there to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from bench.faults import bad_server, endpoints
from bot.models import client, failures
from bot.models.answer import Answer
from bot.testing import Reply, ScriptedModel


@pytest.mark.integration
def test_twenty_bad_servers_beside_a_healthy_one() -> None:
    tally = endpoints.run(20, seed=7)
    assert tally.problems == []
    assert (tally.tried, tally.lost, tally.crashes, tally.tracebacks) == (20, 0, 0, 0)


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [one.name for one in bad_server.FAULTS]
    assert len(set(names)) == len(names) > 80


def a_cut_is_taken_for_the_end(patch: pytest.MonkeyPatch) -> None:
    careful = client._completion

    def hopeful(endpoint: client.Endpoint, messages: Any, answer: Answer) -> client.Completion:
        answer.end()
        return careful(endpoint, messages, answer)

    patch.setattr(client, "_completion", hopeful)


def the_key_is_repeated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(failures, "redacted", lambda text, _key: text)


def every_byte_is_a_sign_of_life(patch: pytest.MonkeyPatch) -> None:
    careful = client._next

    async def patient(events: Any, answer: Answer, patience: Any) -> Any:
        event = await careful(events, answer, patience)
        patience.progress()
        return event

    patch.setattr(client, "_next", patient)
    patch.setattr(endpoints, "LIMIT_SECONDS", 4.0)


def nothing_is_too_long(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Answer, "is_overlong", False)


def redirects_are_followed(patch: pytest.MonkeyPatch) -> None:
    plain = httpx2.AsyncClient.__init__

    def following(self: httpx2.AsyncClient, **values: Any) -> None:
        plain(self, **{**values, "follow_redirects": True})

    patch.setattr(httpx2.AsyncClient, "__init__", following)


def test_a_prompt_that_no_trimming_makes_fit_is_refused_in_the_words_of_its_server() -> None:
    with ScriptedModel(always=Reply("Paris.")) as healthy:
        tally = endpoints.run(1, seed=7, names=["context, OpenAI"], healthy=healthy)
    assert tally.problems == []


@pytest.mark.parametrize(
    ("plant", "fault", "seen"),
    [
        (a_cut_is_taken_for_the_end, "end without an end", "the card says ''"),
        (the_key_is_repeated, "key in the error", "the key is shown"),
        (every_byte_is_a_sign_of_life, "roles for ever", "it hangs"),
        (nothing_is_too_long, "letters without end", "the card says"),
        (redirects_are_followed, "redirect", "the request was sent elsewhere"),
    ],
)
def test_a_defect_that_is_planted_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None],
    fault: str,
    seen: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def play() -> list[str]:
        tally = endpoints.run(1, seed=7, timeout_seconds=1.0, names=[fault], healthy=healthy)
        return tally.problems

    with ScriptedModel(always=Reply("Paris.")) as healthy:
        assert play() == []
        plant(monkeypatch)
        problems = play()
    assert any(seen in problem for problem in problems), problems
