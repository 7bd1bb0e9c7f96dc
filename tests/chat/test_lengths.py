"""The lengths of examples are those that they have in training."""

from __future__ import annotations

import asyncio

from bot.chat.lengths import example_tokens
from bot.chat.prompts import system_prompt
from bot.messages import Message
from bot.models.client import Endpoint, count_tokens, text_tokens
from bot.services import Services
from bot.tuning.examples import Example

ONE = (Message("user", "What does the Heron 5 cost, in £?"), Message("assistant", "£2,390 – 5 %."))
TWO = (*ONE, Message("user", "Yes?\n\nYes"), Message("assistant", "1,280 °C 😀"))
END_OF_ANSWER = 1


def test_they_are_those_of_the_chat_as_it_is_trained_on(services: Services) -> None:
    endpoint = services.model.endpoint()
    examples = [Example(TWO), Example(ONE), Example(TWO[2:])]

    async def wanted() -> list[int]:
        system = Message("system", system_prompt())
        return [
            await count_tokens(endpoint, [system, *one.messages]) + END_OF_ANSWER
            for one in examples
        ]

    assert asyncio.run(example_tokens(endpoint, examples)) == asyncio.run(wanted())
    assert asyncio.run(example_tokens(endpoint, [])) == []


def test_a_server_that_does_not_count_is_counted_for() -> None:
    nowhere = Endpoint("http://127.0.0.1:9/v1", "", "m", counts=False)
    (short, long) = asyncio.run(text_tokens(nowhere, ["Yes.", "Yes, with 1,280 °C."]))
    assert 1 < short < long
