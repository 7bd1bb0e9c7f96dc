"""Keyword search: BM25 over inverted lists in plain SQL tables, so that it works in any database.

Passages are counted off into blocks. For each block and each term in it, one row says which
passages hold the term, how often, and how long they are. So a passage costs few rows, a question
reads a few hundred short lists however large the library, and the sums are numpy's work.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.orm import Session

from bot.records.postings import BlockRecord, MemberRecord, TermRecord
from bot.records.transaction import transaction

K1 = 0.9
B = 0.4

# Changes whenever the same text would give other terms, so that passages are indexed anew.
ANALYSIS = "1"

BLOCK_PASSAGES = 1024

# One passage of a list: its place in the block, how often the term stands in it, its terms.
_POSTING = np.dtype([("place", "<u2"), ("count", "<u2"), ("length", "<u2")])
_PACKED = Struct("<3H")
_MOST = 65_535
_PER_STATEMENT = 500
_Value = TypeVar("_Value")
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


@dataclass(frozen=True, slots=True)
class Ranking:
    """What the keyword index says about one query.

    Args:
        rarities: the terms of the query, each with what it weighs.
    """

    rarities: Mapping[str, float]
    _engine: Engine
    _blocks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def weight(self) -> float:
        """What the terms weigh together: about the score of a passage with them all."""
        return sum(self.rarities.values())

    def weight_in(self, text: str) -> float:
        """What those of the terms weigh together that stand in a text."""
        return sum(self.rarities.get(term, 0.0) for term in set(terms(text)))

    def best(self, top: int) -> list[tuple[str, float]]:
        """The passages with the highest BM25 score, best first, as (passage id, score)."""
        matching = np.flatnonzero(self._scores)
        if len(matching) > top:
            least = np.partition(self._scores[matching], -top)[-top]
            above = matching[self._scores[matching] > least]
            equal = matching[self._scores[matching] == least]
            matching = np.concatenate([above, equal[: _PER_STATEMENT - len(above)]])
        numbers = self._blocks[matching // BLOCK_PASSAGES] * BLOCK_PASSAGES
        numbers += matching % BLOCK_PASSAGES
        score_of = dict(zip(numbers.tolist(), self._scores[matching].tolist(), strict=True))
        found: list[tuple[str, float]] = []
        with transaction(self._engine) as session:
            for some in _batches(list(score_of)):
                statement = select(MemberRecord.passage_id, MemberRecord.number)
                rows = session.execute(statement.where(MemberRecord.number.in_(some)))
                found += [(id_, score_of[number]) for id_, number in rows]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top]

    def scores(self, ids: Sequence[str]) -> dict[str, float]:
        """The BM25 score of each of these passages; 0 where no word of the query stands."""
        found = dict.fromkeys(ids, 0.0)
        with transaction(self._engine) as session:
            for id_, number in _members(session, ids):
                block, place = divmod(number, BLOCK_PASSAGES)
                row = int(np.searchsorted(self._blocks, block))
                if row < len(self._blocks) and self._blocks[row] == block:
                    found[id_] = float(self._scores[row * BLOCK_PASSAGES + place])
        return found


class KeywordIndex:
    """The keyword index of a library, kept beside its records.

    Changes must not be made at the same time; the library's lock sees to that. Every method
    raises `RecordsError` when the records cannot be read or written.

    Args:
        engine: the records.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, texts: Mapping[str, str]) -> None:
        """Index texts by passage id, replacing those already there."""
        with transaction(self._engine) as session:
            _delete(session, list(texts))
            last = session.scalar(select(func.max(MemberRecord.number)))
            counted = enumerate(texts.items(), start=0 if last is None else last + 1)
            blocks: dict[int, dict[int, tuple[str, Counter[str]]]] = defaultdict(dict)
            for number, (passage_id, text) in counted:
                block, place = divmod(number, BLOCK_PASSAGES)
                blocks[block][place] = (passage_id, Counter(terms(text)))
            for block, members in blocks.items():
                _add(session, block, members)

    def delete(self, ids: Sequence[str]) -> None:
        """Remove passages by id; unknown ids are passed over."""
        with transaction(self._engine) as session:
            _delete(session, ids)

    def clear(self) -> None:
        """Remove every passage."""
        with transaction(self._engine) as session:
            for table in (TermRecord, MemberRecord, BlockRecord):
                session.execute(delete(table))

    def present(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are indexed."""
        with transaction(self._engine) as session:
            return {passage_id for passage_id, _ in _members(session, ids)}

    def rank(self, query: str) -> Ranking:
        """How well every passage matches a query."""
        wanted = sorted(set(terms(query)))
        with transaction(self._engine) as session:
            blocks = session.execute(
                select(BlockRecord.number, BlockRecord.passages, BlockRecord.terms).order_by(
                    BlockRecord.number
                )
            ).all()
            lists = _lists(session, wanted, [block.number for block in blocks])
        passages = sum(block.passages for block in blocks)
        if not passages:
            return Ranking({}, self._engine)
        numbers = np.array([block.number for block in blocks], dtype=np.int64)
        row_of = {block.number: row for row, block in enumerate(blocks)}
        average_length = sum(block.terms for block in blocks) / passages
        scores = np.zeros(len(blocks) * BLOCK_PASSAGES)
        rarities: dict[str, float] = {}
        for term in wanted:
            held = [(row_of[block], p) for block, p in lists.get(term, [])]
            postings = np.frombuffer(b"".join(list_ for _, list_ in held), dtype=_POSTING)
            rarities[term] = rarity = _rarity(passages, len(postings))
            sizes = [len(list_) // _POSTING.itemsize for _, list_ in held]
            rows = np.repeat(np.array([row for row, _ in held], dtype=np.int64), sizes)
            places = rows * BLOCK_PASSAGES + postings["place"]
            scores[places] += rarity * _bm25(postings, average_length)
        return Ranking(rarities, self._engine, numbers, scores)

    def search(self, query: str, top: int) -> list[tuple[str, float]]:
        """The passages with the highest BM25 score, best first, as (passage id, score)."""
        return self.rank(query).best(top)


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


def _rarity(passages: int, containing: int) -> float:
    """BM25's weight of a term that this many of the passages contain."""
    return math.log(1 + (passages - containing + 0.5) / (containing + 0.5))


def _bm25(postings: NDArray[np.void], average_length: float) -> NDArray[np.float64]:
    """What a term adds to the score of each passage of its list, before its rarity."""
    count = postings["count"].astype(np.float64)
    norm = K1 * (1 - B + B * postings["length"] / average_length)
    found: NDArray[np.float64] = count * (K1 + 1) / (count + norm)
    return found


def _lists(
    session: Session, wanted: Sequence[str], blocks: Sequence[int]
) -> dict[str, list[tuple[int, bytes]]]:
    """The lists of some terms in some blocks, as (block, postings) by term."""
    found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    statement = select(TermRecord.block, TermRecord.term, TermRecord.postings)
    # Both parts of the key are given: joined with its blocks, SQLite reads the whole table.
    for numbers in _batches(blocks):
        within = statement.where(TermRecord.block.in_(numbers))
        for some in _batches(wanted):
            for block, term, postings in session.execute(within.where(TermRecord.term.in_(some))):
                found[term].append((block, postings))
    return found


def _members(session: Session, ids: Sequence[str]) -> list[tuple[str, int]]:
    """Those of the ids that are indexed, with their numbers."""
    found: list[tuple[str, int]] = []
    for some in _batches(ids):
        statement = select(MemberRecord.passage_id, MemberRecord.number)
        rows = session.execute(statement.where(MemberRecord.passage_id.in_(some)))
        found += [(passage_id, number) for passage_id, number in rows]
    return found


def _add(session: Session, block: int, members: Mapping[int, tuple[str, Counter[str]]]) -> None:
    """Put passages into one block, by their place in it."""
    lists: dict[str, bytearray] = defaultdict(bytearray)
    lengths = {place: counts.total() for place, (_, counts) in members.items()}
    for place, (_, counts) in members.items():
        for term, count in counts.items():
            lists[term] += _PACKED.pack(place, min(count, _MOST), min(lengths[place], _MOST))
    _write(session, block, lists, _lists_of(session, block))
    session.execute(
        insert(MemberRecord),
        [
            {
                "number": block * BLOCK_PASSAGES + place,
                "passage_id": passage_id,
                "length": lengths[place],
            }
            for place, (passage_id, _) in members.items()
        ],
    )
    _count(session, [block])


def _write(
    session: Session, block: int, new: Mapping[str, bytearray], there: Mapping[str, bytes]
) -> None:
    """Write the lists of a block, behind those that are there."""
    rows = [
        {"block": block, "term": term, "postings": there.get(term, b"") + bytes(new[term])}
        for term in new
    ]
    if longer := [row for row in rows if row["term"] in there]:
        session.execute(update(TermRecord), longer)
    if first := [row for row in rows if row["term"] not in there]:
        session.execute(insert(TermRecord), first)


def _lists_of(session: Session, block: int) -> dict[str, bytes]:
    """Every list of a block, by term."""
    statement = select(TermRecord.term, TermRecord.postings).where(TermRecord.block == block)
    return {row.term: row.postings for row in session.execute(statement)}


def _delete(session: Session, ids: Sequence[str]) -> None:
    gone: dict[int, list[int]] = defaultdict(list)
    for _, number in _members(session, ids):
        block, place = divmod(number, BLOCK_PASSAGES)
        gone[block].append(place)
    for block, places in gone.items():
        _delete_places(session, block, places)
        for some in _batches([block * BLOCK_PASSAGES + place for place in places]):
            session.execute(delete(MemberRecord).where(MemberRecord.number.in_(some)))
    _count(session, gone)


def _delete_places(session: Session, block: int, places: Sequence[int]) -> None:
    """Take passages out of every list of their block."""
    lists = _lists_of(session, block)
    every = np.frombuffer(b"".join(lists.values()), dtype=_POSTING)
    kept = ~np.isin(every["place"], places)
    if not kept.any():
        session.execute(delete(TermRecord).where(TermRecord.block == block))
        return
    ends = np.cumsum([len(postings) // _POSTING.itemsize for postings in lists.values()])
    changed = []
    emptied = []
    for term, end, size in zip(lists, ends, np.diff(ends, prepend=0), strict=True):
        stays = kept[end - size : end]
        if not stays.any():
            emptied.append(term)
        elif not stays.all():
            postings = every[end - size : end][stays].tobytes()
            changed.append({"block": block, "term": term, "postings": postings})
    if changed:
        session.execute(update(TermRecord), changed)
    for some in _batches(emptied):
        session.execute(
            delete(TermRecord).where(TermRecord.block == block, TermRecord.term.in_(some))
        )


def _count(session: Session, blocks: Iterable[int]) -> None:
    """Write down how many passages and terms blocks have now."""
    for block in blocks:
        first = block * BLOCK_PASSAGES
        within = MemberRecord.number.between(first, first + BLOCK_PASSAGES - 1)
        counted = select(func.count(), func.coalesce(func.sum(MemberRecord.length), 0))
        passages, total = session.execute(counted.where(within)).one()
        session.execute(delete(BlockRecord).where(BlockRecord.number == block))
        if passages:
            row = {"number": block, "passages": passages, "terms": total}
            session.execute(insert(BlockRecord), [row])


def _batches(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    for start in range(0, len(values), _PER_STATEMENT):
        yield values[start : start + _PER_STATEMENT]
