"""The five strategies: what is retrieved × which weights answer × which examples are shown.

All share base model, system prompt, sampling and seed, so a difference between two answers has
one cause.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.errors import ChatError


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to answer.

    Args:
        name: as commands and records spell it.
        title: as the page shows it.
        retrieves: passages of the library are put into the prompt.
        adapted: fine-tuned weights answer instead of the base model.
        shows_examples: example turns stand before the question.
        opens: the answer is begun with the model profile's opening words.
        summary: what it does, in a sentence for a newcomer.
    """

    name: str
    title: str
    retrieves: bool
    adapted: bool
    shows_examples: bool
    opens: bool
    summary: str


STRATEGIES: tuple[Strategy, ...] = (
    Strategy(
        name="prompt",
        title="Prompt",
        retrieves=False,
        adapted=False,
        shows_examples=False,
        opens=False,
        summary="The model alone, with a short instruction.",
    ),
    Strategy(
        name="few-shot",
        title="Few-shot",
        retrieves=False,
        adapted=False,
        shows_examples=True,
        opens=False,
        summary="The model alone, after a few example answers.",
    ),
    Strategy(
        name="rag",
        title="RAG",
        retrieves=True,
        adapted=False,
        shows_examples=False,
        opens=True,
        summary="The model reads the best passage of your documents first.",
    ),
    Strategy(
        name="adapter",
        title="Adapter",
        retrieves=False,
        adapted=True,
        shows_examples=False,
        opens=False,
        summary="The model fine-tuned on your examples, without documents.",
    ),
    Strategy(
        name="hybrid",
        title="Hybrid",
        retrieves=True,
        adapted=True,
        shows_examples=False,
        opens=False,
        summary="The fine-tuned model reads the best passage first.",
    ),
)


def strategy(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        ChatError: there is none.
    """
    for one in STRATEGIES:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in STRATEGIES)
    raise ChatError(f"There is no strategy named {name!r}.", cure=f"Choose from: {names}.")
