"""Training examples: a JSON Lines file of short chats → values, or an error with its line.

A line holds either ``{"messages": [{"role": "user", "content": …}, {"role": "assistant", …}]}``
or ``{"prompt": …, "completion": …}``. The system message is not the examples' business: the
recipe adds the one that is served, so that training and serving prompts are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.errors import ExamplesError
from bot.messages import Message, Role

SHAPE = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'


@dataclass(frozen=True, slots=True)
class Example:
    """One chat to learn from: user and assistant in turn, the last word is the assistant's.

    Args:
        messages: the chat, without a system message.
        line: where it stands in its file, counted from 1; 0 when it came from elsewhere.
    """

    messages: tuple[Message, ...]
    line: int = 0


def read_examples(path: Path) -> list[Example]:
    """Read and check every example of a JSON Lines file; blank lines are skipped.

    Raises:
        ExamplesError: the file cannot be read, holds no example, or a line is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ExamplesError(
            f"The examples at {path} cannot be read.", cure="Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ExamplesError(
            f"The examples at {path} are not UTF-8 text.", cure="Save the file as UTF-8."
        ) from error
    lines = enumerate(text.split("\n"), start=1)
    examples = [_parse(line, number) for number, line in lines if line.strip()]
    if not examples:
        raise ExamplesError(f"{path.name} holds no examples.", cure=f"Write lines like {SHAPE}")
    return examples


def _parse(line: str, number: int) -> Example:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ExamplesError(
            f"this is not JSON ({error}).", line=number, cure=f"Write one object a line: {SHAPE}"
        ) from error
    messages = tuple(_messages(record, number))
    if not messages or messages[-1].role != "assistant":
        raise ExamplesError(
            "the last message must be the assistant's answer.",
            line=number,
            cure="Add the answer that the model should learn.",
        )
    return Example(messages, number)


def _messages(record: Any, line: int) -> Iterator[Message]:
    for position, (role, content) in enumerate(_turns(record, line)):
        if role == "system":
            raise ExamplesError(
                "a system message is not allowed here.",
                line=line,
                cure="Remove it: the recipe adds the system prompt that is served.",
            )
        expected: Role = "assistant" if position % 2 else "user"
        if role != expected:
            raise ExamplesError(
                f"message {position + 1} must be the {expected}'s, not {role!r}.",
                line=line,
                cure="Let user and assistant speak in turn, the user first.",
            )
        if not isinstance(content, str) or not content.strip():
            raise ExamplesError(
                f"message {position + 1} has no text.",
                line=line,
                cure="Give every message a content that is not empty.",
            )
        yield Message(expected, content.strip())


def _turns(record: Any, line: int) -> list[tuple[Any, Any]]:
    """The (role, content) pairs of a record, whichever of the two shapes it has."""
    match record:
        case {"messages": [*messages]} if all(isinstance(item, dict) for item in messages):
            return [(item.get("role"), item.get("content")) for item in messages]
        case {"prompt": prompt, "completion": completion}:
            return [("user", prompt), ("assistant", completion)]
    raise ExamplesError(
        "neither messages nor prompt with completion is there.",
        line=line,
        cure=f"Write lines like {SHAPE}",
    )
