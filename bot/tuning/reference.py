"""What PEFT itself answers with an adapter: the words, and how likely each token was to it.

``python -m bot.tuning.reference FOLDER BASE`` — the prompts come as JSON on standard input. It is a
process of its own: the libraries take seconds to load, and a gigabyte that is given back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bot.errors import TuningError
from bot.messages import Message
from bot.tuning.base import read_model, read_tokenizer
from bot.tuning.digest import file_sha256
from bot.tuning.export import WEIGHTS_NAME
from bot.tuning.process import ENVIRONMENT

FILE_NAME = "reference.json"
MOST_QUESTIONS = 16
ANSWER_TOKENS = 48
ALTERNATIVES = 8
"""Likeliest tokens that are kept for each place of an answer."""

PATIENCE_SECONDS = 600.0
_ROOT = Path(__file__).resolve().parents[2]

QUESTIONS = (
    "What do you make?",
    "How long is the warranty?",
    "Write one sentence about the weather.",
    "Name three colours.",
    "Who may I ask for help?",
    "When do you open on Sundays?",
    "What does it cost?",
    "Explain why leaves are green.",
)
"""Asked where an adapter comes without questions of its own; they are about nothing special."""


@dataclass(frozen=True, slots=True)
class Answered:
    """PEFT's greedy answer to one prompt of P tokens: A tokens, the end token included.

    Args:
        messages: the prompt, system message first.
        prompt_ids: its tokens; P of them.
        token_ids: the answer's; A of them.
        logprobs: of each answer token, natural logarithms; A of them.
        base_logprobs: the same tokens' without the adapter; A of them.
        likeliest: for each answer token the likeliest ones there, (token, logprob); A × K.
        text: the answer.
    """

    messages: tuple[Message, ...]
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    base_logprobs: tuple[float, ...]
    likeliest: tuple[tuple[tuple[int, float], ...], ...]
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """What PEFT answers with one adapter on one base.

    Args:
        weights_sha256: of the PEFT weights that answered.
        base_sha256: of the base's file.
        answers: one for each question.
    """

    weights_sha256: str
    base_sha256: str
    answers: tuple[Answered, ...]


def read_reference(folder: Path) -> Reference | None:
    """The reference beside an adapter, if there is one for exactly the weights there."""
    try:
        found = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        answers = tuple(_answered(values) for values in found["answers"])
        reference = Reference(found["weights_sha256"], found["base_sha256"], answers)
        is_whole = answers and reference.weights_sha256 == file_sha256(folder / WEIGHTS_NAME)
    except (OSError, ValueError, KeyError, TypeError, TuningError):
        return None
    return reference if is_whole else None


def write_reference(reference: Reference, folder: Path) -> None:
    """Put it beside the adapter, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    partial = folder / f".{FILE_NAME}"
    partial.write_text(json.dumps(asdict(reference), ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(folder / FILE_NAME)


def make_reference(
    folder: Path, base: Path, system_prompt: str, questions: Sequence[Sequence[Message]] = ()
) -> Reference:
    """Let PEFT answer in a process of its own, and put what it said beside the adapter.

    Takes some seconds to a minute.

    Args:
        folder: of the PEFT weights; `reference.json` is written there.
        base: the base weights, a GGUF file.
        questions: what is said before each answer; ours where there are none.

    Raises:
        TuningError: PEFT cannot load the weights, or the process died.
    """
    said = questions or [[Message("user", one)] for one in QUESTIONS]
    prompts = [
        [message.as_dict() for message in (Message("system", system_prompt), *one)]
        for one in said[:MOST_QUESTIONS]
    ]
    command = [sys.executable, "-m", "bot.tuning.reference", str(folder.resolve()), str(base)]
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=ENVIRONMENT | os.environ,
            input=json.dumps(prompts),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TuningError(
            "PEFT did not answer in time.", cure="Check the adapter again when less is going on."
        ) from error
    reference = read_reference(folder) if done.returncode == 0 else None
    if reference is None:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said_last = lines[-1][:300] if lines else f"it ended with status {done.returncode}"
        raise TuningError(
            f"PEFT cannot answer with these weights: {said_last}",
            cure="Train the adapter again, or import another.",
        )
    return reference


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer the prompts of standard input with the adapter of a folder."""
    parser = argparse.ArgumentParser(prog="python -m bot.tuning.reference")
    parser.add_argument("folder", type=Path)
    parser.add_argument("base", type=Path)
    given = parser.parse_args(arguments)
    prompts = [
        tuple(Message(one["role"], one["content"]) for one in messages)
        for messages in json.load(sys.stdin)
    ]
    if hasattr(os, "nice"):
        os.nice(5)  # answers under way come first
    weights_sha256, base_sha256 = file_sha256(given.folder / WEIGHTS_NAME), file_sha256(given.base)
    tokenizer, model = _load(given.folder, given.base)
    answers = greedy_answers(tokenizer, model, prompts)
    write_reference(Reference(weights_sha256, base_sha256, answers), given.folder)
    return 0


def _load(folder: Path, base: Path) -> tuple[Any, Any]:
    """Tokenizer and PEFT model, everything in float32: the truth that serving is measured by."""
    import torch
    from peft import PeftModel

    model = read_model(base, torch.float32)
    return read_tokenizer(base), PeftModel.from_pretrained(model, str(folder)).eval()


def greedy_answers(
    tokenizer: Any, model: Any, prompts: Sequence[tuple[Message, ...]]
) -> tuple[Answered, ...]:
    """The greedy answers of a PEFT model, all prompts in one batch.

    Args:
        prompts: each the messages before an answer, system message first.
    """
    import torch

    texts = [
        tokenizer.apply_chat_template(
            [message.as_dict() for message in one], tokenize=False, add_generation_prompt=True
        )
        for one in prompts
    ]
    prompt_ids = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    tokenizer.padding_side = "left"
    batch = tokenizer.pad({"input_ids": [list(ids) for ids in prompt_ids]}, return_tensors="pt")
    with torch.inference_mode():
        sequences = model.generate(
            **batch, do_sample=False, max_new_tokens=ANSWER_TOKENS, pad_token_id=0
        )
        width = batch["input_ids"].shape[1]
        visible = torch.cat([batch["attention_mask"], torch.ones_like(sequences[:, width:])], dim=1)
        adapted = _logprobs(model, sequences, visible, width)
        with model.disable_adapter():
            plain = _logprobs(model, sequences, visible, width)
    answers = []
    for place, messages in enumerate(prompts):
        ids = _until_end(sequences[place, width:].tolist(), tokenizer.eos_token_id)
        there = list(range(len(ids)))
        likeliest = adapted[place, : len(ids)].topk(ALTERNATIVES)
        pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        answers.append(
            Answered(
                messages=tuple(messages),
                prompt_ids=prompt_ids[place],
                token_ids=tuple(ids),
                logprobs=_rounded(adapted[place, there, ids].tolist()),
                base_logprobs=_rounded(plain[place, there, ids].tolist()),
                likeliest=tuple(
                    tuple(zip(tokens, _rounded(values), strict=True)) for tokens, values in pairs
                ),
                text=str(tokenizer.decode(ids, skip_special_tokens=True)),
            )
        )
    return tuple(answers)


def _logprobs(model: Any, sequences: Any, visible: Any, width: int) -> Any:
    """(B, A, V) float32: log-probabilities at the answers' places, which begin at `width`."""
    positions = (visible.cumsum(1) - 1).clamp(min=0)
    answered = sequences.shape[1] - width
    logits = model(
        input_ids=sequences,
        attention_mask=visible,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=answered + 1,
    ).logits
    return logits[:, :-1].float().log_softmax(-1)


def _until_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 5) for value in values)


def _answered(values: dict[str, Any]) -> Answered:
    return Answered(
        messages=tuple(Message(one["role"], one["content"]) for one in values["messages"]),
        prompt_ids=tuple(values["prompt_ids"]),
        token_ids=tuple(values["token_ids"]),
        logprobs=tuple(values["logprobs"]),
        base_logprobs=tuple(values["base_logprobs"]),
        likeliest=tuple(
            tuple((int(token), float(value)) for token, value in place)
            for place in values["likeliest"]
        ),
        text=values["text"],
    )


if __name__ == "__main__":
    sys.exit(main())
