"""The learning curve: how right an adapter answers, against how many examples it was made from.

Everything here is a value or a pure function. The same held-out phrasings are asked at every
point, and of the strategies that need no training; the points are nested subsets.
"""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bot.errors import ExamplesError
from bot.tuning.examples import Example
from bot.tuning.split import held_out

SHARES = (0.25, 0.5, 0.75, 1.0)
HELD_OUT_SHARE = 0.25
MOST_ASKED = 60
FEWEST_EXAMPLES = 8
RIVALS = {"few-shot": "Few-shot", "rag": "RAG"}
"""The strategies that an adapter is measured against, as they are called and as they are shown."""

SECONDS_A_QUESTION = 2.0
"""What an answer is taken to need, for an estimate of the whole."""

Z_95 = 1.959964

State = Literal["running", "done", "cancelled", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked and what is learnt, as numbers of examples.

    Args:
        asked: the held-out phrasings, the same for every point.
        subsets: one for each point, the smallest first; each holds the ones before it.
    """

    asked: tuple[int, ...]
    subsets: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """How many held-out phrasings an adapter answered right that was made from some examples."""

    examples: int
    right: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A learning curve, finished or as far as it came.

    Args:
        id: names its file; later curves have greater ones.
        title: of the set of examples.
        examples: how many there are.
        asked: how many held-out phrasings were asked.
        sizes: how many examples the points are made from, the smallest first.
        points: those that are measured.
        rivals: strategy → right answers, of those that are measured.
        state: "interrupted" when its process ended before it did.
        doing: what is being done, in words; empty when it is over.
        error: why it failed, in a sentence or two; empty otherwise.
        created_at: ISO 8601, UTC.
        seconds: how long it took so far.
    """

    id: str
    title: str
    examples: int
    asked: int
    sizes: tuple[int, ...]
    created_at: str
    points: tuple[Point, ...] = ()
    rivals: Mapping[str, int] = field(default_factory=dict)
    state: State = "running"
    doing: str = ""
    error: str = ""
    seconds: float = 0.0

    def as_json(self) -> str:
        """The curve as a JSON document."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def from_json(text: str) -> Curve:
    """A curve from its JSON document.

    Raises:
        ValueError: it is none.
    """
    try:
        values: dict[str, Any] = json.loads(text)
        points = tuple(Point(**one) for one in values.pop("points"))
        rivals = {str(name): int(right) for name, right in values.pop("rivals").items()}
        sizes = tuple(map(int, values.pop("sizes")))
        return Curve(points=points, rivals=rivals, sizes=sizes, **values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no curve: {error}") from error


def plan(examples: Sequence[Example], seed: int) -> Plan:
    """What a curve asks and learns: of every answer some phrasings are held out, and a subset
    holds as many answers as it can.

    Raises:
        ExamplesError: there are too few examples.
    """
    plain = [number for number, one in enumerate(examples) if not one.grounded]
    if len(plain) < FEWEST_EXAMPLES:
        raise ExamplesError(
            f"A learning curve needs at least {FEWEST_EXAMPLES} examples; there are {len(plain)}.",
            cure="Add examples, two or three phrasings for each answer.",
        )
    chosen = [examples[number] for number in plain]
    share = min(HELD_OUT_SHARE, MOST_ASKED / len(plain))
    learning, held = held_out(chosen, share, seed)
    asked = tuple(plain[number] for number in held if len(chosen[number].messages) == 2)
    if not asked:
        raise ExamplesError(
            "No example can be held out.", cure="Add examples of one question and one answer."
        )
    order = [plain[number] for number in _answers_in_turn(chosen, learning, seed)]
    sizes = dict.fromkeys(max(1, math.ceil(share * len(order))) for share in SHARES)
    return Plan(asked, tuple(tuple(sorted(order[:size])) for size in sizes))


def expected_seconds(planned: Plan, training_seconds: float) -> float:
    """How long a curve takes where a training on what it learns and asks takes so long."""
    every = len(planned.asked) + len(planned.subsets[-1])
    learnt = sum(map(len, planned.subsets)) / every
    answers = len(planned.asked) * (len(planned.subsets) + len(RIVALS))
    return training_seconds * learnt + answers * SECONDS_A_QUESTION


def _answers_in_turn(examples: Sequence[Example], numbers: Sequence[int], seed: int) -> list[int]:
    """The numbers so that one phrasing of every answer comes before any second one."""
    chance = random.Random(seed)  # noqa: S311  (which examples come first is no secret)
    by_answer = defaultdict(list)
    for number in numbers:
        by_answer[examples[number].messages[-1].content].append(number)
    groups = list(by_answer.values())
    chance.shuffle(groups)
    for group in groups:
        chance.shuffle(group)
    longest = max(map(len, groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95 % interval of a share that was measured as right / asked, by Wilson's score.

    Examples:
        >>> [round(bound, 3) for bound in wilson(50, 100)]
        [0.404, 0.596]
        >>> wilson(0, 0)
        (0.0, 1.0)
    """
    if not asked:
        return 0.0, 1.0
    share, squared = right / asked, Z_95**2
    middle = (share + squared / (2 * asked)) / (1 + squared / asked)
    half = math.sqrt(share * (1 - share) / asked + squared / (4 * asked**2))
    half *= Z_95 / (1 + squared / asked)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def best_rival(curve: Curve) -> str:
    """The strategy without training that answered most of the phrasings right; empty for none."""
    return max(curve.rivals, key=lambda name: curve.rivals[name], default="")


def examples_to_pay(curve: Curve) -> int | None:
    """About how many examples an adapter needs to be as right as the best other strategy.

    Between two points the curve is taken to be straight. None when it never gets there.
    """
    rival = curve.rivals.get(best_rival(curve))
    before: Point | None = None
    for point in curve.points:
        if rival is not None and point.right >= rival and point.right > 0:
            if before is None or point.right == before.right:
                return point.examples
            climbed = (rival - before.right) / (point.right - before.right)
            return round(before.examples + climbed * (point.examples - before.examples))
        before = point
    return None


def surely_more(right: int, other: int, asked: int) -> bool:
    """Whether one share is larger than another by more than chance: the 95 % interval of their
    difference, Newcombe's from both Wilson intervals, lies above zero."""
    if not asked or right <= other:
        return False
    share, low = right / asked, wilson(right, asked)[0]
    other_share, high = other / asked, wilson(other, asked)[1]
    return share - other_share > math.hypot(share - low, high - other_share)


def surely_pays(curve: Curve) -> int | None:
    """The fewest examples whose adapter is ahead of the best other strategy by more than chance;
    None when no point is."""
    rival = curve.rivals.get(best_rival(curve))
    if rival is None:
        return None
    ahead = (one for one in curve.points if surely_more(one.right, rival, curve.asked))
    return next((one.examples for one in ahead), None)


def verdict(curve: Curve) -> str:
    """How many examples it takes before fine-tuning pays, in words; empty while nobody can say."""
    name = best_rival(curve)
    if not name or not curve.points:
        return ""
    rival, last = RIVALS.get(name, name), curve.points[-1]
    said = (
        f"with {last.examples} examples the adapter answers {last.right} of {curve.asked} "
        f"held-out phrasings right, {rival} {curve.rivals[name]}."
    )
    enough, sure = examples_to_pay(curve), surely_pays(curve)
    if enough is None:
        behind = surely_more(curve.rivals[name], last.right, curve.asked)
        return f"Fine-tuning does not pay yet: {said} " + (
            "More phrasings of each answer help most." if behind else _CHANCE
        )
    if enough == curve.points[0].examples:
        begins = f"Fine-tuning pays from {enough} examples on, the fewest that were tried"
    else:
        begins = f"Fine-tuning pays from about {enough} examples on"
    if sure is None:
        return f"{begins}: {said} {_CHANCE}"
    return f"{begins}: {said} From {sure} on it is ahead by more than chance (95 %)."


_CHANCE = "The difference can be chance: its 95 % interval holds zero."
