"""Keyword search: BM25 over two plain SQL tables, so that it works in any database."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Engine, Float, case, cast, delete, func, insert, select
from sqlalchemy.orm import Session

from bot.records.postings import LengthRecord, PostingRecord

K1 = 0.9
B = 0.4

# Changes whenever the same text would give other terms, so that passages are indexed anew.
ANALYSIS = "1"

_IDS_PER_STATEMENT = 500
_WORD = re.compile(r"[^\W_]+(?:[-_./'’][^\W_]+)*")
_JOINTS = re.compile(r"[-_./'’]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_STOP_WORDS = frozenset(
    (
        *("a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can"),
        *("could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "his"),
        *("how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or", "our"),
        *("please", "shall", "she", "should", "so", "tell", "than", "that", "the", "their"),
        *("them", "then", "there", "these", "they", "this", "those", "to", "us", "was", "we"),
        *("were", "what", "when", "where", "which", "who", "whom", "whose", "why", "will"),
        *("with", "would", "you", "your", "s", "t", "am", "not", "no"),
    )
)


class KeywordIndex:
    """The keyword index of a library, kept beside its records.

    Args:
        engine: the records.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, texts: Mapping[str, str]) -> None:
        """Index texts by passage id, replacing those already there."""
        postings: list[dict[str, Any]] = []
        lengths: list[dict[str, Any]] = []
        for passage_id, text in texts.items():
            counts = Counter(terms(text))
            lengths.append({"passage_id": passage_id, "length": counts.total()})
            postings += [
                {"term": term, "passage_id": passage_id, "count": count}
                for term, count in counts.items()
            ]
        with Session(self._engine) as session, session.begin():
            _delete(session, list(texts))
            if lengths:
                session.execute(insert(LengthRecord), lengths)
            if postings:
                session.execute(insert(PostingRecord), postings)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove passages by id; unknown ids are passed over."""
        with Session(self._engine) as session, session.begin():
            _delete(session, ids)

    def clear(self) -> None:
        """Remove every passage."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(PostingRecord))
            session.execute(delete(LengthRecord))

    def present(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are indexed."""
        found: set[str] = set()
        with Session(self._engine) as session:
            for some in _batches(ids):
                statement = select(LengthRecord.passage_id).where(LengthRecord.passage_id.in_(some))
                found |= set(session.scalars(statement))
        return found

    def search(self, query: str, top: int) -> list[tuple[str, float]]:
        """The passages with the highest BM25 score, best first, as (passage id, score)."""
        return self._scored(query, top=top, ids=None)

    def scores(self, query: str, ids: Sequence[str]) -> dict[str, float]:
        """The BM25 score of each of these passages; 0 where no word of the query stands."""
        found = dict.fromkeys(ids, 0.0)
        for some in _batches(ids):
            found |= dict(self._scored(query, top=len(some), ids=some))
        return found

    def weight(self, query: str) -> float:
        """What the words of a query weigh together: about the score of a passage with them all."""
        wanted = sorted(set(terms(query)))
        with Session(self._engine) as session:
            passages = session.scalar(select(func.count()).select_from(LengthRecord)) or 0
            rarity = _rarities(session, wanted, passages)
        return sum(rarity.get(term, _rarity(passages, 0)) for term in wanted)

    def _scored(
        self, query: str, *, top: int, ids: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        wanted = sorted(set(terms(query)))
        with Session(self._engine) as session:
            passages, average_length = session.execute(
                select(func.count(), func.avg(LengthRecord.length)).select_from(LengthRecord)
            ).one()
            if not wanted or not average_length:
                return []
            rarity = _rarities(session, wanted, passages)
            if not rarity:
                return []
            score = func.sum(_bm25(rarity, float(average_length))).label("score")
            statement = (
                select(PostingRecord.passage_id, score)
                .join(LengthRecord, LengthRecord.passage_id == PostingRecord.passage_id)
                .where(PostingRecord.term.in_(rarity))
                .group_by(PostingRecord.passage_id)
                .order_by(score.desc(), PostingRecord.passage_id)
                .limit(top)
            )
            if ids is not None:
                statement = statement.where(PostingRecord.passage_id.in_(ids))
            return [(passage_id, float(value)) for passage_id, value in session.execute(statement)]


def terms(text: str) -> list[str]:
    """The index terms of a text: stemmed words, and identifiers both whole and in parts.

    "Heron-5X" and "Heron 5X" both give "heron-5x", "heron" and "5x"; stop words give nothing.
    """
    found: list[str] = []
    word_before = ""
    for match in _WORD.finditer(_THOUSANDS.sub("", text.lower())):
        whole = match.group()
        parts = [part for part in _JOINTS.split(whole) if part not in _STOP_WORDS]
        if len(parts) > 1 and not _is_number(whole):
            found.append(_JOINTS.sub("-", whole))
            found += map(_stem, parts)
        elif _is_number(whole):
            found.append(whole)
        else:
            found += map(_stem, parts)
        if word_before and whole[0].isdigit() and len(whole) <= 4:
            found.append(f"{word_before}-{whole}")
        word_before = whole if whole.isalpha() and whole not in _STOP_WORDS else ""
    return found


def _is_number(word: str) -> bool:
    return all(letter.isdigit() or letter in ".,-/" for letter in word)


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    import snowballstemmer

    # A stemmer carries state and must not be shared by threads.
    stemmed: str = snowballstemmer.stemmer("english").stemWord(word) if word.isalpha() else word
    return stemmed


def _rarities(session: Session, wanted: Sequence[str], passages: int) -> dict[str, float]:
    """The weight of those terms that are in the index at all."""
    frequencies = session.execute(
        select(PostingRecord.term, func.count())
        .where(PostingRecord.term.in_(wanted))
        .group_by(PostingRecord.term)
    )
    return {term: _rarity(passages, number) for term, number in frequencies}


def _rarity(passages: int, containing: int) -> float:
    """BM25's weight of a term that this many of the passages contain."""
    return math.log(1 + (passages - containing + 0.5) / (containing + 0.5))


def _bm25(rarity: Mapping[str, float], average_length: float) -> ColumnElement[Any]:
    """The contribution of one posting to the score of its passage."""
    weight = case(rarity, value=PostingRecord.term, else_=0.0)
    count = cast(PostingRecord.count, Float)
    norm = K1 * (1 - B + B * cast(LengthRecord.length, Float) / average_length)
    return weight * count * (K1 + 1) / (count + norm)


def _delete(session: Session, ids: Sequence[str]) -> None:
    for some in _batches(ids):
        session.execute(delete(PostingRecord).where(PostingRecord.passage_id.in_(some)))
        session.execute(delete(LengthRecord).where(LengthRecord.passage_id.in_(some)))


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        yield ids[start : start + _IDS_PER_STATEMENT]
