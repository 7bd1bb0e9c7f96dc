"""Learning curves measured with scripted trainings in real processes, and scripted answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import ExamplesError, ModelError, TuningError
from bot.evidence.curve import Curve, Point, plan
from bot.evidence.curves import Curves, adapters_folder
from bot.messages import Message
from bot.tuning.examples import Example
from bot.tuning.recipe import TrainingRecipe
from bot.tuning.trainings import Trainings
from tests.tuning.house import JOB
from tests.tuning.stand_in import BASE

RECIPE = TrainingRecipe(system_prompt="Be brief.", base_sha256=BASE, validation_share=0.2)
PATIENCE_SECONDS = 60.0


def examples(word: str = "step", count: int = 12) -> list[Example]:
    """Questions that are scripts of the scripted job as well; two phrasings for each answer."""
    return [
        Example(
            (Message("user", f"{word} K{n}?"), Message("assistant", f"It costs {n // 2 + 100}."))
        )
        for n in range(count)
    ]


EXAMPLES = examples()


class House:
    """A data directory with its curves; adapters know the answers of what they learnt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "curves"
        self.asked: list[tuple[str, str, str]] = []
        self.on_ask: Callable[[], None] = lambda: None
        self.trainings = Trainings(
            folder / "trainings",
            adapters_folder(self.folder),
            lambda _: Path("/base.gguf"),
            lambda _: None,
            job=JOB,
        )
        self.curves = Curves(self.folder, self.trainings, self.answer)

    def answer(self, strategy: str, adapter: Path | None, question: str) -> str:
        self.on_ask()
        self.asked.append((strategy, adapter.name if adapter else "", question))
        right = next(e for e in EXAMPLES if e.messages[0].content == question).messages[1].content
        if adapter is None:
            return right if strategy == "rag" else "It costs nothing."
        assert (adapter / "adapter.gguf").is_file()
        assert adapter.parent == adapters_folder(self.folder)
        learnt = int(adapter.name.rpartition("-")[2])
        return right if learnt > 4 else "It costs much."

    def end(self) -> Curve:
        assert self.curves.wait(PATIENCE_SECONDS)
        return self.curves.all()[0]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.curves.close()
    made.trainings.close()


def test_a_curve_asks_the_same_of_every_point_and_leaves_nothing_behind(house: House) -> None:
    planned = plan(EXAMPLES, RECIPE.seed)
    curve_id = house.curves.start(EXAMPLES, RECIPE, "kilns")
    done = house.end()

    asked, sizes = len(planned.asked), tuple(map(len, planned.subsets))
    assert (done.id, done.title, done.state, done.error) == (curve_id, "kilns", "done", "")
    assert (done.examples, done.asked, done.sizes) == (12, asked, sizes)
    assert done.rivals == {"few-shot": 0, "rag": asked}
    assert done.points == tuple(Point(size, asked if size > 4 else 0) for size in sizes)
    assert done.seconds > 0
    assert done.doing == ""

    questions = [EXAMPLES[number].messages[0].content for number in planned.asked]
    runs = [house.asked[place : place + asked] for place in range(0, len(house.asked), asked)]
    assert [[question for _, _, question in run] for run in runs] == [questions] * (2 + len(sizes))
    assert [run[0][0] for run in runs] == ["few-shot", "rag", *["adapter"] * len(sizes)]

    assert house.trainings.all() == []
    assert list(adapters_folder(house.folder).iterdir()) == []
    assert [path.name for path in house.folder.iterdir() if path.is_file()] == [f"{curve_id}.json"]


def test_it_is_there_again_for_another_process_and_can_be_removed(house: House) -> None:
    house.on_ask = _fail
    curve_id = house.curves.start(EXAMPLES, RECIPE, "kilns")
    house.end()
    again = Curves(house.folder, house.trainings, house.answer)

    (found,) = again.all()
    assert found == house.curves.get(curve_id)
    again.remove(curve_id)
    assert house.curves.all() == []
    with pytest.raises(TuningError, match="no such"):
        again.get(curve_id)


def _fail() -> None:
    raise ModelError("The model is asleep.", cure="Wake it.")


def test_what_fails_is_said_in_the_curve(house: House) -> None:
    house.on_ask = _fail
    house.curves.start(EXAMPLES, RECIPE, "kilns")
    failed = house.end()

    assert (failed.state, failed.error) == ("failed", "The model is asleep. Wake it.")


def test_a_training_that_fails_ends_the_curve_with_its_reason(house: House) -> None:
    global EXAMPLES
    before, EXAMPLES = EXAMPLES, examples("defect")
    try:
        house.curves.start(EXAMPLES, RECIPE, "kilns")
        failed = house.end()
    finally:
        EXAMPLES = before

    assert failed.state == "failed"
    assert failed.error
    assert failed.points == ()
    assert failed.rivals != {}
    assert house.trainings.all() == []


def test_another_process_sees_it_run_and_cancels_it(house: House) -> None:
    asked, may_go = threading.Event(), threading.Event()

    def pause() -> None:
        asked.set()
        assert may_go.wait(PATIENCE_SECONDS)

    house.on_ask = pause
    curve_id = house.curves.start(EXAMPLES, RECIPE, "kilns")
    assert asked.wait(PATIENCE_SECONDS)
    other = Curves(house.folder, house.trainings, house.answer)
    seen = other.get(curve_id)
    assert seen.state == "running"
    assert seen.doing.startswith("asking Few-shot: 1 of ")
    with pytest.raises(TuningError, match="under way"):
        other.start(EXAMPLES, RECIPE, "another")
    with pytest.raises(TuningError, match="under way"):
        other.remove(curve_id)

    other.cancel(curve_id)
    may_go.set()
    ended = house.end()
    assert (ended.state, ended.points) == ("cancelled", ())
    assert house.trainings.all() == []


def test_a_cancelled_training_is_not_waited_for(house: House) -> None:
    global EXAMPLES
    before, EXAMPLES = EXAMPLES, examples("wait")
    try:
        curve_id = house.curves.start(EXAMPLES, RECIPE, "kilns")
        while not house.trainings.all():
            assert not house.curves.wait(0.05), house.curves.get(curve_id)
        house.curves.cancel(curve_id)
        assert house.end().state == "cancelled"
    finally:
        EXAMPLES = before
    assert house.trainings.all() == []


def test_what_was_measured_when_the_process_ended_stays(house: House) -> None:
    house.on_ask = lambda: house.curves._stop.set()  # as `close` does
    curve_id = house.curves.start(EXAMPLES, RECIPE, "kilns")
    assert house.end().state == "interrupted"

    file = house.folder / f"{curve_id}.json"
    running = replace(house.curves.get(curve_id), state="running", doing="asking")
    file.write_text(running.as_json(), encoding="utf-8")
    (house.folder / f"{curve_id}.owner").write_text("1 0.0", encoding="utf-8")
    killed = house.curves.get(curve_id)
    assert (killed.state, killed.doing) == ("interrupted", "")


def test_a_damaged_file_is_passed_over(house: House) -> None:
    house.folder.mkdir(parents=True)
    (house.folder / "20261121-090000-000001.json").write_text("{", encoding="utf-8")

    assert house.curves.all() == []


def test_too_few_examples_are_refused_before_anything_is_written(house: House) -> None:
    with pytest.raises(ExamplesError, match="at least 8"):
        house.curves.start(EXAMPLES[:5], RECIPE, "kilns")
    assert not house.folder.exists()
