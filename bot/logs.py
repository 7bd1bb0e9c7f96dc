"""Log lines and terminal lines that the text in them can neither forge nor steer.

File names, documents, answers and the messages of servers are written by others. What they could
do on the way to a person, they do by control characters: begin a line of their own, move the
cursor, change a colour, turn the direction of reading.
"""

from __future__ import annotations

import logging


def printable(text: str) -> str:
    """The text without control, format and text-direction characters; lines and tabs stay."""
    return "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())


def one_line(text: str) -> str:
    """The text as it can stand in a line of a list or a log."""
    return printable(" ".join(text.split()))


def escaped_json(written: str) -> str:
    """A JSON document that means the same, and has no such character in it."""
    return "".join(
        sign if sign == "\n" or sign.isprintable() else _escape(sign) for sign in written
    )


def log_on_one_line(layout: str) -> None:
    """Write what is logged from warnings on to standard error, one line a message.

    Args:
        layout: as `logging.Formatter` takes it.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(layout))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class OneLine(logging.Formatter):
    """One line a message; a traceback keeps its lines, each further in than a message begins."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        lines = printable(super().formatException(ei)).split("\n")  # type: ignore[arg-type]
        return "\n".join(f"  {line}" for line in lines)


def _escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
