"""Which optional parameters a server knows: what it refused once is left out from then on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from bot.models.prices import OPENAI_HOST

_OPTIONAL = (
    *("max_completion_tokens", "max_tokens", "response_format", "seed", "stream_options"),
    "temperature",
)
_COMPLAINT = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|not permitted|extra", re.IGNORECASE
)


class Dialect:
    """How a server's model is spoken to. The longest answer has an old name and a new one: the
    new one is used where the old one is refused."""

    def __init__(self, unknown: set[str]) -> None:
        self._unknown = unknown

    def spoken(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request without what the server does not know."""
        spoken = {name: value for name, value in request.items() if name not in self._unknown}
        if "max_tokens" in self._unknown and "max_completion_tokens" not in self._unknown:
            spoken["max_completion_tokens"] = request["max_tokens"]
        return spoken

    def learn(self, said: str, parameter: str | None, request: Mapping[str, Any]) -> bool:
        """Learn from a refusal; False when it complains of something else.

        Args:
            said: the code and the message of the refusal.
            parameter: that it names, if it does.
        """
        if not _COMPLAINT.search(said):
            return False
        for name in _OPTIONAL:
            if name in self.spoken(request) and (
                parameter == name or re.search(rf"\b{name}\b", said)
            ):
                self._unknown.add(name)
                return True
        return False


@lru_cache(maxsize=256)
def dialect_of(base_url: str, model: str) -> Dialect:
    """The dialect of a server's model, as far as it was learnt in this process."""
    newer = urlsplit(base_url).hostname == OPENAI_HOST
    return Dialect({"max_tokens"} if newer else set())
