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
    """Examples as one sequence of T tokens, the system prompt first: nothing is padded.

    Only attention, which costs little at these lengths, takes them apart again: into R rows of L
    places, the prompt and each example, which look at the P tokens of the prompt and at themselves.

    Args:
        positions: (1, T) int64, each example's going on where the prompt's end.
        rows: (R, L) int64, the tokens of each row by their places in the sequence; 0 where it
            has no more.
        seen: (R, P + L) int64, the tokens that each row may look at.
        visible: (R, 1, L, P + L) bool, which of them each token of the row does look at.
        places: (T,) int64, where the tokens stand among the R · L.
        targets: (A,) int64, the answer tokens.
        predictors: (A,) int64, the places in the sequence that predict them.
        owners: (A,) int64, the example that each belongs to, counted from 0.
    """

    positions: torch.Tensor
    rows: torch.Tensor
    seen: torch.Tensor
    visible: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    predictors: torch.Tensor
    owners: torch.Tensor


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

    lengths = [system_length, *(len(drill.ids) for drill in drills)]
    width = max(lengths)
    rows = torch.zeros(len(lengths), width, dtype=torch.int64)
    visible = torch.zeros(len(lengths), width, system_length + width, dtype=torch.bool)
    own = visible[:, :, system_length:]
    own |= torch.ones(width, width, dtype=torch.bool).tril()
    visible[1:, :, :system_length] = True
    positions: list[int] = []
    places: list[int] = []
    start = 0
    for row, length in enumerate(lengths):
        rows[row, :length] = torch.arange(start, start + length)
        first = system_length if row else 0
        positions += range(first, first + length)
        places += range(row * width, row * width + length)
        start += length
    answers = []
    start = system_length
    for row, drill in enumerate(drills, start=1):
        if hide:
            hidden = [place for place, asked in enumerate(drill.asked) if asked and hide()]
            own[row, :, hidden] = False
            own[row, hidden, hidden] = True
        for place, (token, learnt) in enumerate(zip(drill.ids, drill.learnt, strict=True)):
            if learnt:
                answers.append((token, start + place - 1, row - 1))
        start += len(drill.ids)
    prompt = torch.arange(system_length).expand(len(lengths), -1)
    targets, predictors, owners = torch.tensor(answers, dtype=torch.int64).view(-1, 3).unbind(1)
    return Pack(
        positions=torch.tensor([positions], device=device),
        rows=rows.to(device),
        seen=torch.cat([prompt, rows], dim=1).to(device),
        visible=visible[:, None].to(device),
        places=torch.tensor(places, device=device),
        targets=targets.to(device),
        predictors=predictors.to(device),
        owners=owners.to(device),
    )


def even_parts(lengths: Sequence[int], largest: int) -> list[range]:
    """Cut examples, given by their lengths in tokens, into parts of about the same size.

    There are as many parts as `largest` tokens each would need, an even number of them if more
    than one, so that two cores end together.
    """
    total = sum(lengths)
    count = max(1, round(total / largest))
    count = min(count + (count > 1 and count % 2), len(lengths))
    ends: list[int] = []
    done = 0
    for number, length in enumerate(lengths):
        done += length
        left = len(lengths) - number - 1
        wanted = total * (len(ends) + 1) / count
        if done >= wanted - length / 2 or left < count - len(ends):
            ends.append(number + 1)
    ends = [*ends[: count - 1], len(lengths)]
    return [range(first, end) for first, end in zip([0, *ends], ends, strict=False)]
