"""One question to several strategies at once → (strategy, event), as they come.

One failing strategy spares the rest, each can be stopped alone, and closing the iterator cancels
everything that is still under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from bot.chat import prompts
from bot.chat.events import Event, Failed, Finished, Prompted, Queued, Retrieved, TextDelta
from bot.chat.fingerprint import Fingerprint, prompt_sha256
from bot.chat.question import Question
from bot.chat.strategies import Strategy
from bot.chat.trimming import Draft, Fitted, fit
from bot.errors import AdapterError, TriptychError
from bot.library.retrieve import Retrieval
from bot.messages import Message
from bot.models import client
from bot.models.catalog import AdapterRef, AdapterWeights, Model
from bot.models.client import Completion, Delta, Endpoint, Sampling

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """The parts that strategies are compared on.

    Args:
        model: the base model.
        retrieve: question, passages wanted → what the library holds; may block.
        adapter: the adapter of a name; may block.
        timeout_seconds: the longest silence of a model server.
    """

    model: Model
    retrieve: Callable[[str, int], Retrieval]
    adapter: Callable[[str], AdapterRef]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose for a question.

    Args:
        answer_tokens: longest answer.
        temperature: of the sampling; 0 always takes the likeliest token.
        seed: of the sampling, shared by all strategies.
        passages: how many retrieved passages go into a prompt.
        adapter: name of the adapter that answers; empty for none.
    """

    answer_tokens: int
    temperature: float
    seed: int
    passages: int
    adapter: str


@dataclass(frozen=True, slots=True)
class _Served:
    """Weights with the server they answer from."""

    endpoint: Endpoint
    adapter_sha256: str | None


@dataclass
class _Answer:
    """One strategy's answer so far: what is needed to finish it at any moment."""

    strategy: Strategy
    text: str = ""
    messages: tuple[Message, ...] = ()
    passage_ids: tuple[str, ...] = ()
    adapter_sha256: str | None = None
    max_tokens: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    first_token_seconds: float | None = None
    ended: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Comparison:
    """One question, being answered by several strategies.

    Iterate it once: ``async for name, event in comparison``. It ends when every strategy has
    yielded `Finished` or `Failed`. To leave early, close the iterator
    (``async with aclosing(aiter(comparison))``): everything under way is cancelled.
    """

    def __init__(
        self,
        bench: Bench,
        question: Question,
        strategies: Sequence[Strategy],
        options: Options,
    ) -> None:
        self._bench = bench
        self._question = question
        self._options = options
        self._answers = {one.name: _Answer(one) for one in strategies}
        self._events: asyncio.Queue[tuple[str, Event]] = asyncio.Queue()
        self._retrieval: asyncio.Task[Retrieval] | None = None
        self._served: dict[bool, asyncio.Task[_Served]] = {}
        self._asked_at = time.monotonic()

    def __aiter__(self) -> AsyncGenerator[tuple[str, Event]]:
        return self._run()

    def stop(self, strategy: str | None = None) -> None:
        """Stop one strategy, or all of them; call it in the event loop of the iteration.

        A stopped strategy yields `Finished` with the reason "stopped" and the text so far. One
        that has ended, or that was not asked, is passed over.
        """
        for name, answer in self._answers.items():
            if strategy in (None, name):
                self._finish(answer, "stopped")
                if answer.task is not None:
                    answer.task.cancel()

    async def _run(self) -> AsyncGenerator[tuple[str, Event]]:
        waiting = len(self._answers)
        self._start()
        try:
            while waiting:
                name, event = await self._events.get()
                waiting -= isinstance(event, Finished | Failed)
                yield name, event
        finally:
            await self._cancel()

    def _start(self) -> None:
        """Start every strategy that was not stopped yet, and the slow work they share."""
        answers = [answer for answer in self._answers.values() if not answer.ended]
        if any(answer.strategy.retrieves for answer in answers):
            self._retrieval = asyncio.create_task(asyncio.to_thread(self._retrieve))
        for adapted in {answer.strategy.adapted for answer in answers}:
            serving = asyncio.to_thread(self._serve, adapted)
            self._served[adapted] = asyncio.create_task(serving)
        for answer in answers:
            self._emit(answer, Queued())
            answer.task = asyncio.create_task(self._answer(answer))

    async def _cancel(self) -> None:
        answering = (answer.task for answer in self._answers.values())
        shared = (self._retrieval, *self._served.values())
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
            logger.exception("The strategy %s failed", answer.strategy.name)
            message = "Something went wrong inside Triptych."
            self._end(answer, Failed(message, "Try again; the log has the details.", answer.text))

    async def _follow(self, answer: _Answer) -> None:
        """Take one strategy from its question to its last token."""
        retrieval = None
        if answer.strategy.retrieves and self._retrieval is not None:
            retrieval = await asyncio.shield(self._retrieval)
            self._emit(answer, _retrieved(retrieval))
            if retrieval.off_topic or not retrieval.passages:
                self._abstain(answer)
                return
        served = await asyncio.shield(self._served[answer.strategy.adapted])
        answer.adapter_sha256 = served.adapter_sha256
        fitted = await self._prompt(answer, retrieval, served.endpoint)
        self._emit(answer, Prompted(fitted.messages, fitted.prompt_tokens, fitted.trimming))
        await self._stream(answer, served.endpoint)

    async def _prompt(
        self, answer: _Answer, retrieval: Retrieval | None, endpoint: Endpoint
    ) -> Fitted:
        strategy = answer.strategy
        opening = self._bench.model.profile.opening if strategy.opens else ""

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
            tuple(self._question.history.get(strategy.name, ())),
            retrieval.passages if retrieval else (),
        )
        context_tokens = self._bench.model.profile.context_tokens
        answer.max_tokens = min(self._options.answer_tokens, context_tokens // 2)
        fitted = await fit(
            draft,
            build,
            partial(client.count_tokens, endpoint),
            room_tokens=context_tokens - answer.max_tokens,
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
            reuse_prompt=bool(self._question.history.get(answer.strategy.name)),
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
            self._events.put_nowait((answer.strategy.name, event))

    def _fingerprint(self, answer: _Answer) -> Fingerprint:
        options = self._options
        return Fingerprint(
            weights_sha256=self._bench.model.identity,
            adapter_sha256=answer.adapter_sha256,
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

    def _serve(self, adapted: bool) -> _Served:
        if not adapted:
            return _Served(self._bench.model.endpoint(), None)
        if not self._options.adapter:
            raise AdapterError(
                "No adapter is chosen.",
                cure="Train one: python -m bot train EXAMPLES --name NAME.",
            )
        adapter = self._bench.adapter(self._options.adapter)
        return _Served(self._bench.model.endpoint(adapter), _adapter_identity(adapter))


def _adapter_identity(adapter: AdapterRef) -> str:
    return adapter.sha256 if isinstance(adapter, AdapterWeights) else adapter.name


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
    """Put one question to several strategies; they start when the result is iterated."""
    return Comparison(bench, question, strategies, options)
