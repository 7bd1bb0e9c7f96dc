"""What happens to an answer, in the order it happens: a closed union to `match` on.

Every answer begins with `Queued` and ends with exactly one `Finished` or `Failed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.chat.fingerprint import Fingerprint
from bot.chat.trimming import Trimming
from bot.library.retrieve import Evidence
from bot.library.split import Passage
from bot.messages import Message


@dataclass(frozen=True, slots=True)
class Queued:
    """The column is about to start; a model server may have to be started for it."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The library was searched. `off_topic`: nothing in it matches the question."""

    passages: tuple[Passage, ...]
    evidence: tuple[Evidence, ...]
    off_topic: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Prompted:
    """The messages that are sent, and what was left out so that they fit. `prompt_tokens` is
    their length in the model's own tokens, 0 for a prompt so short that it was not counted
    beforehand (`Finished` has the count)."""

    messages: tuple[Message, ...]
    prompt_tokens: int
    trimming: Trimming | None


@dataclass(frozen=True, slots=True)
class InLine:
    """The server is busy: `place` is the one in its queue, from 1 on, and 0 when it is the
    answer's turn; `seconds` is how long that will take by the last answers, None when unknown."""

    place: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is whole ("stop"), reached its longest length ("length") or was cut off by the
    person ("stopped"). Seconds are counted from the moment the question was asked;
    `first_token_seconds` is None when the model wrote nothing. `cost` is in US dollars, None when
    a price or a count is not known."""

    text: str
    reason: Literal["stop", "length", "stopped"]
    first_token_seconds: float | None
    total_seconds: float
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Failed:
    """The column could not go on; `text` is what there was of the answer."""

    message: str
    cure: str
    text: str


Event = Queued | Retrieved | Prompted | InLine | TextDelta | Finished | Failed
