"""One message of a chat: the word that models, prompts and training examples share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """Who speaks, and what they say."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        """The message in the wire format of the OpenAI chat completions protocol."""
        return {"role": self.role, "content": self.content}
