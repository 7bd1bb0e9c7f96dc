"""Examples in tokens: cut where the server cuts them, and laid into one sequence a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.errors import ExamplesError
from bot.messages import Message
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe

if TYPE_CHECKING:
    import torch


_GAP = "\0"  # stands where a question goes, to tell its words from the template's


@dataclass(frozen=True, slots=True)
class Drill:
    """An example in tokens, after the system prompt.

    Args:
        ids: the tokens, n of them.
        learnt: for each token, whether it belongs to an answer; n of them.
        asked: for each token, whether it belongs to a question's own words and may be hidden, as
            it may not where passages are to be read; n of them.
    """

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]
    asked: tuple[bool, ...]


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
    asked: list[bool] = []
    for position in range(0, len(example.messages), 2):
        question, answer = (one.content for one in example.messages[position : position + 2])
        said = [system, *example.messages[:position], Message("user", _GAP)]
        before, _, after = _render(tokenizer, said, answer_next=True)[done:].partition(_GAP)
        pieces = (
            (_ids(tokenizer, before), False, False),
            (_ids(tokenizer, question), False, not example.grounded),
            (_ids(tokenizer, after), False, False),
            ((*_ids(tokenizer, answer), tokenizer.eos_token_id), True, False),
        )
        for tokens, is_learnt, is_asked in pieces:
            ids += tokens
            learnt += [is_learnt] * len(tokens)
            asked += [is_asked] * len(tokens)
        done += len(before + question + after + answer + tokenizer.eos_token)
    return Drill(tuple(ids), tuple(learnt), tuple(asked))


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


def pack(
    system_length: int,
    drills: Sequence[Drill],
    device: Any = "cpu",
    hide: Callable[[], bool] | None = None,
) -> Pack:
    """Lay examples one behind another: each sees the system prompt and itself, no other.

    Args:
        hide: asked for every word token of a question; when true, no other token sees it.
    """
    import torch

    owner = [0] * system_length
    positions = list(range(system_length))
    targets: list[int] = []
    predictors: list[int] = []
    hidden: list[int] = []
    for number, drill in enumerate(drills, start=1):
        start = len(owner)
        owner += [number] * len(drill.ids)
        positions += range(system_length, system_length + len(drill.ids))
        for place, (token, learnt) in enumerate(zip(drill.ids, drill.learnt, strict=True)):
            if learnt:
                targets.append(token)
                predictors.append(start + place - 1)
        if hide:
            hidden += [start + place for place, asked in enumerate(drill.asked) if asked and hide()]
    owners = torch.tensor(owner, device=device)
    same = (owners[:, None] == owners[None, :]) | (owners[None, :] == 0)
    visible = same.tril()
    visible[:, hidden] = False
    visible.fill_diagonal_(True)
    return Pack(
        positions=torch.tensor([positions], device=device),
        visible=visible[None, None],
        targets=torch.tensor(targets, device=device),
        predictors=torch.tensor(predictors, device=device),
    )
