"""A fingerprint changes with each of its ingredients, and with nothing else."""

from __future__ import annotations

import pytest

from bot.chat.compare import Options, compare
from bot.chat.fingerprint import Fingerprint, prompt_sha256
from bot.chat.question import Question, Turn
from bot.chat.strategies import strategy
from bot.library.retrieve import Retrieval
from bot.messages import Message
from bot.models.catalog import Weights
from bot.testing import Reply, ScriptedModel
from tests.chat.scene import FOUND, collect, finished, make_bench, make_options, make_passage


def fingerprint(
    name: str = "rag",
    question: Question | None = None,
    options: Options | None = None,
    retrieval: Retrieval = FOUND,
    weights: str = "0" * 64,
    answer: str = "Nine hundred.",
) -> Fingerprint:
    with ScriptedModel([Reply(answer)]) as model:
        model.weights = Weights("base", model.weights.path, weights, 0)
        comparison = compare(
            make_bench(model, retrieve=lambda _question, _passages: retrieval),
            question or Question("What does it cost?"),
            [strategy(name)],
            options or make_options(),
        )
        return finished(collect(comparison)[name]).fingerprint


def test_the_same_question_has_the_same_fingerprint_whatever_was_answered() -> None:
    assert fingerprint() == fingerprint(answer="Eight hundred.")


OTHER_PASSAGE = Retrieval((make_passage(1),), (), False, 0.0)


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ("weights", lambda: fingerprint(weights="1" * 64)),
        ("seed", lambda: fingerprint(options=make_options(seed=8))),
        ("sampling", lambda: fingerprint(options=make_options(temperature=0.5))),
        ("sampling", lambda: fingerprint(options=make_options(answer_tokens=41))),
        ("passage_ids", lambda: fingerprint(retrieval=OTHER_PASSAGE)),
        ("prompt_sha256", lambda: fingerprint(question=Question("And now?"))),
        (
            "prompt_sha256",
            lambda: fingerprint(
                question=Question("What does it cost?", {"rag": (Turn("Hello?", "Hello."),)})
            ),
        ),
    ],
)
def test_each_ingredient_changes_it_alone(changed: str, other: object) -> None:
    one, two = fingerprint(), other()  # type: ignore[operator]
    differing = [name for name in one.__slots__ if getattr(one, name) != getattr(two, name)]
    assert differing == [changed]


def test_an_adapter_changes_only_the_adapter() -> None:
    one, two = fingerprint("prompt"), fingerprint("adapter")
    assert (one.adapter, two.adapter) == (None, "ad" * 32)
    assert one.prompt_sha256 == two.prompt_sha256


def test_a_prompt_is_told_apart_by_roles_and_borders_too() -> None:
    prompts = [
        (Message("user", "ab"),),
        (Message("assistant", "ab"),),
        (Message("user", "a"), Message("user", "b")),
        (),
    ]
    assert len({prompt_sha256(messages) for messages in prompts}) == 4
    assert prompt_sha256(()) == ""
