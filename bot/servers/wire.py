"""How clients and the supervisor talk: JSON lines over loopback, both sides proving the key.

    client      {"nonce": A}
    supervisor  {"proof": HMAC(key, A), "nonce": B}
    client      {"proof": HMAC(key, B), "do": …}
    supervisor  {…}

The supervisor proves itself too, so that whoever listens on a dead supervisor's port learns no
key and is believed nothing. Address and key lie in `servers.json`, which only its owner can read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Line = dict[str, Any]

LINE_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Contact:
    """Where a supervisor listens, and the key that both sides must prove."""

    port: int
    key: str = field(repr=False)


def contact_path(data_dir: Path) -> Path:
    """The file in which a data directory's supervisor is found."""
    return data_dir / "servers.json"


def write_contact(data_dir: Path, contact: Contact) -> None:
    """Publish a supervisor, whole or not at all, readable by its owner only."""
    path = contact_path(data_dir)
    draft = path.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(contact), file)
    draft.replace(path)


def read_contact(data_dir: Path) -> Contact | None:
    """The supervisor that was published last, if any; it may be dead by now."""
    try:
        found = json.loads(contact_path(data_dir).read_text())
        return Contact(int(found["port"]), str(found["key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def proof(key: str, side: str, nonce: str) -> str:
    """What only a holder of the key can say to a nonce; `side` keeps it from being echoed."""
    return hmac.new(key.encode(), f"{side} {nonce}".encode(), hashlib.sha256).hexdigest()


def proves(line: Line, key: str, side: str, nonce: str) -> bool:
    """Whether a line carries the proof for a nonce."""
    return hmac.compare_digest(str(line.get("proof", "")), proof(key, side, nonce))


def encode(line: Line) -> bytes:
    """A line as it travels."""
    return json.dumps(line).encode() + b"\n"


def decode(raw: bytes) -> Line:
    """A line that has arrived.

    Raises:
        ConnectionError: it was cut off, or is not a JSON object.
    """
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise ConnectionError("the other side did not send a whole line") from error
    if not isinstance(line, dict):
        raise ConnectionError("the other side did not send an object")
    return line
