"""The columns of a question: each is one strategy, answered by one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.chat.strategies import Strategy
from bot.errors import ChatError


@dataclass(frozen=True, slots=True)
class Column:
    """One strategy, answered by one model.

    Args:
        key: its name wherever answers of a question are told apart (see `column_key`).
        strategy: how it is answered.
        model: the name of the model that answers.
    """

    key: str
    strategy: Strategy
    model: str


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose for a question.

    Args:
        answer_tokens: longest answer.
        temperature: of the sampling; 0 always takes the likeliest token.
        seed: of the sampling, shared by all columns.
        passages: how many retrieved passages go into a prompt.
        adapter: name of the adapter that answers on the first model; empty for none.
        models: names of the models that answer, the main one first.
        other_adapters: names of the adapters that answer on the other models, by the model's
            name; strategies with an adapter have no column on a model that is not in it.
    """

    answer_tokens: int
    temperature: float
    seed: int
    passages: int
    adapter: str
    models: tuple[str, ...]
    other_adapters: Mapping[str, str] = field(default_factory=dict)

    def adapter_of(self, model: str) -> str:
        """The name of the adapter that answers on a model; empty for none."""
        own = self.adapter if model == self.models[0] else ""
        return own or self.other_adapters.get(model, "")

    def columns(self, strategies: Sequence[Strategy]) -> tuple[Column, ...]:
        """One column for each strategy and model; the columns of a strategy stand together.

        Raises:
            ChatError: no model is named.
        """
        if not self.models:
            raise ChatError("No model is chosen.", cure="Choose a model first.")
        first = self.models[0]
        return tuple(
            Column(column_key(one.name, model, first), one, model)
            for one in strategies
            for model in dict.fromkeys(self.models)
            if model == first or not one.adapted or self.adapter_of(model)
        )


def column_key(strategy: str, model: str, first_model: str) -> str:
    """The key of a column: the strategy's name for the first model of a question, the strategy's
    name with the model's for the others.

    Examples:
        >>> column_key("rag", "embedded", "embedded")
        'rag'
        >>> column_key("rag", "openai:gpt-4.1-mini", "embedded")
        'rag@openai:gpt-4.1-mini'
    """
    return strategy if model == first_model else f"{strategy}@{model}"
