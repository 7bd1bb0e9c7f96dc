"""Conversations, and the answers that are under way in them.

Answers are made on one event-loop thread that knows nothing of the page. A page reads plain
values (`LiveTurn`, `LiveAnswer`) without a lock, waits for a change with `Chat.wait`, and says
with `attach` and `detach` that somebody is reading: an answer without a reader is stopped after
a while. A question is in the records before its first token is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock, Thread
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Engine

from bot.chat import export
from bot.chat.answers import LiveAnswer, LiveTurn, Status, as_written, own_history, restored
from bot.chat.columns import Column, Options
from bot.chat.compare import Bench, Comparison
from bot.chat.events import Failed, Finished, TextDelta
from bot.chat.question import Question
from bot.chat.strategies import STRATEGIES, Strategy, strategy
from bot.errors import ChatError, ModelError, RecordsError
from bot.records import conversations as records
from bot.records.conversations import UNFINISHED, ConversationRow, NewAnswer, StoredTurn
from bot.records.owners import Owner, is_alive

__all__ = ["Chat", "ConversationRow", "LiveAnswer", "LiveTurn", "Options", "Status"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 6.0
SAVE_SECONDS = 1.0
"""At most this much text is lost when the process is killed."""

SAVE_AGAIN_SECONDS = 2.0
"""Between two attempts to write an answer that could not be written."""

CLOSE_SECONDS = 5.0
TITLE_CHARACTERS = 60
_THREADS = 16

T = TypeVar("T")


@dataclass
class _Live:
    """A turn with answers under way; touched by the loop's thread only."""

    turn: LiveTurn
    comparisons: list[Comparison] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)
    unsaved: dict[str, LiveAnswer] = field(default_factory=dict)
    grace: asyncio.TimerHandle | None = None
    saved_at: float = 0.0


