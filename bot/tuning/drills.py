"""Examples in tokens: cut where the server cuts them, and laid into one sequence a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.errors import ExamplesError
from bot.messages import Message
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Drill:
    """An example in tokens, after the system prompt.

    Args:
        ids: the tokens, n of them.
        learnt: for each token, whether it belongs to an answer; n of them.
    """

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]


def encode(
    tokenizer: Any, recipe: TrainingRecipe, examples: Sequence[Example]
) -> tuple[tuple[int, ...], list[Drill]]:
    """The tokens of the system prompt, and those of every example after it.

    Tokens are cut where the server cuts them: a prompt is one piece, an answer begins a new one.

    Raises:
        ExamplesError: an example is longer than the recipe allows.
    """
    system = Message("system", recipe.system_prompt)
    opening = _render(tokenizer, [system], answer_next=False)
    system_ids = _ids(tokenizer, opening)
    drills = []
    for example in examples:
        drill = _encode_one(tokenizer, system, len(opening), example)
        length = len(system_ids) + len(drill.ids)
        if length > recipe.example_tokens:
            raise ExamplesError(
                f"this example has {length} tokens; the recipe allows {recipe.example_tokens}.",
                line=example.line,
                cure="Shorten it, or raise example_tokens in the recipe.",
            )
        drills.append(drill)
    return system_ids, drills


def _encode_one(tokenizer: Any, system: Message, done: int, example: Example) -> Drill:
    ids: list[int] = []
    learnt: list[bool] = []
    for position, message in enumerate(example.messages):
        if message.role != "assistant":
            continue
        before = _render(tokenizer, [system, *example.messages[:position]], answer_next=True)
        prompt = _ids(tokenizer, before[done:])
        answer = (*_ids(tokenizer, message.content), tokenizer.eos_token_id)
        ids += [*prompt, *answer]
        learnt += [False] * len(prompt) + [True] * len(answer)
        done = len(before) + len(message.content) + len(tokenizer.eos_token)
    return Drill(tuple(ids), tuple(learnt))


def _render(tokenizer: Any, messages: Sequence[Message], *, answer_next: bool) -> str:
    text = tokenizer.apply_chat_template(
        [message.as_dict() for message in messages],
        tokenize=False,
        add_generation_prompt=answer_next,
    )
    return str(text)


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


@dataclass(frozen=True, slots=True)
class Pack:
    """One step's examples as one sequence of T tokens, the system prompt first.

    Args:
        positions: (1, T) int64, each example's going on where the prompt's end.
        visible: (1, 1, T, T) bool, what each token may look at.
        targets: (A,) int64, the answer tokens.
        predictors: (A,) int64, the places in the sequence that predict them.
    """

    positions: torch.Tensor
    visible: torch.Tensor
    targets: torch.Tensor
    predictors: torch.Tensor


def pack(system_length: int, drills: Sequence[Drill], device: Any = "cpu") -> Pack:
    """Lay examples one behind another: each sees the system prompt and itself, no other."""
    import torch

    owner = [0] * system_length
    positions = list(range(system_length))
    targets: list[int] = []
    predictors: list[int] = []
    for number, drill in enumerate(drills, start=1):
        start = len(owner)
        owner += [number] * len(drill.ids)
        positions += range(system_length, system_length + len(drill.ids))
        for place, (token, learnt) in enumerate(zip(drill.ids, drill.learnt, strict=True)):
            if learnt:
                targets.append(token)
                predictors.append(start + place - 1)
    owners = torch.tensor(owner, device=device)
    same = (owners[:, None] == owners[None, :]) | (owners[None, :] == 0)
    return Pack(
        positions=torch.tensor([positions], device=device),
        visible=same.tril()[None, None],
        targets=torch.tensor(targets, device=device),
        predictors=torch.tensor(predictors, device=device),
    )
