"""Text that a spreadsheet would take for a formula: made harmless for a table, and back."""

from __future__ import annotations

import re

# What starts a formula, in every width, behind anything that a spreadsheet might pass over: at
# the start of a line, and behind a semicolon, where some spreadsheets begin a cell of their own.
_BEGINNING = (
    r"(?=[\s'\"`\u00ad\u200b-\u200f\u2060-\u206f\ufeff]*"
    r"[=+\-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−])"
)
_FORMULA = re.compile(rf"(^|[;\t]){_BEGINNING}", re.MULTILINE)
_QUOTED_FORMULA = re.compile(rf"(^|[;\t])'{_BEGINNING}", re.MULTILINE)


def quoted(text: str) -> str:
    """The text with an apostrophe before whatever could begin a formula.

    Examples:
        >>> quoted("=1+1")
        "'=1+1"
    """
    return _FORMULA.sub(r"\1'", text)


def unquoted(text: str) -> str:
    """What `quoted` was given.

    Examples:
        >>> unquoted("'=1+1")
        '=1+1'
    """
    return _QUOTED_FORMULA.sub(r"\1", text)
