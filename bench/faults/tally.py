"""What a battery of faults came to: counts, and what should not have been."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """The counts of one battery.

    Args:
        name: of the battery.
        tried: faults that were played.
        lost: times that something acknowledged was gone.
        crashes: times that something died or hung which should not have.
        tracebacks: times that one reached a person or a log.
        problems: a line for everything that should not have been.
    """

    name: str
    tried: int
    lost: int = 0
    crashes: int = 0
    tracebacks: int = 0
    problems: list[str] = field(default_factory=list)
