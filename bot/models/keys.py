"""Keys of model servers: which one may go where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

OPENAI_KEY = "OPENAI_API_KEY"
HOST_KEY_PREFIX = "TRIPTYCH_KEY_"


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


def variable_for(base_url: str) -> str:
    """The variable that carries the key for a server, such as `TRIPTYCH_KEY_API_GROQ_COM`."""
    host = urlsplit(base_url).hostname or ""
    return HOST_KEY_PREFIX + re.sub(r"[^A-Z0-9]", "_", host.upper())
