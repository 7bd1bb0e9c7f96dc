"""Questions about nothing in particular, with the base's answers: what a training may forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bot.messages import Message
from bot.tuning.drills import Drill, encode
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe

_QUESTIONS = Path(__file__).with_name("unrelated.txt")
_ANSWER_TOKENS = 16


def read_unrelated(tokenizer: Any, model: Any, recipe: TrainingRecipe) -> list[Drill]:
    """The questions, each with the first tokens of the base's greedy answer.

    Args:
        model: the base, without an adapter.
        recipe: its system prompt is put before them, as when they are served.
    """
    import torch

    questions = _QUESTIONS.read_text(encoding="utf-8").splitlines()
    chats = [Example((Message("user", one), Message("assistant", "?"))) for one in questions]
    system_ids, drills = encode(tokenizer, recipe, chats)
    asked = [drill.ids[: drill.learnt.index(True)] for drill in drills]
    tokenizer.padding_side = "left"
    batch = tokenizer.pad(
        {"input_ids": [[*system_ids, *ids] for ids in asked]}, return_tensors="pt"
    )
    with torch.inference_mode():
        made = model.generate(
            **batch.to(model.device), do_sample=False, max_new_tokens=_ANSWER_TOKENS
        )
    width = batch["input_ids"].shape[1]
    return [
        _drill(ids, _until_end(answer, tokenizer.eos_token_id))
        for ids, answer in zip(asked, made[:, width:].tolist(), strict=True)
    ]


def _drill(asked: tuple[int, ...], answer: list[int]) -> Drill:
    learnt = (False,) * len(asked) + (True,) * len(answer)
    return Drill((*asked, *answer), learnt, (False,) * len(learnt))


def _until_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids
