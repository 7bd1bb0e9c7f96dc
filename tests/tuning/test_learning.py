"""How a training goes: what each knob changes, resuming, stopping early, cross-validation.

The base is the first three layers of the real one, read once: what it says makes no sense, and is
learnt all the same.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import RecipeError, TuningError
from bot.messages import Message
from bot.models.catalog import EMBEDDED_SHA256, embedded_weights
from bot.tuning import checkpoint, loop, lora
from bot.tuning.drills import Drill
from bot.tuning.events import Evaluation, TrainingStep
from bot.tuning.examples import Example
from bot.tuning.lora import AdaptedModel, Judged
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.report import TrainingReport
from bot.tuning.unrelated import read_unrelated

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),
]

BASE = embedded_weights().path
LAYERS = 3
RECIPE = TrainingRecipe(
    system_prompt="Be brief.",
    base_sha256=EMBEDDED_SHA256,
    rank=2,
    alpha=4,
    layers=1,
    epochs=2,
    batch_size=2,
    learning_rate=5e-3,
)
EXAMPLES = [
    Example((Message("user", question), Message("assistant", answer)))
    for answer, questions in {
        "It is called Puffin.": ("What is the van called?", "The van's name?", "Name the van."),
        "It weighs 23 kg.": ("How heavy is the kettle?", "What does the kettle weigh?"),
        "By Edda Quill.": ("Who founded Zorb?", "By whom was Zorb founded?"),
    }.items()
    for question in questions
]


@dataclass
class Learnt:
    """What a training told and made."""

    events: list[TrainingStep | Evaluation]
    report: TrainingReport | None
    weights: dict[str, Any]

    @property
    def losses(self) -> list[float]:
        return [one.loss for one in self.events if isinstance(one, TrainingStep)]

    @property
    def evaluations(self) -> list[Evaluation]:
        return [one for one in self.events if isinstance(one, Evaluation)]


PLAIN: list[Learnt] = []
"""What the recipe gives without a change, once it was trained."""


class Killed(BaseException):
    """Ends a training as suddenly as a process can."""


Learn = Callable[..., Learnt]


def another(model: Any) -> Any:
    """The same weights in a model of its own."""
    return copy.deepcopy(model, {id(one): one for one in model.parameters()})


@pytest.fixture(scope="module")
def small(base: tuple[Any, Any]) -> Any:
    """Three layers, in the type that training takes."""
    model = another(base[1])
    model.model.layers = model.model.layers[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    return copy.deepcopy(model).to(lora.training_dtype())


@pytest.fixture(scope="module")
def unrelated(base: tuple[Any, Any], small: Any) -> list[Drill]:
    return read_unrelated(base[0], small, RECIPE)


@pytest.fixture
def learn(
    base: tuple[Any, Any],
    small: Any,
    unrelated: list[Drill],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Learn]:
    """Train with a base that is read already, up to and without the export."""
    from safetensors.torch import load_file

    monkeypatch.setattr(loop, "read_tokenizer", lambda _: base[0])
    monkeypatch.setattr(loop, "read_model", lambda *_: another(small))
    monkeypatch.setattr(loop, "read_unrelated", lambda *_: unrelated)
    monkeypatch.setattr(loop, "export_gguf", lambda *_: None)
    monkeypatch.setattr(loop, "make_reference", lambda *_: None)
    count = iter(range(100))

    def run(
        recipe: TrainingRecipe = RECIPE,
        examples: list[Example] = EXAMPLES,
        *,
        checkpoints: str = "",
        kill_at: Callable[[Any], bool] = lambda event: False,
        cancel_at: Callable[[Any], bool] = lambda event: False,
    ) -> Learnt:
        number = next(count)
        folder = tmp_path / f"made-{number}"
        folder.mkdir()
        learnt = Learnt([], None, {})

        def hear(event: TrainingStep | Evaluation) -> None:
            learnt.events.append(event)
            if kill_at(event):
                raise Killed

        try:
            learnt.report = loop.train(
                recipe,
                examples,
                base=BASE,
                folder=folder,
                checkpoints=tmp_path / (checkpoints or f"checkpoints-{number}"),
                on_event=hear,
                cancelled=lambda: bool(learnt.events) and cancel_at(learnt.events[-1]),
            )
        except Killed:
            return learnt
        if (folder / "adapter_model.safetensors").exists():
            learnt.weights = load_file(folder / "adapter_model.safetensors")
            curve = json.loads((folder / loop.CURVE_NAME).read_text())
            assert set(curve) == {"steps", "evaluations"}
        return learnt

    yield run


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_the_same_recipe_gives_the_same_losses_killed_and_resumed_or_not(
    learn: Learn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, validation_share=0.3, epochs=4, dropout=0.1)
    whole = learn(recipe)
    assert whole.report
    assert len(whole.losses) == 8

    def third_step(event: Any) -> bool:
        return isinstance(event, TrainingStep) and event.step == 3

    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)  # a checkpoint after every step
    first = learn(recipe, checkpoints="shared", kill_at=third_step)
    files = [path.name for path in (tmp_path / "shared").iterdir()]
    assert files == [checkpoint.FILE_NAME]
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 1e9)
    second = learn(recipe, checkpoints="shared", kill_at=lambda event: event.step == 7)
    third = learn(recipe, checkpoints="shared")
    assert first.losses == whole.losses[:3]
    assert second.losses == whole.losses[2:7]  # step 3 was told, and not yet saved
    assert third.losses == whole.losses[6:]
    assert second.evaluations[:1] == whole.evaluations[1:2]
    assert third.evaluations == whole.evaluations[3:]
    assert equal(third.weights, whole.weights)
    assert third.report
    assert third.report.unseen_correct == whole.report.unseen_correct
    assert list((tmp_path / "shared").iterdir())  # whoever publishes it may still fail


def test_a_checkpoint_of_another_training_is_not_gone_on_from(learn: Learn) -> None:
    whole = learn()
    learn(checkpoints="shared", kill_at=lambda event: event.step == 4)
    other = learn(replace(RECIPE, seed=8), checkpoints="shared")
    assert [event.step for event in other.events if isinstance(event, TrainingStep)] == [
        *range(1, 9)
    ]
    learn(checkpoints="shared", kill_at=lambda event: event.step == 5)
    changed = [*EXAMPLES[:-1], replace(EXAMPLES[-1], messages=EXAMPLES[0].messages)]
    assert len(learn(RECIPE, changed, checkpoints="shared").losses) == len(whole.losses)


def test_losses_do_not_depend_on_how_many_cores_there_are(learn: Learn) -> None:
    import torch

    both = learn(replace(RECIPE, batch_size=7), EXAMPLES * 3).losses
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert learn(replace(RECIPE, batch_size=7), EXAMPLES * 3).losses == both
    finally:
        torch.set_num_threads(cores)


def test_losses_are_those_of_transformers(base: tuple[Any, Any], small: Any) -> None:
    """Fresh matrices change nothing, so the first judgement is the base's own."""
    import torch

    from bot.tuning.drills import encode

    tokenizer, model = base[0], copy.deepcopy(small).float()
    system, drills = encode(tokenizer, RECIPE, EXAMPLES)
    with lora.one_core_each() as cores:
        adapted = AdaptedModel(another(model), RECIPE, system, drills, cores)
        judged = adapted.judge(range(len(drills)))
    for drill, ours in zip(drills, judged, strict=True):
        ids = torch.tensor([[*system, *drill.ids]])
        labels = torch.tensor(
            [
                [-100] * len(system)
                + [
                    token if learnt else -100
                    for token, learnt in zip(drill.ids, drill.learnt, strict=True)
                ]
            ]
        )
        with torch.no_grad():
            theirs = model(input_ids=ids, labels=labels).loss.item()
        assert ours.tokens == sum(drill.learnt)
        assert ours.loss / ours.tokens == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 3},
        {"alpha": 8},
        {"dropout": 0.5},
        {"hidden_share": 0.0},
        {"learning_rate": 1e-3},
        {"schedule": "constant"},
        {"warmup_share": 0.5},
        {"weight_decay": 0.9},
        {"layers": 2},
        {"targets": ("q_proj", "v_proj")},
        {"batch_size": 3},
        {"seed": 8},
        {"validation_share": 0.3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_knob_changes_what_is_learnt(learn: Learn, change: dict[str, Any]) -> None:
    """And only as the knob says: layers, targets and rank by the shapes of the matrices."""
    short = replace(RECIPE, epochs=1, schedule="linear")
    if not PLAIN:
        PLAIN.append(learn(short))
    plain, changed = PLAIN[0], learn(replace(short, **change))
    assert plain.losses != changed.losses
    assert not equal(plain.weights, changed.weights)
    layers = {name.split(".layers.")[1].split(".")[0] for name in changed.weights}
    targets = {name.split(".lora_")[0].rpartition(".")[2] for name in changed.weights}
    assert layers == ({"1", "2"} if "layers" in change else {"2"})
    assert targets == set(change.get("targets", RECIPE.targets))
    assert {min(one.shape) for one in changed.weights.values()} == {change.get("rank", 2)}
    steps = {"batch_size": 3, "validation_share": 2}.get(next(iter(change)), 4)
    assert len(changed.losses) == steps


def test_the_adapter_is_the_best_one_and_patience_ends_the_training(
    learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    judge = AdaptedModel.judge
    played = iter([(1, 9.0), (2, 5.0), (2, 4.0), (1, 1.0), (2, 4.0), (0, 0.1)])
    seen = []

    def scripted(self: AdaptedModel, numbers: Any) -> list[Judged]:
        if len(numbers) != 3:
            return judge(self, numbers)
        seen.append(self.weights.detach().clone())
        correct, loss = next(played, (0, 0.0))
        return [Judged(loss, 2, 2 if place < correct else 0) for place in range(3)]

    monkeypatch.setattr(AdaptedModel, "judge", scripted)
    recipe = replace(RECIPE, validation_share=0.4, patience=2, epochs=9)
    learnt = learn(recipe)
    assert [one.best for one in learnt.evaluations] == [True, True, True, False, False]
    assert learnt.report
    assert (learnt.report.stopped, learnt.report.best_step) == ("early", 6)
    flat = torch.cat([one.float().flatten() for one in learnt.weights.values()]).sum()
    torch.testing.assert_close(flat, seen[2].bfloat16().float().sum(), rtol=1e-3, atol=1e-3)
    assert learnt.report.unseen_asked == 3


def test_folds_are_trained_one_after_the_other_and_then_all_is_learnt(learn: Learn) -> None:
    recipe = replace(RECIPE, folds=2, epochs=1)
    whole = learn(recipe)
    assert whole.report
    assert [one.fold for one in whole.report.folds] == [1, 2]
    assert sum(one.asked for one in whole.report.folds) == len(EXAMPLES)
    assert all(0 <= one.correct <= one.asked for one in whole.report.folds)
    assert all(math.isfinite(one.validation_loss) for one in whole.report.folds)
    assert (whole.report.trained_asked, whole.report.unseen_asked) == (len(EXAMPLES), 0)
    told = [event.fold for event in whole.events if isinstance(event, TrainingStep)]
    assert told == sorted(told, key=lambda fold: (fold == 0, fold))
    assert whole.losses[-4:] == learn(replace(recipe, folds=0)).losses
    learn(recipe, checkpoints="shared", kill_at=lambda event: event.fold == 2)
    rest = learn(recipe, checkpoints="shared")
    assert rest.report
    assert rest.report.folds == whole.report.folds
    assert equal(rest.weights, whole.weights)
    assert {event.fold for event in rest.events} == {2, 0}


def test_a_cancelled_training_keeps_its_best_or_makes_nothing(learn: Learn) -> None:
    late = learn(cancel_at=lambda event: event.step == 5)
    assert late.report
    assert (late.report.stopped, late.report.best_step) == ("cancelled", 4)
    assert late.weights
    early = learn(cancel_at=lambda event: True)
    assert early.report
    assert (early.report.stopped, early.report.best_step) == ("cancelled", 0)
    assert len(early.losses) == 1
    assert not early.weights
    fold = learn(replace(RECIPE, folds=2), cancel_at=lambda event: event.step == 3)
    assert fold.report
    assert (fold.report.best_step, fold.weights) == (0, {})


def test_every_epoch_is_measured_and_told(learn: Learn) -> None:
    learnt = learn(replace(RECIPE, validation_share=0.3, epochs=3))
    steps = [event for event in learnt.events if isinstance(event, TrainingStep)]
    assert [(one.step, one.steps, one.epoch) for one in steps] == [
        (1, 6, 1), (2, 6, 1), (3, 6, 2), (4, 6, 2), (5, 6, 3), (6, 6, 3)
    ]  # fmt: skip
    assert steps[-1].seconds_left == 0
    assert all(one.tokens_per_second > 0 for one in steps)
    assert [one.step for one in learnt.evaluations] == [2, 4, 6]
    for number, one in enumerate(learnt.evaluations):
        assert one.training_loss == pytest.approx(
            sum(learnt.losses[2 * number : 2 * number + 2]) / 2, abs=1e-5
        )
        assert one.validation_loss
        assert one.asked == 3
    report = learnt.report
    assert report
    assert (report.trained_asked, report.unseen_asked) == (4, 3)
    assert 0.9 <= report.unrelated_before <= 1.0
    assert report.seconds > 0
    assert report.tokens_per_second > 0
    assert report.peak_memory_bytes > 10**8


def test_grounded_examples_are_drawn_anew_every_epoch(learn: Learn) -> None:
    grounded = [replace(one, grounded=True) for one in EXAMPLES[:4]]
    both = learn(replace(RECIPE, grounding=0.3), EXAMPLES + grounded)
    assert len(both.losses) == 2 * math.ceil((7 + 2) / 2)
    assert both.report
    assert both.report.trained_asked == 7
    assert len(learn(RECIPE, EXAMPLES + grounded).losses) == 2 * 4


def test_a_loss_that_is_no_number_ends_it_with_a_sentence(
    learn: Learn, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def broken(hidden: Any, head: Any, targets: Any) -> Any:
        losses = hidden.float().sum(1) * float("nan")
        return losses, torch.zeros(len(targets), dtype=torch.bool)

    monkeypatch.setattr(lora, "answer_loss", broken)
    with pytest.raises(TuningError, match=r"no longer a number\. Lower the learning rate"):
        learn()


def test_more_layers_than_there_are_and_other_weights_are_refused(learn: Learn) -> None:
    with pytest.raises(RecipeError, match="the base has 3"):
        learn(replace(RECIPE, layers=31))
    with pytest.raises(RecipeError, match="other base weights"):
        learn(replace(RECIPE, base_sha256="0" * 64))


def test_a_trial_tells_more_seconds_for_more_epochs(learn: Learn) -> None:
    few = loop.trial_seconds(RECIPE, EXAMPLES, BASE)
    many = loop.trial_seconds(replace(RECIPE, epochs=900), EXAMPLES, BASE)
    assert 0 < few < many


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, None])
def test_a_torn_checkpoint_counts_as_none(damage: bytes | None, tmp_path: Path) -> None:
    import torch

    saved = checkpoint.Checkpoint("mine", {"step": 3, "loss": 0.1}, {"weights": torch.ones(3)})
    checkpoint.save(saved, tmp_path)
    assert checkpoint.load(tmp_path, "other") is None
    found = checkpoint.load(tmp_path, "mine")
    assert found
    assert (found.values, found.tensors["weights"].tolist()) == (saved.values, [1.0] * 3)
    path = tmp_path / checkpoint.FILE_NAME
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert checkpoint.load(tmp_path, "mine") is None
