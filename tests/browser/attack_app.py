"""Triptych's page with hostile text everywhere, and with guards that a visitor can switch off.

Started by `test_attack.py` with ``streamlit run``; the payloads are aimed at ``ATTACK_TARGET``.
``?defect=policy`` leaves the security headers out, ``?defect=sanitiser`` makes the functions that
disarm text do nothing. No other app may ever do that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any, cast

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.starlette import App

from bot import testing
from bot.library.ingest import Ingested
from bot.library.retrieve import Evidence, Retrieval, ScoredPassage
from bot.library.split import Passage
from bot.messages import Message
from bot.records import conversations as records
from bot.records.documents import (
    StoredDocument,
    StoredPassage,
    save_document,
    save_passages,
)
from bot.services import Services
from bot.settings import ROOT, read_settings
from bot.testing import Reply, ScriptedModel
from bot.ui import text
from tests.payloads import aimed_at
from tests.scripted_services import ScriptedServices, scripted_services

PLANTED = "a" * 32
STRATEGIES = ("prompt", "few-shot", "rag", "adapter", "hybrid")
STATUSES = ("complete", "failed", "interrupted", "stopped", "complete")
PAYLOADS = aimed_at(os.environ["ATTACK_TARGET"])


def shares(count: int) -> list[list[str]]:
    """All payloads, dealt to so many places."""
    return [PAYLOADS[place::count] for place in range(count)]


def line(number: int) -> str:
    """A few payloads on one line, for a name or a title."""
    some = shares(12)[number % 12]
    return f"{number} " + " ".join(" ".join(some).split())


def passage(number: int) -> Passage:
    some = "\n\n".join(shares(12)[number % 12])
    return Passage(
        f"p-{number}-{line(number)}", line(number), line(number), line(number), 1, 0, some
    )


def evidence(number: int) -> Evidence:
    one = passage(number)
    return Evidence(one.id, one.document, one.title, one.heading, 1, one.text, 0.9)


class AttackedServices(ScriptedServices):
    """Services whose every text is hostile."""

    def retrieve(self, question: str, passages: int) -> Retrieval:
        found = tuple(evidence(number) for number in range(12))
        return Retrieval((passage(0),), found, off_topic=False, seconds=0.0)

    def adapters(self) -> list[Any]:
        names = [line(number) for number in range(12)]
        return [SimpleNamespace(name=one, base_sha256=self.model.identity) for one in names]

    def default_adapter(self, model_name: str = "") -> str:
        return line(0)

    def adapter_choices(self, model_name: str) -> list[str]:
        return [line(number) for number in range(12)]

    def sync(self) -> None:
        statuses = ("ready", "failed", "duplicate", "removed")
        if self.indexing.begin():
            self.indexing.follow(
                Ingested(line(number), cast(Any, status), 1, line(number + 4))
                for number, status in zip(range(12), cycle(statuses), strict=False)
            )


def build() -> Services:
    testing._pieces = _splinters
    models = [
        ScriptedModel(
            name=name,
            script=[
                *(Reply("\n\n".join(some), contains="zzstream") for some in shares(5)),
                *(Reply(" ".join(some), contains="zzfail", status=500) for some in shares(5)),
            ],
            always=Reply("Nothing to say."),
        )
        for name in ("scripted", line(3))
    ]
    for model in models:
        model.__enter__()  # it serves as long as the process lives
    scripted = scripted_services(read_settings(), *models)
    services = AttackedServices(**{name: getattr(scripted, name) for name in _PARTS})
    _plant_documents(services)
    _plant_conversations(services)
    services.warm_up_errors["model"] = " ".join(line(number) for number in range(12))
    _can_search()
    return services


_PARTS = ("settings", "engine", "servers", "models", "library")


def _splinters(written: str) -> list[str]:
    """A text as tokens that end in the middle of everything."""
    return re.findall(r".{1,7}", written, re.DOTALL)


def _plant_documents(services: Services) -> None:
    for number in range(12):
        status = "failed" if number % 3 == 2 else "ready"
        sha256 = f"{number:064x}"
        stored = StoredDocument(
            line(number), sha256, line(number + 1), "md", 100, 0, "", cast(Any, status)
        )
        error = line(number + 2) if status == "failed" else ""
        save_document(services.engine, StoredDocument(**{**_values(stored), "error": error}))
        save_passages(
            services.engine,
            [
                StoredPassage(
                    f"{number}-{place}", sha256, line(number), line(number), one, 1, place, one
                )
                for place, one in enumerate(shares(12)[number])
            ],
        )


def _plant_conversations(services: Services) -> None:
    for number in range(10):
        records.add_turn(
            services.engine,
            conversation_id=f"{number:032x}",
            title=line(number),
            turn_id=f"turn-{number}",
            question=line(number),
            answers=[],
            owner="",
        )
    for number in range(2):
        answers = [
            records.NewAnswer(f"answer-{number}-{one}", one, "scripted", line(place))
            for place, one in enumerate(STRATEGIES)
        ]
        records.add_turn(
            services.engine,
            conversation_id=PLANTED,
            title=line(0),
            turn_id=f"planted-{number}",
            question="\n\n".join(PAYLOADS[number::2]),
            answers=answers,
            owner="",
        )
        for place, (answer, status) in enumerate(zip(answers, STATUSES, strict=True)):
            some = shares(10)[number * 5 + place]
            values = {
                "status": status,
                "text": "\n\n".join(some),
                "evidence": [
                    _values(evidence(n)) for n in islice(cycle(range(12)), place, place + 3)
                ],
                "prompt": [Message("user", one).as_dict() for one in some],
                "fingerprint": {
                    "weights": line(place),
                    "adapter": line(place + 1),
                    "prompt_sha256": "p" * 64,
                    "passage_ids": some,
                    "sampling": {"temperature": 0.0, "max_tokens": 9},
                    "seed": 7,
                },
                "error": " ".join(some) if status == "failed" else "",
                "cure": " ".join(some) if status == "failed" else "",
                "answer_tokens": 5,
                "prompt_tokens": 5,
            }
            records.update_answer(services.engine, answer.id, values)


def _values(value: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(value)


def _can_search() -> None:
    """A search that finds hostile passages, without an embedder."""
    from bot.ui import try_search

    def found(*_: object, **__: object) -> Sequence[ScoredPassage]:
        return [
            ScoredPassage(one, 0.9, 0.9, 0.9, one.text if number % 2 else one.text[:40])
            for number, one in enumerate(map(passage, range(12)))
        ]

    try_search.search = found  # type: ignore[assignment]
    try_search.retrieve = lambda *_, **__: SimpleNamespace(off_topic=False)  # type: ignore[assignment]


# --- guards that can be switched off -------------------------------------------------------------


def _defective(guard: str) -> bool:
    return guard in st.query_params.get_all("defect")


def _switchable(disarm: Callable[..., str]) -> Callable[..., str]:
    def maybe(written: str, **options: bool) -> str:
        return written if _defective("sanitiser") else disarm(written, **options)

    return maybe


for _name in ("plain", "plain_lines", "safe_markdown"):
    setattr(text, _name, _switchable(getattr(text, _name)))

# The pages take these functions by name, so they are imported after the switch.
from bot.ui import house  # noqa: E402
from bot.ui.security import OwnOrigin, SecurityHeaders, server_error  # noqa: E402


class SwitchableHeaders:
    """`SecurityHeaders`, unless the page's address says that the policy is left out."""

    def __init__(self, app: ASGIApp) -> None:
        self._bare, self._guarded = app, SecurityHeaders(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        off = b"defect=policy" in scope.get("query_string", b"")
        await (self._bare if off else self._guarded)(scope, receive, send)


house.build_with(build)

app = App(
    ROOT / "bot" / "ui" / "main.py",
    middleware=[Middleware(SwitchableHeaders), Middleware(OwnOrigin)],
    exception_handlers={Exception: server_error},
)
