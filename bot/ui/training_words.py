"""What is said of a training in a few words: how far it is, how long it still takes."""

from __future__ import annotations

from datetime import datetime

from bot.tuning.trainings import Training

_STATES = {
    "queued": ("gray", ":material/hourglass_empty:", "waiting"),
    "running": ("primary", ":material/bolt:", "training"),
    "checking": ("blue", ":material/fact_check:", "checking"),
    "done": ("green", ":material/check:", "done"),
    "cancelled": ("gray", ":material/stop:", "stopped"),
    "interrupted": ("orange", ":material/link_off:", "interrupted"),
    "failed": ("red", ":material/error:", "failed"),
}


def badge(training: Training) -> str:
    """The state of a training, as Markdown."""
    colour, icon, word = _STATES[training.state]
    return f":{colour}-badge[{icon} {word}]"


def share_done(training: Training) -> float:
    """How far a training is, 0 to 1, the trainings of its cross-validation included."""
    if training.state in ("checking", "done"):
        return 1.0
    if not training.steps:
        return 0.0
    last, folds = training.steps[-1], training.recipe.folds
    before = last.fold - 1 if last.fold else folds  # the one that is kept comes after the folds
    return min(1.0, (before + last.step / last.steps) / (folds + 1))


def time_left(training: Training) -> str:
    """How long a running training still takes; empty until that is known."""
    if training.state != "running" or not training.steps:
        return ""
    return f"{duration(training.steps[-1].seconds_left)} left"


def duration(seconds: float) -> str:
    """A length of time as a person says it: "40 s", "4 min", "1 h 20 min"."""
    if seconds < 55:
        return f"{max(5, round(seconds / 5) * 5)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def percent(share: float) -> str:
    """A share, 0 to 1, in whole percent; 100 % and 0 % only when it is exactly that."""
    rounded = round(100 * share)
    if 0.0 < share < 1.0:
        rounded = min(99, max(1, rounded))
    return f"{rounded} %"


def in_short(training: Training) -> str:
    """One line about a training under way: "Training pellworth: 42 %, 2 min left"."""
    match training.state:
        case "queued":
            return f"{training.name} waits for its training"
        case "checking":
            return f"Checking {training.name}"
        case _:
            done, left = percent(share_done(training)), time_left(training)
            return f"Training {training.name}: {done}{', ' if left else ''}{left}"


def moment(when: str) -> str:
    """A moment in ISO 8601 as the clock on the wall shows it; empty when it is none."""
    try:
        return datetime.fromisoformat(when).astimezone().strftime("%d %b, %H:%M")
    except ValueError:
        return ""
