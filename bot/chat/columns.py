"""The columns of a question: each is one strategy, answered by one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.chat.strategies import Strategy
from bot.errors import ChatError


@dataclass(frozen=True, slots=True)
class Column:
    """One strategy, answered by one model, with one adapter where it has one.

    Args:
        key: its name wherever answers of a question are told apart (see `column_key`).
        strategy: how it is answered.
        model: the name of the model that answers.
        adapter: the name of the adapter that answers; empty for none.
    """

    key: str
    strategy: Strategy
    model: str
    adapter: str = ""


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
        more_adapters: names of further adapters of the first model; strategies with an adapter
            have a column for each.
    """

    answer_tokens: int
    temperature: float
    seed: int
    passages: int
    adapter: str
    models: tuple[str, ...]
    other_adapters: Mapping[str, str] = field(default_factory=dict)
    more_adapters: tuple[str, ...] = ()

    def adapter_of(self, model: str) -> str:
        """The name of the adapter that answers on a model; empty for none."""
        own = self.adapter if model == self.models[0] else ""
        return own or self.other_adapters.get(model, "")

    def columns(self, strategies: Sequence[Strategy]) -> tuple[Column, ...]:
        """One column for each strategy, model and adapter; those of a strategy stand together.

        Raises:
            ChatError: no model is named.
        """
        if not self.models:
            raise ChatError("No model is chosen.", cure="Choose a model first.")
        return tuple(
            Column(
                column_key(one.name, model, self.models[0], adapter if number else ""),
                one,
                model,
                adapter,
            )
            for one in strategies
            for model in dict.fromkeys(self.models)
            for number, adapter in enumerate(self._adapters(one, model))
        )

    def _adapters(self, strategy: Strategy, model: str) -> tuple[str, ...]:
        """Which adapter answers each column that a strategy has on a model, the first one first;
        an empty name for the model alone."""
        if not strategy.adapted:
            return ("",)
        own = self.adapter_of(model)
        if model != self.models[0]:
            return (own,) if own else ()
        return (own, *(one for one in dict.fromkeys(self.more_adapters) if one and one != own))


def column_key(strategy: str, model: str, first_model: str, more_adapter: str = "") -> str:
    """The key of a column: the strategy's name for the first model of a question, the strategy's
    name with the model's for the others, and with the adapter's for a further one.

    Examples:
        >>> column_key("rag", "embedded", "embedded")
        'rag'
        >>> column_key("rag", "openai:gpt-4.1-mini", "embedded")
        'rag@openai:gpt-4.1-mini'
        >>> column_key("hybrid", "embedded", "embedded", "glazes")
        'hybrid+glazes'
    """
    own = f"{strategy}+{more_adapter}" if more_adapter else strategy
    return own if model == first_model else f"{own}@{model}"
