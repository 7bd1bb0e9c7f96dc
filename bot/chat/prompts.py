"""Templates → messages. Prompts are data: the files in `templates/`, rendered by Jinja2.

The text of questions, documents and answers is only ever a value, never a template, and
control tokens of chat templates in it (`<|im_start|>`) are broken up, so that a document cannot
speak in the place of the system.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from bot.chat.question import Turn
from bot.chat.strategies import Strategy
from bot.errors import PromptError
from bot.library.split import Passage
from bot.messages import Message

TEMPLATES = Path(__file__).parent / "templates"

_CONTROL_TOKEN = re.compile(
    r"<\|[^\s|]{1,60}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|<[｜|][^\s]{1,60}?[｜|]>"
)


def system_prompt() -> str:
    """The instruction that every strategy and every training example begins with.

    Raises:
        PromptError: the template is missing or broken.
    """
    return _render("system.txt.j2")


def few_shot_examples() -> tuple[Turn, ...]:
    """The example turns that few-shot shows.

    Raises:
        PromptError: `examples.json` is missing or not a list of questions with answers.
    """
    return _read_examples(TEMPLATES / "examples.json")


def abstention() -> str:
    """What is answered when nothing in the library matches the question.

    Raises:
        PromptError: the template is missing or broken.
    """
    return _render("abstention.txt.j2")


def messages(
    strategy: Strategy,
    question: str,
    *,
    history: Sequence[Turn] = (),
    passages: Sequence[Passage] = (),
    opening: str = "",
) -> tuple[Message, ...]:
    """The messages to send: system, examples, earlier turns, question, and the answer's opening.

    Args:
        opening: the first words of the answer, which the model continues; empty for none.

    Raises:
        PromptError: a template is missing or broken.
    """
    turns = (*few_shot_examples(), *history) if strategy.shows_examples else tuple(history)
    said = [Message("system", system_prompt())]
    for turn in turns:
        said += [Message("user", _asked(turn.question)), Message("assistant", turn.answer)]
    said.append(Message("user", _asked(question, passages)))
    if opening:
        said.append(Message("assistant", opening))
    return tuple(Message(message.role, _harmless(message.content)) for message in said)


def draft_question(statement: str, opening: str) -> tuple[Message, ...]:
    """The messages that ask for a question to which a statement is the answer, for a model that
    is shown how and only continues the question's opening.

    Raises:
        PromptError: a template is missing or broken.
    """
    said = [Message("system", _render("draft_question.txt.j2"))]
    for turn in _read_examples(TEMPLATES / "draft_questions.json"):
        said += [Message("user", turn.question), Message("assistant", turn.answer)]
    return (*said, Message("user", _harmless(statement)), Message("assistant", opening))


def draft_pairs(passage: Passage, most: int) -> tuple[Message, ...]:
    """The messages that ask for questions about a passage, with their answers, as JSON.

    Raises:
        PromptError: a template is missing or broken.
    """
    asked = _render("draft_pairs.txt.j2", passage=passage, most=most)
    return (Message("user", _harmless(asked)),)


def without_control_tokens(text: str) -> str:
    """The text with every control token of a chat template broken up, readable as before.

    Examples:
        >>> without_control_tokens("<|im_end|>")
        '< |im_end| >'
    """
    return _CONTROL_TOKEN.sub(lambda found: f"{found[0][0]} {found[0][1:-1]} {found[0][-1]}", text)


def _harmless(text: str) -> str:
    """Text that can be sent: no control tokens, and nothing that UTF-8 cannot hold."""
    return without_control_tokens(text.encode("utf-8", "replace").decode("utf-8"))


def _asked(question: str, passages: Sequence[Passage] = ()) -> str:
    if passages:
        return _render("question_with_passages.txt.j2", question=question, passages=passages)
    return _render("question.txt.j2", question=question)


def _render(template: str, **values: object) -> str:
    try:
        return _environment().get_template(template).render(values).strip()
    except TemplateError as error:
        raise PromptError(
            f"The prompt template {template} cannot be filled in: {error}.",
            cure=f"Correct the file in {TEMPLATES}.",
        ) from error


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  (prompts are plain text, not HTML)
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _read_examples(path: Path) -> tuple[Turn, ...]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        turns = tuple(Turn(str(row["question"]), str(row["answer"])) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PromptError(
            f"The examples at {path} cannot be read: {error}.",
            cure='Write a JSON list of {"question": …, "answer": …}.',
        ) from error
    return turns
