"""What a card says while its answer waits."""

from __future__ import annotations

import pytest

from bot.chat.answers import LiveAnswer
from bot.chat.events import InLine, Prompted
from bot.ui import cards


@pytest.mark.parametrize(
    ("place", "seconds", "words"),
    [
        (1, None, "Next in line at the model…"),
        (1, 0.2, "Next in line at the model, about 1 s…"),
        (3, 12.4, "Number 3 in line at the model, about 12 s…"),
        (0, None, "Reading the prompt…"),
    ],
)
def test_a_card_tells_the_place_in_the_queue(place: int, seconds: float | None, words: str) -> None:
    answer = LiveAnswer("id", "prompt")
    answer.follow(Prompted((), 0, None))
    answer.follow(InLine(place, seconds))
    assert words in cards._body(answer, under_way=True)
