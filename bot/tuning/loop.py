"""The training itself: examples and a recipe → an adapter in its folder, and a report on it."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from bot.errors import RecipeError
from bot.messages import Message
from bot.tuning import adapters as shelf
from bot.tuning import checkpoint as checkpoints_file
from bot.tuning.base import read_model, read_tokenizer
from bot.tuning.checkpoint import Checkpoint
from bot.tuning.digest import file_sha256
from bot.tuning.drills import encode
from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.export import export_gguf
from bot.tuning.lora import AdaptedModel, one_core_each, training_dtype
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.reference import MOST_QUESTIONS, make_reference
from bot.tuning.report import FoldResult, TrainingReport
from bot.tuning.split import folds, held_out
from bot.tuning.unrelated import read_unrelated

if TYPE_CHECKING:
    import torch

CURVE_NAME = "curve.json"
_GRADIENT_NORM = 1.0
_SAVE_SECONDS = 20.0
_TRIAL_STEPS = 3

Event = TrainingStep | Evaluation


def train(
    recipe: TrainingRecipe,
    examples: Sequence[Example],
    *,
    base: Path,
    folder: Path,
    checkpoints: Path,
    on_event: Callable[[Event], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingReport:
    """Fine-tune and fill the folder: weights, GGUF, recipe, curve, report, reference, manifest.

    The same recipe and examples give the same losses, also when it is killed and begun again with
    the same checkpoints: it goes on after the last one, and steps after that come again.

    Args:
        base: the base weights, a GGUF file; dequantised, so that training sees what serves.
        folder: exists; what is in it already stays and is listed in the manifest.
        checkpoints: a folder; where the training stands is kept there.
        on_event: called after every step and every evaluation, in this thread.
        cancelled: asked after every step; when true, what was best so far is kept. Before the
            first evaluation nothing is: then the report's `best_step` is 0 and no file is written.

    Raises:
        RecipeError: the recipe names other base weights, or more layers than there are.
        ExamplesError: an example is longer than the recipe allows, or there are too few.
        TuningError: the base cannot be read, or the loss is no longer a number.
        OSError: the folder or the checkpoints cannot be written.
    """
    if file_sha256(base) != recipe.base_sha256:
        raise RecipeError(
            f"The recipe is for other base weights than {base.name}.",
            cure="Write the SHA-256 of the installed weights into the recipe.",
        )
    started = time.monotonic()
    with one_core_each() as cores:
        training = _Training(recipe, examples, base, checkpoints, cores)
        report = training.run(on_event, cancelled)
        if not report.best_step:
            return report
        training.adapted.save(folder, base.name)
        (folder / CURVE_NAME).write_text(
            json.dumps(training.progress.curve) + "\n", encoding="utf-8"
        )
        seconds_before = training.progress.seconds_before
        asked = training.questions()
        del training  # what follows needs the memory
    export_gguf(folder, base, folder / shelf.GGUF_NAME)
    recipe.save(folder)
    make_reference(folder, base, recipe.system_prompt, asked)
    report = replace(
        report,
        seconds=round(seconds_before + time.monotonic() - started, 1),
        peak_memory_bytes=_peak_memory_bytes(),
    )
    report.save(folder)
    facts = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": base.name,
        "examples": len(examples),
        "seconds": report.seconds,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "gguf")},
    }
    shelf.write_manifest(folder, facts)
    return report


def trial_seconds(recipe: TrainingRecipe, examples: Sequence[Example], base: Path) -> float:
    """How long the whole training would take on this machine, from a few measured steps.

    Takes as long as reading the base and some steps do, a quarter of a minute or so.

    Raises:
        RecipeError: more layers are asked for than there are.
        ExamplesError: an example is longer than the recipe allows, or there are too few.
        TuningError: the base cannot be read.
    """
    started = time.monotonic()
    with one_core_each() as cores:
        chance = random.Random(recipe.seed)  # noqa: S311
        count = min(len(examples), recipe.batch_size * (_TRIAL_STEPS + 1))
        some = chance.sample(list(examples), count)
        tokenizer, model = read_tokenizer(base), read_model(base, training_dtype())
        system_ids, drills = encode(tokenizer, recipe, some)
        read_seconds = time.monotonic() - started
        adapted = AdaptedModel(model, recipe, system_ids, drills, cores)
        frozen_seconds = time.monotonic() - started - read_seconds
        batches = [
            list(range(first, min(first + recipe.batch_size, count)))
            for first in range(0, count, recipe.batch_size)
        ]
        seen = 0
        for step, batch in enumerate(batches):
            if step == min(1, len(batches) - 1):  # the first one is slower
                began = time.monotonic()
            adapted.learn(batch, step)
            seen += len(batch) if step or len(batches) == 1 else 0
        step_seconds = (time.monotonic() - began) / seen
        began = time.monotonic()
        adapted.judge(batches[-1])
        judge_seconds = (time.monotonic() - began) / len(batches[-1])
    split, parts = _splits(recipe, examples)
    learnt = sum(len(_of_an_epoch(recipe, examples, one.learning)) for one in (*parts, split))
    asked = sum(len(one.asked) for one in (*parts, split))
    return (
        read_seconds * 3  # the reference and the export read the base again
        + frozen_seconds * len(examples) / count
        + recipe.epochs * (learnt * step_seconds + asked * judge_seconds)
        + len(examples) * judge_seconds
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """One training from fresh weights: which examples are learnt, and which are asked.

    Args:
        fold: 0 for the one whose adapter is kept.
    """

    fold: int
    learning: list[int]
    asked: list[int]


@dataclass(slots=True)
class _Progress:
    """Where a training stands; JSON-able."""

    fold: int = 0
    step: int = 0
    stopped: str = ""
    best_step: int = 0
    best_correct: int = -1
    best_loss: float | None = None
    waited: int = 0
    losses: list[float] = field(default_factory=list)
    folds: list[dict[str, Any]] = field(default_factory=list)
    curve: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"steps": [], "evaluations": []}
    )
    steps_done: int = 0
    tokens: int = 0
    step_seconds: float = 0.0
    seconds_before: float = 0.0

    def next_course(self, fold: int) -> None:
        """Forget what belongs to one course only."""
        self.fold, self.step, self.stopped = fold, 0, ""
        self.best_step, self.best_correct, self.best_loss, self.waited = 0, -1, None, 0
        self.losses = []


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        recipe: TrainingRecipe,
        examples: Sequence[Example],
        base: Path,
        checkpoints: Path,
        cores: Any,
    ) -> None:
        self._began = time.monotonic()
        self._recipe = recipe
        self._examples = examples
        self._checkpoints = checkpoints
        final, parts = _splits(recipe, examples)
        self._courses = [*parts, final]
        tokenizer, model = read_tokenizer(base), read_model(base, training_dtype())
        system_ids, drills = encode(tokenizer, recipe, examples)
        unrelated = read_unrelated(tokenizer, model, recipe)
        self._lengths = [len(system_ids) + len(drill.ids) for drill in drills]
        self._unrelated = range(len(drills), len(drills) + len(unrelated))
        self.adapted = AdaptedModel(model, recipe, system_ids, [*drills, *unrelated], cores)
        self._unrelated_before = self._unrelated_share()
        self.progress = _Progress(fold=self._courses[0].fold)
        self._saved_at = time.monotonic()

    def run(
        self, on_event: Callable[[Event], None], cancelled: Callable[[], bool]
    ) -> TrainingReport:
        """Go through the courses; the adapted model then has the weights that are kept."""
        self._begin_course()
        self._restore()
        for course in self._courses:
            if course.fold != self.progress.fold:
                continue  # done before the restart
            self._learn(course, on_event, cancelled)
            if self.progress.stopped == "cancelled":
                break
            if course.fold:
                self._end_fold(course)
        if self.progress.fold:
            self.progress.best_step = 0  # what a fold learns is not kept
        self._use(self._best)
        return self._report()

    def questions(self) -> list[list[Message]]:
        """What to compare served answers on: held-out phrasings first, then learnt ones."""
        final = self._courses[-1]
        numbers = [*final.asked, *final.learning][:MOST_QUESTIONS]
        return [list(self._examples[number].messages[:-1]) for number in numbers]

    def _begin_course(self) -> None:
        import torch

        self.adapted.begin_again()
        self._best = self.adapted.weights.detach().clone()
        self._optimizer = torch.optim.AdamW(
            [self.adapted.weights],
            lr=self._recipe.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self._recipe.weight_decay,
        )

    def _learn(
        self, course: _Course, on_event: Callable[[Event], None], cancelled: Callable[[], bool]
    ) -> None:
        """Learn step by step until the end, a stop or a cancellation."""
        progress = self.progress
        steps_an_epoch = self._steps_an_epoch(course)
        steps = steps_an_epoch * self._recipe.epochs
        while progress.step < steps and not progress.stopped:
            step = self._step(course, progress.step + 1, steps_an_epoch)
            progress.curve["steps"].append(asdict(step))
            on_event(step)
            if epoch_ends := progress.step % steps_an_epoch == 0:
                evaluation = self._evaluate(course)
                progress.curve["evaluations"].append(asdict(evaluation))
                on_event(evaluation)
            if cancelled():
                progress.stopped = "cancelled"
            elif epoch_ends or time.monotonic() - self._saved_at > _SAVE_SECONDS:
                self._save()

    def _step(self, course: _Course, number: int, steps_an_epoch: int) -> TrainingStep:
        """Learn one batch."""
        import torch

        began = time.monotonic()
        recipe, progress = self._recipe, self.progress
        epoch, place = divmod(number - 1, steps_an_epoch)
        steps = steps_an_epoch * recipe.epochs
        order = _of_an_epoch(recipe, self._examples, course.learning, epoch)
        batch = order[place * recipe.batch_size :][: recipe.batch_size]
        rate = learning_rate(recipe, number, steps)
        self._optimizer.param_groups[0]["lr"] = rate
        loss = round(self.adapted.learn(batch, number), 5)
        torch.nn.utils.clip_grad_norm_([self.adapted.weights], _GRADIENT_NORM)
        self._optimizer.step()
        self.adapted.weights_changed()
        seconds = time.monotonic() - began
        tokens = sum(self._lengths[example] for example in batch)
        progress.step = number
        progress.losses.append(loss)
        progress.steps_done += 1
        progress.tokens += tokens
        progress.step_seconds += seconds
        return TrainingStep(
            step=number,
            steps=steps,
            epoch=epoch + 1,
            loss=loss,
            learning_rate=rate,
            tokens_per_second=round(tokens / seconds, 1),
            seconds_left=round(
                self._steps_left(course) * progress.step_seconds / progress.steps_done, 1
            ),
            fold=course.fold,
        )

    def _evaluate(self, course: _Course) -> Evaluation:
        """Ask the held-out phrasings, and keep the weights when they are the best so far."""
        progress = self.progress
        judged = self.adapted.judge(course.asked)
        correct = sum(one.word_for_word for one in judged)
        loss = None
        if judged:
            loss = sum(one.loss for one in judged) / sum(one.tokens for one in judged)
        best = (
            loss is None
            or correct > progress.best_correct
            or (correct == progress.best_correct and loss < (progress.best_loss or math.inf))
        )
        if best:
            progress.best_step, progress.best_correct = progress.step, correct
            progress.best_loss, progress.waited = loss, 0
            self._best = self.adapted.weights.detach().clone()
        else:
            progress.waited += 1
            if self._recipe.patience and progress.waited >= self._recipe.patience:
                progress.stopped = "early"
        losses, progress.losses = progress.losses, []
        return Evaluation(
            step=progress.step,
            training_loss=round(sum(losses) / len(losses), 5),
            validation_loss=None if loss is None else round(loss, 5),
            correct=correct,
            asked=len(judged),
            fold=course.fold,
            best=best,
        )

    def _end_fold(self, course: _Course) -> None:
        """Note what a course of the cross-validation gave, and begin the next one."""
        progress = self.progress
        result = FoldResult(
            fold=course.fold,
            validation_loss=round(progress.best_loss or 0.0, 5),
            correct=progress.best_correct,
            asked=len(course.asked),
            best_step=progress.best_step,
        )
        progress.folds.append(asdict(result))
        progress.next_course(self._courses[self._courses.index(course) + 1].fold)
        self._begin_course()
        self._save()

    def _report(self) -> TrainingReport:
        final, progress = self._courses[-1], self.progress
        if not progress.best_step:
            final = _Course(0, [], [])  # there is nothing to ask
        learning = [number for number in final.learning if not self._examples[number].grounded]
        trained = self.adapted.judge(learning)
        unseen = self.adapted.judge(final.asked)
        return TrainingReport(
            trained_correct=sum(one.word_for_word for one in trained),
            trained_asked=len(trained),
            unseen_correct=sum(one.word_for_word for one in unseen),
            unseen_asked=len(unseen),
            unrelated_before=self._unrelated_before,
            unrelated_after=self._unrelated_share(),
            best_step=progress.best_step,
            stopped=progress.stopped,
            folds=tuple(FoldResult(**one) for one in progress.folds),
            seconds=0.0,
            tokens_per_second=round(progress.tokens / progress.step_seconds, 1),
            peak_memory_bytes=0,
        )

    def _unrelated_share(self) -> float:
        judged = self.adapted.judge(self._unrelated)
        share = sum(one.likeliest for one in judged) / sum(one.tokens for one in judged)
        return round(share, 4)

    def _steps_an_epoch(self, course: _Course) -> int:
        seen = len(_of_an_epoch(self._recipe, self._examples, course.learning))
        return math.ceil(seen / self._recipe.batch_size)

    def _steps_left(self, course: _Course) -> int:
        later = self._courses[self._courses.index(course) :]
        steps = sum(self._steps_an_epoch(one) * self._recipe.epochs for one in later)
        return steps - self.progress.step

    def _use(self, weights: torch.Tensor) -> None:
        self.adapted.weights.data.copy_(weights)
        self.adapted.weights_changed()

    @property
    def _fingerprint(self) -> str:
        """Of everything that decides what is learnt."""
        chats = [[message.as_dict() for message in one.messages] for one in self._examples]
        text = json.dumps([asdict(self._recipe), chats], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _save(self) -> None:
        """Keep where the training stands."""
        moments = self._optimizer.state.get(self.adapted.weights, {})
        values = asdict(self.progress)
        values["seconds_before"] += time.monotonic() - self._began
        tensors = {"weights": self.adapted.weights.detach(), "best": self._best, **moments}
        on_cpu = {name: tensor.cpu() for name, tensor in tensors.items()}
        checkpoints_file.save(Checkpoint(self._fingerprint, values, on_cpu), self._checkpoints)
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        """Go on from where an earlier process stood, if one did."""
        found = checkpoints_file.load(self._checkpoints, self._fingerprint)
        if not found:
            return
        self.progress = _Progress(**found.values)
        moments = dict(found.tensors)
        self._use(moments.pop("weights"))
        self._best = moments.pop("best").to(self.adapted.weights.device)
        if moments:
            state = self._optimizer.state_dict()
            self._optimizer.load_state_dict({**state, "state": {0: moments}})


def learning_rate(recipe: TrainingRecipe, step: int, steps: int) -> float:
    """The rate of a step (from 1): up linearly during the warm-up, then by the schedule."""
    warmup = max(1, round(recipe.warmup_share * steps))
    if step <= warmup:
        return recipe.learning_rate * step / warmup
    left = (steps - step + 1) / (steps - warmup + 1)
    match recipe.schedule:
        case "constant":
            return recipe.learning_rate
        case "cosine":
            return recipe.learning_rate * (1 - math.cos(math.pi * left)) / 2
    return recipe.learning_rate * left


def _splits(recipe: TrainingRecipe, examples: Sequence[Example]) -> tuple[_Course, list[_Course]]:
    """The course whose adapter is kept, and those that cross-validate what it learns."""
    learning, asked = held_out(examples, recipe.validation_share, recipe.seed)
    final = _Course(0, learning, asked)
    if not recipe.folds:
        return final, []
    parts = folds([examples[number] for number in learning], recipe.folds, recipe.seed)
    return final, [
        _Course(fold, [learning[i] for i in some], [learning[i] for i in others])
        for fold, (some, others) in enumerate(parts, start=1)
    ]


def _of_an_epoch(
    recipe: TrainingRecipe, examples: Sequence[Example], learning: Sequence[int], epoch: int = 0
) -> list[int]:
    """The examples in the order in which one epoch sees them: all, but a share of the grounded."""
    chance = random.Random(f"{recipe.seed} {epoch}")  # noqa: S311  (the order is no secret)
    order = [number for number in learning if not examples[number].grounded]
    grounded = [number for number in learning if examples[number].grounded]
    wanted = min(len(grounded), round(recipe.grounding * len(order)))
    order += chance.sample(grounded, wanted)
    chance.shuffle(order)
    return order


def _peak_memory_bytes() -> int:
    """The most memory that this process held."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):
        return int(memory.peak_wset)
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
