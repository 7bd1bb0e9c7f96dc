"""Named sets of examples: what is learnt from, and what a file or the sample adds."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine

from bot.records.examples import NewRow, Source, add_rows, example_rows
from bot.tuning.examples import Example


def approved_examples(engine: Engine, set_id: str) -> list[Example]:
    """What a set teaches: its approved rows in their order, numbered from 1. Drafts are never
    among them.

    Raises:
        RecordsError: the records cannot be read.
    """
    rows = example_rows(engine, set_id, "approved")
    return [Example(row.messages, number, row.document) for number, row in enumerate(rows, 1)]


def add_examples(
    engine: Engine, set_id: str, examples: Iterable[Example], source: Source
) -> list[str]:
    """Add examples to a set as approved rows; their ids.

    Raises:
        RecordsError: there is no such set, or nothing was written.
    """
    rows = (NewRow(one.messages, source, document=one.document) for one in examples)
    return add_rows(engine, set_id, rows)
