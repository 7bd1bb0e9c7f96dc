"""One question to several columns at once → (column, event), as they come.

A column is one strategy, answered by one model. One that fails spares the rest, each can be
stopped alone, and closing the iterator cancels everything that is still under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from bot.chat import prompts
from bot.chat.columns import Column, Options
from bot.chat.events import Event, Failed, Finished, InLine, Prompted, Queued, Retrieved, TextDelta
from bot.chat.fingerprint import Fingerprint, prompt_sha256
from bot.chat.question import Question
from bot.chat.queue import queue_at
from bot.chat.strategies import Strategy
from bot.chat.trimming import Draft, Fitted, fit
from bot.errors import AdapterError, ContextExceeded, TriptychError
from bot.library.retrieve import Retrieval
from bot.messages import Message
from bot.models import client
from bot.models.catalog import AdapterRef, AdapterWeights, Model, ModelProfile
from bot.models.client import Completion, Delta, Endpoint, Sampling

__all__ = ["Bench", "Comparison", "Options", "compare"]

logger = logging.getLogger(__name__)

SERVER_SAYS_SHARE = 0.95
"""Of the context that a server told when a prompt was too long: what the next one may take."""


@dataclass(frozen=True)
class Bench:
    """The parts that strategies are compared on.

    Args:
        models: the model of a name; may block.
        retrieve: question, passages wanted → what the library holds; may block.
        adapter: names of a model and of one of its adapters → that adapter; may block.
        timeout_seconds: the longest silence of a model server.
    """

    models: Callable[[str], Model]
    retrieve: Callable[[str, int], Retrieval]
    adapter: Callable[[str, str], AdapterRef]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class _Served:
    """A model, alone or with an adapter, and the server it answers from."""

    endpoint: Endpoint
    adapter: str | None


@dataclass
class _Answer:
    """One column's answer so far: what is needed to finish it at any moment."""

    column: Column
    model: Model | None = None
    text: str = ""
    messages: tuple[Message, ...] = ()
    passage_ids: tuple[str, ...] = ()
    adapter: str | None = None
    max_tokens: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    first_token_seconds: float | None = None
    ended: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Comparison:
    """One question, being answered in several columns.

    Iterate it once: ``async for key, event in comparison``. It ends when every column has
    yielded `Finished` or `Failed`. To leave early, close the iterator
    (``async with aclosing(aiter(comparison))``): everything under way is cancelled.
    """

    def __init__(
        self,
        bench: Bench,
        question: Question,
        columns: Sequence[Column],
        options: Options,
    ) -> None:
        self._bench = bench
        self._question = question
        self._options = options
        self._answers = {one.key: _Answer(one) for one in columns}
        self._events: asyncio.Queue[tuple[str, Event]] = asyncio.Queue()
        self._retrieval: asyncio.Task[Retrieval] | None = None
        self._models: dict[str, asyncio.Task[Model]] = {}
        self._served: dict[tuple[str, str | None], asyncio.Task[_Served]] = {}
        self._asked_at = time.monotonic()

    def __aiter__(self) -> AsyncGenerator[tuple[str, Event]]:
        return self._run()

    def stop(self, key: str | None = None) -> None:
        """Stop one column, or all of them; call it in the event loop of the iteration.

        A stopped column yields `Finished` with the reason "stopped" and the text so far. One
        that has ended, or that was not asked, is passed over.
        """
        for own, answer in self._answers.items():
            if key in (None, own):
                self._finish(answer, "stopped")
                if answer.task is not None:
                    answer.task.cancel()

    def answers_with(self, adapter: str) -> bool:
        """Whether a column that has not ended answers with an adapter of this name."""
        return any(one.column.adapter == adapter for one in self._answers.values() if not one.ended)

    async def _run(self) -> AsyncGenerator[tuple[str, Event]]:
        waiting = len(self._answers)
        self._start()
        try:
            while waiting:
                key, event = await self._events.get()
                waiting -= isinstance(event, Finished | Failed)
                yield key, event
        finally:
            await self._cancel()

    def _start(self) -> None:
        """Start every column that was not stopped yet, and the slow work they share."""
        answers = [answer for answer in self._answers.values() if not answer.ended]
        columns = [answer.column for answer in answers]
        if any(one.strategy.retrieves for one in columns):
            self._retrieval = asyncio.create_task(asyncio.to_thread(self._retrieve))
        for name in {one.model for one in columns}:
            finding = asyncio.to_thread(self._bench.models, name)
            self._models[name] = asyncio.create_task(finding)
        for which in {_which(one) for one in columns}:
            self._served[which] = asyncio.create_task(self._serve(*which))
        for answer in answers:
            self._emit(answer, Queued())
            answer.task = asyncio.create_task(self._answer(answer))

    async def _cancel(self) -> None:
        answering = (answer.task for answer in self._answers.values())
        shared = (self._retrieval, *self._models.values(), *self._served.values())
        tasks = [task for task in (*answering, *shared) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, answer: _Answer) -> None:
        try:
            await self._follow(answer)
        except TriptychError as error:
            self._end(answer, Failed(error.message, error.cure, answer.text))
        except Exception:
            logger.exception("The column %s failed", answer.column.key)
            message = "Something went wrong inside Triptych."
            self._end(answer, Failed(message, "Try again; the log has the details.", answer.text))

    async def _follow(self, answer: _Answer) -> None:
        """Take one column from the question to its last token."""
        column = answer.column
        model = answer.model = await asyncio.shield(self._models[column.model])
        retrieval = None
        if column.strategy.retrieves and self._retrieval is not None:
            retrieval = await asyncio.shield(self._retrieval)
            self._emit(answer, _retrieved(retrieval))
            if retrieval.off_topic or not retrieval.passages:
                self._abstain(answer)
                return
        served = await asyncio.shield(self._served[_which(column)])
        answer.adapter = served.adapter
        profile = model.profile
        try:
            await self._ask(answer, profile, retrieval, served.endpoint)
        except ContextExceeded as error:
            told = _room_told(error, answer)
            if answer.text or told is None:
                raise
            profile = replace(profile, context_tokens=told)
            try:
                await self._ask(answer, profile, retrieval, served.endpoint)
            except ContextExceeded:
                raise error from None  # in the server's own words: our count is only an estimate

    async def _ask(
        self,
        answer: _Answer,
        profile: ModelProfile,
        retrieval: Retrieval | None,
        endpoint: Endpoint,
    ) -> None:
        fitted = await self._prompt(answer, profile, retrieval, endpoint)
        self._emit(answer, Prompted(fitted.messages, fitted.prompt_tokens, fitted.trimming))
        async with self._place(answer, endpoint):
            await self._stream(answer, endpoint)

    @asynccontextmanager
    async def _place(self, answer: _Answer, endpoint: Endpoint) -> AsyncGenerator[None]:
        """Hold a place at the server, after those whose turn is before."""
        queue = queue_at(endpoint)
        if queue is None:
            yield
            return
        waited = False

        def tell(place: int, seconds: float | None) -> None:
            nonlocal waited
            waited = True
            self._emit(answer, InLine(place, seconds))

        async with queue.place(self._question.person, tell):
            if waited:
                self._emit(answer, InLine(0, None))
            yield

    async def _prompt(
        self,
        answer: _Answer,
        profile: ModelProfile,
        retrieval: Retrieval | None,
        endpoint: Endpoint,
    ) -> Fitted:
        strategy = answer.column.strategy
        opening = profile.opening if strategy.opens else ""

        def build(draft: Draft) -> tuple[Message, ...]:
            return prompts.messages(
                strategy,
                draft.question,
                history=draft.history,
                passages=draft.passages,
                opening=opening,
            )

        draft = Draft(
            self._question.text,
            tuple(self._question.history.get(answer.column.key, ())),
            retrieval.passages if retrieval else (),
        )
        answer.max_tokens = min(self._options.answer_tokens, profile.context_tokens // 2)
        fitted = await fit(
            draft,
            build,
            partial(client.count_tokens, endpoint),
            room_tokens=profile.context_tokens - answer.max_tokens,
        )
        answer.messages = fitted.messages
        answer.prompt_tokens = fitted.prompt_tokens
        answer.passage_ids = tuple(passage.id for passage in fitted.draft.passages)
        return fitted

    async def _stream(self, answer: _Answer, endpoint: Endpoint) -> None:
        sampling = Sampling(answer.max_tokens, self._options.temperature, self._options.seed)
        opening = answer.messages[-1].content if answer.messages[-1].role == "assistant" else ""
        pieces = client.stream(
            endpoint,
            answer.messages,
            sampling,
            timeout_seconds=self._bench.timeout_seconds,
            reuse_prompt=bool(self._question.history.get(answer.column.key)),
        )
        async with aclosing(pieces):
            async for piece in pieces:
                match piece:
                    case Delta(text):
                        self._write(answer, text, opening)
                    case Completion(prompt_tokens, answer_tokens, reason):
                        answer.prompt_tokens = prompt_tokens
                        answer.answer_tokens = answer_tokens
                        self._finish(answer, reason)

    def _write(self, answer: _Answer, text: str, opening: str) -> None:
        if answer.first_token_seconds is None:
            answer.first_token_seconds = self._seconds()
            self._add(answer, f"{opening} " if opening and text[0].isalnum() else opening)
        answer.answer_tokens += 1
        self._add(answer, text)

    def _abstain(self, answer: _Answer) -> None:
        """Answer in words that the documents do not say, without asking the model."""
        self._add(answer, prompts.abstention())
        self._finish(answer, "stop")

    def _add(self, answer: _Answer, text: str) -> None:
        if text and not answer.ended:
            answer.text += text
            self._emit(answer, TextDelta(text))

    def _finish(self, answer: _Answer, reason: Literal["stop", "length", "stopped"]) -> None:
        self._end(
            answer,
            Finished(
                text=answer.text,
                reason=reason,
                first_token_seconds=answer.first_token_seconds,
                total_seconds=self._seconds(),
                prompt_tokens=answer.prompt_tokens,
                answer_tokens=answer.answer_tokens,
                cost=_cost(answer),
                fingerprint=self._fingerprint(answer),
            ),
        )

    def _end(self, answer: _Answer, event: Finished | Failed) -> None:
        """Emit the last event of an answer; only the first one counts."""
        if not answer.ended:
            self._emit(answer, event)
            answer.ended = True

    def _emit(self, answer: _Answer, event: Event) -> None:
        if not answer.ended:
            self._events.put_nowait((answer.column.key, event))

    def _fingerprint(self, answer: _Answer) -> Fingerprint:
        options = self._options
        return Fingerprint(
            weights=answer.model.identity if answer.model else "",
            adapter=answer.adapter,
            prompt_sha256=prompt_sha256(answer.messages),
            passage_ids=answer.passage_ids,
            sampling={
                "temperature": options.temperature,
                "max_tokens": answer.max_tokens or options.answer_tokens,
            },
            seed=options.seed,
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._asked_at

    def _retrieve(self) -> Retrieval:
        return self._bench.retrieve(self._question.text, self._options.passages)

    async def _serve(self, name: str, chosen: str | None) -> _Served:
        model = await asyncio.shield(self._models[name])
        if chosen is None:
            return _Served(await asyncio.to_thread(model.endpoint), None)
        if not chosen:
            raise AdapterError(
                "No adapter is chosen.",
                cure="Train one: python -m bot train EXAMPLES --name NAME.",
            )
        adapter = await asyncio.to_thread(self._bench.adapter, name, chosen)
        return _Served(await asyncio.to_thread(model.endpoint, adapter), _identity(adapter))


def _which(column: Column) -> tuple[str, str | None]:
    """Which server answers a column: that of a model alone, or with an adapter."""
    return column.model, column.adapter if column.strategy.adapted else None


def _cost(answer: _Answer) -> float | None:
    """US dollars for the tokens of an answer; None when a price or a count is not known."""
    if not answer.messages:
        return 0.0  # the model was not asked
    if answer.model is None:
        return None
    profile = answer.model.profile
    if profile.prompt_price_per_million and not answer.prompt_tokens:
        return None  # stopped before the prompt was counted
    return profile.cost(answer.prompt_tokens, answer.answer_tokens)


def _identity(adapter: AdapterRef) -> str:
    return adapter.sha256 if isinstance(adapter, AdapterWeights) else adapter.name


def _room_told(error: ContextExceeded, answer: _Answer) -> int | None:
    """The context that a server which knows better tells, in tokens as they are counted here;
    None when it does not say what would fit."""
    if not error.context_tokens or not answer.messages:
        return None
    counted = answer.prompt_tokens or client.estimated_tokens(answer.messages)
    scale = min(1.0, counted / error.prompt_tokens) if error.prompt_tokens else 1.0
    return int(error.context_tokens * scale * SERVER_SAYS_SHARE)


def _retrieved(retrieval: Retrieval) -> Retrieved:
    return Retrieved(
        passages=retrieval.passages,
        evidence=retrieval.evidence,
        off_topic=retrieval.off_topic,
        seconds=retrieval.seconds,
    )


def compare(
    bench: Bench, question: Question, strategies: Sequence[Strategy], options: Options
) -> Comparison:
    """Put one question to several strategies, on each model of the options; they start when the
    result is iterated.

    Raises:
        ChatError: the options name no model.
    """
    return Comparison(bench, question, options.columns(strategies), options)
