"""How long training examples are, in the tokens of the model that is trained."""

from __future__ import annotations

from collections.abc import Sequence

from bot.chat.prompts import system_prompt
from bot.messages import Message
from bot.models.client import Endpoint, count_tokens, text_tokens
from bot.tuning.examples import Example

_SHORT = "x"


async def example_tokens(endpoint: Endpoint, examples: Sequence[Example]) -> list[int]:
    """The length of every example as it is trained on: system prompt, chat template and the end
    of each answer included.

    What the template puts around a turn is measured once; the texts are counted all at once.

    Raises:
        ModelError: the server cannot say.
        PromptError: the system prompt is missing or broken.
    """
    texts = [message.content for example in examples for message in example.messages]
    short, *lengths = await text_tokens(endpoint, [_SHORT, *texts])
    around_one, around_two = [
        await count_tokens(endpoint, _chat(turns)) - 2 * turns * short for turns in (1, 2)
    ]
    found = []
    left = iter(lengths)
    for example in examples:
        inside = sum(next(left) for _ in example.messages)
        turns = len(example.messages) // 2
        around = around_one + (turns - 1) * (around_two - around_one)
        found.append(inside + around + 1)  # the last answer's end, which a prompt leaves open
    return found


def _chat(turns: int) -> list[Message]:
    turn = [Message("user", _SHORT), Message("assistant", _SHORT)]
    return [Message("system", system_prompt()), *turn * turns]
