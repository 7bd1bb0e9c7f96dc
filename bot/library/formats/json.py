"""JSON and JSON Lines → outline: every element of a list is one line that can be read alone."""

from __future__ import annotations

import json
import re
from typing import Any

from bot.library.formats.outline import Outline, one_line

_TITLE_KEYS = ("title", "name")


def read_json(text: str) -> tuple[str, Outline]:
    """The title that an object gives itself ("" without one) and its outline.

    Raises:
        ValueError: the text is neither JSON nor JSON Lines; the message says where.
    """
    value = _parse(text)
    outline = Outline()
    title = ""
    if isinstance(value, dict):
        title = next((one_line(v) for k in _TITLE_KEYS if isinstance(v := value.get(k), str)), "")
        _object(value, outline, level=1)
    elif isinstance(value, list):
        outline.rows("\n".join(filter(None, map(_line, value))))
    else:
        outline.text(_line(value))
    return title, outline


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            pass
        raise


def _object(value: dict[str, Any], outline: Outline, *, level: int) -> None:
    """Plain values first, then a section for each nested object or list."""
    plain = {k: v for k, v in value.items() if not _is_nested(v)}
    outline.text("\n".join(filter(None, (_pair(k, v) for k, v in plain.items()))))
    for key, nested in value.items():
        if key in plain:
            continue
        # One below the outermost, so that the first key is not taken for the title.
        outline.heading(level + 1, words(key))
        if isinstance(nested, dict):
            _object(nested, outline, level=level + 1)
        else:
            outline.rows("\n".join(filter(None, map(_line, nested))))


def _is_nested(value: Any) -> bool:
    """Whether a value deserves a section: an object, or a list that holds objects or lists."""
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def _line(value: Any) -> str:
    """Any value on one line."""
    if isinstance(value, dict):
        return "; ".join(filter(None, (_pair(key, nested) for key, nested in value.items())))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_line, value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else one_line(str(value))


def _pair(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(filter(None, (_pair(f"{key} {k}", v) for k, v in value.items())))
    text = _line(value)
    return f"{words(key)}: {text}" if text else ""


def words(key: str) -> str:
    """A key as words: "firing_hours" and "firingHours" become "firing hours"."""
    spaced = re.sub(r"(?<=[a-z0-9])[A-Z](?=[a-z])", lambda m: f" {m[0].lower()}", key)
    return one_line(spaced.replace("_", " "))
