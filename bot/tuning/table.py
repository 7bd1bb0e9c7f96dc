"""Tables of questions and answers, as spreadsheets save them: CSV → rows, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot import formulas
from bot.errors import ExamplesError

DELIMITERS = ",;\t|"
COLUMNS = ("question", "answer", "document")

_SYNONYMS = {"prompt": "question", "completion": "answer"}
_MOST_CELL_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row, counted as a spreadsheet does: the heading is row 1.

    Args:
        problem: why it cannot be told what stands where; empty when it can.
        cure: what to do about that.
    """

    number: int
    question: str = ""
    answer: str = ""
    document: str = ""
    problem: str = ""
    cure: str = ""


def read(text: str) -> Iterator[TableRow]:
    """The rows below the heading, whichever delimiter separates the columns; blank rows are
    skipped.

    Raises:
        ExamplesError: there is no heading with the columns question and answer.
    """
    text, skipped = _without_preface(text.replace("\r\n", "\n").replace("\r", "\n"))
    delimiter = _delimiter(text)
    csv.field_size_limit(_MOST_CELL_CHARACTERS)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    heading = next(rows)
    number = 1 + skipped
    while True:
        number += 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield TableRow(number, problem=_reason(error), cure=_CURE_OF_QUOTES)
            continue
        if any(cell.strip() for cell in cells):
            yield _row(number, heading, cells, delimiter)


def write(rows: Iterable[Sequence[str]]) -> str:
    """Rows of question, answer and document as CSV that any spreadsheet opens: it begins with the
    byte order mark by which they know UTF-8, and no cell is a formula."""
    output = io.StringIO(newline="")
    writer = csv.writer(output, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([formulas.quoted(cell.replace("\r", "")) for cell in row] for row in rows)
    return f"\ufeff{output.getvalue()}"


_CURE_OF_QUOTES = (
    'Put the text between two quotation marks, and write one inside of it twice: "a ""b"" c".'
)


def _without_preface(text: str) -> tuple[str, int]:
    """The text from its heading on, and how many rows stand before: blank ones, and the line
    `sep=;` of some spreadsheets."""
    skipped = 0
    while text:
        first, _, rest = text.partition("\n")
        if first.strip() and not first.strip(' "').lower().startswith("sep="):
            break
        text, skipped = rest, skipped + 1
    return text, skipped


def _delimiter(text: str) -> str:
    """The delimiter by which the heading has the columns that are needed.

    Raises:
        ExamplesError: there is none.
    """
    for delimiter in DELIMITERS:
        try:
            heading = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except (StopIteration, csv.Error):
            continue
        if {"question", "answer"} <= _places(heading).keys():
            return delimiter
    first = text.strip().partition("\n")[0][:80].strip()
    raise ExamplesError(
        f"The first row is “{first}”: it does not name the columns question and answer."
        if first
        else "The table is empty.",
        cure='Write "question,answer" into the first row; a column "document" may follow.',
    )


def _places(heading: Sequence[str]) -> Mapping[str, int]:
    """Where each known column stands; the first one of a name counts."""
    found: dict[str, int] = {}
    for place, cell in enumerate(heading):
        name = cell.strip().lower()
        found.setdefault(_SYNONYMS.get(name, name), place)
    return {name: found[name] for name in COLUMNS if name in found}


def _row(number: int, heading: Sequence[str], cells: Sequence[str], delimiter: str) -> TableRow:
    width, places = len(heading), _places(heading)
    spilled = any(cell.strip() for cell in cells[width:])
    if spilled:  # most often it was a delimiter in the last text
        cells = [*cells[: width - 1], delimiter.join(cells[width - 1 :])]
    values = {
        name: formulas.unquoted(cells[place]).strip() if place < len(cells) else ""
        for name, place in places.items()
    }
    if not spilled:
        return TableRow(number, **values)
    return TableRow(
        number,
        **values,
        problem=f"it has more cells than the {width} that the heading names.",
        cure=f"Put a text that holds “{delimiter}” between quotation marks.",
    )


def _reason(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end" in said:
        return "a quotation mark is opened here and never closed."
    if "field larger" in said:
        return f"a cell has more than {_MOST_CELL_CHARACTERS:,} characters."
    return f"its quotation marks do not match ({said})."
