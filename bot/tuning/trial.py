"""The process that measures how long a training would take, by its first few steps.

``python -m bot.tuning.trial EXAMPLES BASE TRAININGS`` — the recipe comes as JSON, in one line of
standard input. No training runs meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from bot.tuning import recipe as recipes
from bot.tuning.examples import read_examples
from bot.tuning.job import LOCK_NAME, be_owned, explained


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bot.tuning.trial")
    parser.add_argument("examples", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("trainings", type=Path)
    given = parser.parse_args(arguments)
    first_line = sys.stdin.readline()
    be_owned()
    said: dict[str, Any]
    try:
        from bot.tuning.loop import trial_seconds

        recipe, examples = recipes.from_dict(json.loads(first_line)), read_examples(given.examples)
        with FileLock(given.trainings / LOCK_NAME):
            said = {"seconds": float(trial_seconds(recipe, examples, given.base))}
    except Exception as error:
        said = {"error": explained(error)}
    print(json.dumps(said), flush=True)  # noqa: T201
    return int("error" in said)


if __name__ == "__main__":
    sys.exit(main())
