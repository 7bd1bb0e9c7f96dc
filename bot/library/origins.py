"""Which document a statement comes from, told by its words alone."""

from __future__ import annotations

from bot.library.library import Library
from bot.records.documents import searchable_passages

LEAST_SHARE = 0.5
"""So much of what a statement's words weigh must stand in one passage. On the sample's examples
nothing is then taken for another document's (docs/log.md)."""


def origin_of(library: Library, statement: str) -> str:
    """The document with the passage that holds most of a statement's words; empty when none
    holds enough of them.

    Raises:
        RecordsError: the records cannot be read.
    """
    ranking = library.keywords.rank(statement)
    best = ranking.best(1)
    if not best:
        return ""
    passage = searchable_passages(library.engine, [best[0][0]]).get(best[0][0])
    if passage is None:
        return ""
    held = ranking.weight_in(f"{passage.title}\n{passage.heading}\n{passage.text}")
    return passage.document if held >= LEAST_SHARE * ranking.weight else ""