class Chat:
    """All conversations of one database, and what is being answered by this process.

    Making one marks answers that a crash left unfinished as interrupted; those that another
    living process writes are left alone.

    Args:
        bench: the parts that answer.
        engine: the records.
        grace_seconds: how long an answer goes on without a reader.

    Raises:
        RecordsError: the records cannot be read or written.
    """

    def __init__(
        self, bench: Bench, engine: Engine, *, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._bench = bench
        self._engine = engine
        self._grace_seconds = grace_seconds
        self._owner = Owner(engine)
        self._mark_interrupted()
        self._live: dict[str, _Live] = {}
        self._asking = Lock()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._end_soon = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="triptych-records")
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="triptych-answer")
        )
        self._thread = Thread(target=self._serve, name="triptych-answers", daemon=True)
        self._thread.start()

    # --- asking ---------------------------------------------------------------------------

    def create(self) -> str:
        """The id of a new conversation; it is written with its first question."""
        return uuid4().hex

    def ask(
        self, conversation_id: str, text: str, strategies: Sequence[str], options: Options
    ) -> LiveTurn:
        """Put a question to some strategies, by their names, on each model of the options.

        The question is in the records when this returns; its answers go on by themselves, as
        long as somebody is attached.

        Raises:
            ChatError: the question is empty, no strategy or no model is chosen, or the
                conversation's last question is still being answered.
            RecordsError: the question could not be written; nothing was asked.
        """
        question = _cleaned(text)
        if not question:
            raise ChatError("The question is empty.", cure="Type a question first.")
        columns = options.columns(_chosen(strategies))
        titles = {one.model: self._title_of_model(one.model) for one in columns}
        with self._asking:
            self._refuse_if_busy(conversation_id)
            self._owner.renew()
            earlier = self.turns(conversation_id)
            turn = LiveTurn(
                id=uuid4().hex,
                conversation_id=conversation_id,
                question=question,
                answers={
                    one.key: LiveAnswer(
                        uuid4().hex,
                        one.strategy.name,
                        one.model,
                        titles[one.model],
                        one.adapter,
                    )
                    for one in columns
                },
            )
            turn.asked_at = records.add_turn(
                self._engine,
                conversation_id=conversation_id,
                title=_title(question),
                turn_id=turn.id,
                question=question,
                answers=[
                    NewAnswer(one.id, one.strategy, one.model, one.model_title, one.adapter)
                    for one in turn.answers.values()
                ],
                owner=self._owner.name,
            )
            self._on_loop(self._begin, turn, columns, earlier, options)
        return turn

    def retry(self, answer_id: str, options: Options) -> LiveTurn:
        """Answer again with the same strategy, model and adapter; the other answers stay, and the
        vote is taken back.

        Args:
            options: as for a new question; its models do not matter here.

        Raises:
            ChatError: the answer is gone or still being written, or a later question of its
                conversation is still being answered.
            RecordsError: the records cannot be read or written.
        """
        with self._asking:
            conversation_id = records.conversation_of_answer(self._engine, answer_id)
            turns = self.turns(conversation_id) if conversation_id else []
            for number, turn in enumerate(turns):
                for key, answer in turn.answers.items():
                    if answer.id == answer_id:
                        self._answer_again(turn, key, turns[:number], options)
                        return turn
        raise ChatError("This answer is no longer there.")

    def stop(self, turn_id: str, key: str | None = None) -> None:
        """Stop one column of a turn, or all; the text so far is kept."""
        self._on_loop(self._stop, turn_id, key)

    # --- reading --------------------------------------------------------------------------

    def under_way(self, conversation_id: str) -> LiveTurn | None:
        """The turn of a conversation that is being answered now, or nothing."""
        for live in list(self._live.values()):
            if live.turn.conversation_id == conversation_id and not live.turn.done:
                return live.turn
        return None

    def answers_with(self, adapter: str) -> bool:
        """Whether an adapter of this name is answering now."""
        live = list(self._live.values())
        return any(one.answers_with(adapter) for turn in live for one in list(turn.comparisons))

    def turns(self, conversation_id: str) -> list[LiveTurn]:
        """A conversation's turns, oldest first: those under way live, the others as written.

        Raises:
            RecordsError: the records cannot be read.
        """
        live = dict(self._live)  # taken first: what ends meanwhile is then seen ended
        stored = records.turns(self._engine, conversation_id)
        if self._others_write(stored) and self._mark_interrupted():
            stored = records.turns(self._engine, conversation_id)
        return [live[one.id].turn if one.id in live else restored(one) for one in stored]

    def wait(self, turn: LiveTurn, seen_version: int, timeout_seconds: float) -> int:
        """Wait until a turn has changed since `seen_version`, is done, or time is up.

        Returns:
            The turn's version now.
        """
        with turn.changed:
            turn.changed.wait_for(
                lambda: turn.version != seen_version or turn.done, timeout_seconds
            )
            return turn.version

    def attach(self, turn_id: str, owner: str) -> None:
        """Say that `owner` reads a turn; owners may overlap. A turn that is done is passed over."""
        self._on_loop(self._attach, turn_id, owner)

    def detach(self, turn_id: str, owner: str) -> None:
        """Say that `owner` no longer reads a turn. When nobody does, it is stopped after the
        grace time."""
        self._on_loop(self._detach, turn_id, owner)

    # --- conversations --------------------------------------------------------------------

    def conversations(self) -> list[ConversationRow]:
        """Every conversation, the one used last first.

        Raises:
            RecordsError: the records cannot be read.
        """
        return records.conversations(self._engine)

    def has(self, conversation_id: str) -> bool:
        """Whether there is a conversation of that id.

        Raises:
            RecordsError: the records cannot be read.
        """
        return records.conversation(self._engine, conversation_id) is not None

    def rename(self, conversation_id: str, title: str) -> None:
        """Give a conversation another title.

        Raises:
            ChatError: the title is empty or the conversation is not there.
            RecordsError: nothing was written.
        """
        name = _title(_cleaned(title))
        if not name:
            raise ChatError("A conversation needs a title.", cure="Type a title first.")
        if not records.rename(self._engine, conversation_id, name):
            raise _no_conversation()

    def delete(self, conversation_id: str) -> None:
        """Remove a conversation; what is being answered in it is stopped first.

        Raises:
            RecordsError: nothing was removed.
        """
        turn = self.under_way(conversation_id)
        if turn is not None:
            self.stop(turn.id)
            _wait_until_done(turn)
        records.delete_conversation(self._engine, conversation_id)

    def vote(self, answer_id: str, vote: int) -> None:
        """Keep a person's opinion of an answer: −1, 0 (none) or +1.

        Raises:
            ChatError: the vote is another number.
            RecordsError: nothing was written.
        """
        if vote not in (-1, 0, 1):
            raise ChatError(f"A vote is -1, 0 or 1, not {vote}.")
        records.update_answer(self._engine, answer_id, {"vote": vote})
        for live in list(self._live.values()):
            for answer in live.turn.answers.values():
                if answer.id == answer_id:
                    answer.vote = vote
                    answer.version += 1
                    live.turn.change()

    def export_markdown(self, conversation_id: str) -> str:
        """A conversation as Markdown.

        Raises:
            ChatError: the conversation is not there.
            RecordsError: the records cannot be read.
        """
        return export.as_markdown(self._title_of(conversation_id), self.turns(conversation_id))

    def export_csv(self, conversation_id: str) -> str:
        """A conversation as a table for a spreadsheet.

        Raises:
            ChatError: the conversation is not there.
            RecordsError: the records cannot be read.
        """
        self._title_of(conversation_id)
        return export.as_csv(self.turns(conversation_id))

    def export_json(self, conversation_id: str) -> str:
        """A conversation as JSON.

        Raises:
            ChatError: the conversation is not there.
            RecordsError: the records cannot be read.
        """
        return export.as_json(self._title_of(conversation_id), self.turns(conversation_id))

    def close(self) -> None:
        """Stop every answer, keeping its text as interrupted, and end the thread."""
        if self._closing:
            return
        self._closing = True
        turns = [live.turn for live in list(self._live.values())]
        for turn in turns:
            self._on_loop(self._stop, turn.id, None)
        for turn in turns:
            _wait_until_done(turn)
        ended = asyncio.run_coroutine_threadsafe(self._finish_tasks(), self._loop)
        with suppress(FutureTimeout):
            ended.result(CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._writer.shutdown()
        self._owner.release()

    # --- on the loop's thread -------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _finish_tasks(self) -> None:
        self._end_soon.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(
        self,
        turn: LiveTurn,
        columns: Sequence[Column],
        earlier: Sequence[LiveTurn],
        options: Options,
    ) -> None:
        history = {one.key: own_history(earlier, one) for one in columns}
        question = Question(turn.question, history, person=turn.conversation_id)
        comparison = Comparison(self._bench, question, columns, options)
        live = self._live.setdefault(turn.id, _Live(turn, saved_at=self._loop.time()))
        live.comparisons.append(comparison)
        for one in columns:
            live.unsaved.pop(turn.answers[one.key].id, None)
        turn.done = False
        task = self._loop.create_task(self._follow(live, comparison))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._watch(live)

    async def _follow(self, live: _Live, comparison: Comparison) -> None:
        turn = live.turn
        try:
            async for key, event in comparison:
                answer = turn.answers[key]
                if isinstance(event, Finished | Failed):
                    await self._finish(live, answer, event)
                else:
                    answer.follow(event)
                    if isinstance(event, TextDelta):
                        self._save_now_and_then(live)
                turn.change()
        except Exception:
            logger.exception("A comparison ended before its answers")
        finally:
            live.comparisons.remove(comparison)
            await self._save_the_rest(live)
            if not live.comparisons:
                self._end(live)

    async def _finish(self, live: _Live, answer: LiveAnswer, event: Finished | Failed) -> None:
        """Write the end of an answer, and show it only then: what is seen finished is kept.

        One that cannot be written says so, and is kept in memory meanwhile.
        """
        ended = replace(answer)
        ended.follow(event)
        if self._closing and ended.status == "stopped":
            ended.status = "interrupted"
        error = await self._written([ended])
        answer.follow(event)
        answer.status, answer.unsaved = ended.status, error
        if error:
            live.unsaved[answer.id] = answer

    async def _save_the_rest(self, live: _Live) -> None:
        """Try again, until there is room, to write the answers that could not be written."""
        while live.unsaved and not live.comparisons and not self._closing:
            live.turn.done = True
            live.turn.change()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._end_soon.wait(), SAVE_AGAIN_SECONDS)
            left = list(live.unsaved.values())
            if await self._written(left):
                continue
            for answer in left:
                live.unsaved.pop(answer.id, None)
                answer.unsaved = ""
                answer.version += 1

    async def _written(self, answers: Sequence[LiveAnswer]) -> str:
        """Write answers after what is being written; why it failed, empty when it did not."""
        values = {answer.id: as_written(answer) for answer in answers}
        return await self._loop.run_in_executor(self._writer, self._write, values)

    def _end(self, live: _Live) -> None:
        if live.grace is not None:
            live.grace.cancel()
        live.turn.done = True
        live.turn.change()
        self._live.pop(live.turn.id, None)

    def _save_now_and_then(self, live: _Live) -> None:
        now = self._loop.time()
        if now - live.saved_at >= SAVE_SECONDS:
            live.saved_at = now
            self._save(answer for answer in live.turn.answers.values() if not answer.finished)

    def _save(self, answers: Iterable[LiveAnswer]) -> None:
        """Write answers on the writer's thread, one after the other."""
        self._writer.submit(self._write, {answer.id: as_written(answer) for answer in answers})

    def _write(self, values: Mapping[str, Mapping[str, Any]]) -> str:
        try:
            records.update_answers(self._engine, values)
            self._owner.renew()
        except RecordsError as error:
            logger.error("An answer could not be saved: %s", error)
            return str(error)
        return ""

    def _stop(self, turn_id: str, key: str | None) -> None:
        live = self._live.get(turn_id)
        for comparison in live.comparisons if live else ():
            comparison.stop(key)

    def _attach(self, turn_id: str, owner: str) -> None:
        live = self._live.get(turn_id)
        if live is not None:
            live.owners.add(owner)
            self._watch(live)

    def _detach(self, turn_id: str, owner: str) -> None:
        live = self._live.get(turn_id)
        if live is not None:
            live.owners.discard(owner)
            self._watch(live)

    def _watch(self, live: _Live) -> None:
        """Let the grace time run while a turn has no reader."""
        if live.owners and live.grace is not None:
            live.grace.cancel()
            live.grace = None
        elif not live.owners and live.grace is None:
            live.grace = self._loop.call_later(self._grace_seconds, self._stop, live.turn.id, None)

    # --- from any thread ------------------------------------------------------------------

    def _on_loop(self, work: Callable[..., T], *values: Any) -> T:
        """Do something on the loop's thread and wait for it: a matter of microseconds."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work(*values))
            except BaseException as error:
                done.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(run)
            return done.result(CLOSE_SECONDS)
        except (RuntimeError, TimeoutError) as error:
            raise ChatError("The chat is closed.", cure="Start Triptych again.") from error

    def _answer_again(
        self, turn: LiveTurn, key: str, earlier: Sequence[LiveTurn], options: Options
    ) -> None:
        answer = turn.answers[key]
        self._refuse_if_busy(turn.conversation_id, except_turn=turn.id)
        if not answer.finished:
            raise ChatError("This answer is still being written.", cure="Stop it first.")
        adapted = strategy(answer.strategy).adapted
        fresh = LiveAnswer(
            answer.id,
            answer.strategy,
            answer.model,
            answer.model_title,
            (answer.adapter or options.adapter_of(answer.model)) if adapted else "",
            version=answer.version + 1,
        )
        values = {**as_written(fresh), "adapter": fresh.adapter, "vote": 0}
        values["owner"] = self._owner.name
        records.update_answer(self._engine, answer.id, values)
        turn.answers[key] = fresh
        column = Column(key, strategy(answer.strategy), answer.model, fresh.adapter)
        self._on_loop(self._begin, turn, [column], earlier, options)

    def _refuse_if_busy(self, conversation_id: str, *, except_turn: str = "") -> None:
        turn = self.under_way(conversation_id)
        if turn is not None and turn.id != except_turn:
            raise ChatError(
                "The last question is still being answered.", cure="Wait for it, or stop it."
            )

    def _others_write(self, stored: Iterable[StoredTurn]) -> bool:
        """Whether, by the records, another process is writing an answer."""
        return any(
            answer.status in UNFINISHED and answer.owner != self._owner.name
            for turn in stored
            for answer in turn.answers
        )

    def _mark_interrupted(self) -> bool:
        """Mark what processes that are gone left unfinished; True when there was something."""
        owners = records.owners_of_unfinished(self._engine) - {self._owner.name}
        gone = [owner for owner in owners if not is_alive(self._engine, owner)]
        return bool(gone) and records.mark_interrupted(self._engine, gone) > 0

    def _title_of_model(self, name: str) -> str:
        """What a person calls a model; one that is not there fails in its own columns."""
        try:
            return self._bench.models(name).title
        except ModelError:
            return name

    def _title_of(self, conversation_id: str) -> str:
        found = records.conversation(self._engine, conversation_id)
        if found is None:
            raise _no_conversation()
        return found.title


def _chosen(names: Sequence[str]) -> list[Strategy]:
    """The strategies of these names, each once, in the order of the table."""
    wanted = {strategy(name).name for name in names}
    if not wanted:
        raise ChatError("No strategy is switched on.", cure="Switch on at least one.")
    return [one for one in STRATEGIES if one.name in wanted]


def _cleaned(text: str) -> str:
    """Text that every database and every encoding can hold."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8").strip()


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1].rstrip()}…"


def _no_conversation() -> ChatError:
    return ChatError("This conversation is no longer there.", cure="Start a new one.")


def _wait_until_done(turn: LiveTurn) -> None:
    with turn.changed:
        turn.changed.wait_for(lambda: turn.done, CLOSE_SECONDS)
