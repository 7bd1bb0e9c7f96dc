"""Keys of model servers: which one may go where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

OPENAI_KEY = "OPENAI_API_KEY"
HOST_KEY_PREFIX = "TRIPTYCH_KEY_"
HIDDEN = "•••"
REAL_KEY_CHARACTERS = 16


class Keys:
    """The variables in which keys stand, each bound to the one server that may see it.

    Args:
        variables: name → value, of the environment, ``.env`` and Streamlit's secrets.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    def __repr__(self) -> str:
        return "Keys(…)"

    def openai(self) -> str:
        """The key for `OPENAI_BASE_URL`, and for nobody else; empty when there is none."""
        return self._variables.get(OPENAI_KEY, "").strip()

    def for_address(self, base_url: str) -> str:
        """The key for a server whose address was entered on the page; empty when there is none.

        Only the variable that is named after the server's host counts, so that whoever can enter
        an address can never have another server's key sent there.
        """
        return self._variables.get(variable_for(base_url), "").strip()

    def variable(self, name: str) -> str:
        """The value of one variable; empty when it is not set."""
        return self._variables.get(name, "").strip()


class Veil:
    """Hides a key in an answer that comes in pieces: a server may repeat what it was sent.

    Keys that are shorter than any real one are left: they are words like "not-needed", which an
    answer may well hold.
    """

    def __init__(self, key: str) -> None:
        self._key = key if len(key) >= REAL_KEY_CHARACTERS else ""
        self._held = ""

    def show(self, piece: str) -> str:
        """What can be shown by now; the beginning of a key is held back until it is none."""
        if not self._key:
            return piece
        text = (self._held + piece).replace(self._key, HIDDEN)
        lengths = range(min(len(self._key) - 1, len(text)), 0, -1)
        held = next((one for one in lengths if text.endswith(self._key[:one])), 0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What was held back at the end."""
        rest, self._held = self._held, ""
        return rest


def variable_for(base_url: str) -> str:
    """The variable that carries the key for a server, such as `TRIPTYCH_KEY_API_GROQ_COM`."""
    host = urlsplit(base_url).hostname or ""
    return HOST_KEY_PREFIX + re.sub(r"[^A-Z0-9]", "_", host.upper())
