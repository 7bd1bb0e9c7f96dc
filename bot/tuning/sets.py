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
    """Add examples to a set as approved rows; their ids. Those with passages before the question
    are made anew for every training, and left out.

    Raises:
        RecordsError: there is no such set, or nothing was written.
    """
    plain = (one for one in examples if not one.grounded)
    rows = (NewRow(one.messages, source, document=one.document) for one in plain)
    return add_rows(engine, set_id, rows)
