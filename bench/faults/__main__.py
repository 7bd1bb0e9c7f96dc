"""The battery of faults: kills, corruptions, a full disk, bad servers and bad files, counted.

``python -m bench.faults`` — the whole battery. A number of 0 leaves one part out; all counts of
what was lost, crashed or said in a traceback must be 0, or the exit status is not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from bench.faults import corruptions, disk, kills
from bench.faults.tally import Tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--corruptions", type=int, default=40)
    parser.add_argument("--disk", type=int, default=50)
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    parts: tuple[tuple[str, Callable[[int, int], Tally]], ...] = (
        ("kills", kills.run),
        ("corruptions", corruptions.run),
        ("disk", disk.run),
        ("endpoints", _endpoints),
        ("files", _files),
    )
    tallies = []
    print(f"{'battery':<14}{'tried':>7}{'lost':>7}{'crashes':>9}{'tracebacks':>12}{'seconds':>9}")
    for name, run in parts:
        count = getattr(options, name)
        if not count:
            continue
        began = time.monotonic()
        tally = run(count, options.seed)
        tallies.append(tally)
        print(
            f"{tally.name:<14}{tally.tried:>7}{tally.lost:>7}{tally.crashes:>9}"
            f"{tally.tracebacks:>12}{time.monotonic() - began:>9.0f}",
            flush=True,
        )
        for problem in tally.problems:
            print(f"  {problem}", flush=True)
    return int(any(t.lost or t.crashes or t.tracebacks for t in tallies))


def _endpoints(count: int, seed: int) -> Tally:
    from bench.faults import endpoints

    return endpoints.run(count, seed)


def _files(count: int, seed: int) -> Tally:
    from bench.faults import files

    return files.run(count, seed)


if __name__ == "__main__":
    sys.exit(main())
