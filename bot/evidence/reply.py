"""One question to one strategy → the text of its answer, asked as the page asks."""

from __future__ import annotations

from contextlib import aclosing

from bot.chat.compare import Bench, Options, compare
from bot.chat.events import Failed, Finished
from bot.chat.question import Question
from bot.chat.strategies import strategy
from bot.errors import ModelError


async def reply(bench: Bench, question: str, strategy_name: str, options: Options) -> str:
    """The answer of a strategy on the first model of the options.

    Raises:
        ChatError: there is no such strategy, or the options name no model.
        ModelError: it could not be answered; the message says why.
    """
    comparison = compare(bench, Question(question, {}), [strategy(strategy_name)], options)
    async with aclosing(aiter(comparison)) as events:
        async for _, event in events:
            match event:
                case Finished(text=text):
                    return text
                case Failed(message, cure):
                    raise ModelError(message, cure=cure)
    raise ModelError("There was no answer.", cure="Try again.")
