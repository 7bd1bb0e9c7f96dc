"""A question → scored passages and quoted evidence.

Passages are found by meaning (vectors) and by words (BM25); both scores are spread to 0…1 over
what was found and averaged. A question is off topic when neither its meaning nor its words come
close to anything in the library.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from bot.errors import VectorStoreError
from bot.library.ingest import as_passage
from bot.library.keywords import Ranking
from bot.library.library import Library
from bot.library.sentences import sentences
from bot.library.split import Passage
from bot.records.documents import searchable_passages

DENSE_WEIGHT = 0.5
WORDS_WEIGHT = 0.3
ON_TOPIC_CLOSENESS = 0.58
EVIDENCE_PASSAGES = 3
LIKELY_SENTENCES = (4, 3, 2)
"""How many sentences are embedded of the best passage, of the second, and of each after it."""

LIKELY_SHARE = 0.5
_SMALLEST_POOL = 20


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A passage that was found.

    Args:
        passage: what was found.
        score: 0…1, the average of both scores after each was spread over what was found.
        dense_score: cosine of question and passage.
        keyword_score: BM25.
        quote: the sentences of the passage closest to the question, verbatim.
    """

    passage: Passage
    score: float
    dense_score: float
    keyword_score: float
    quote: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sentences of a document that speak to the question, verbatim. `score` is 0…1."""

    passage_id: str
    document: str
    title: str
    heading: str
    page: int | None
    quote: str
    score: float


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What was found for a question.

    Args:
        passages: for the prompt, best first; none when off topic.
        evidence: quotes from up to three passages, best first; none when off topic.
        off_topic: whether nothing in the library is close to the question.
        seconds: how long it took.
    """

    passages: tuple[Passage, ...]
    evidence: tuple[Evidence, ...]
    off_topic: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class _Found:
    passage: Passage
    score: float
    dense_score: float
    keyword_score: float


def search(library: Library, query: str, *, top: int = 5) -> list[ScoredPassage]:
    """The best passages with all their scores, best first, on topic or not.

    Raises:
        EmbedderError: the embedding model is missing or failed.
        VectorStoreError: Chroma cannot be reached, or the index is another embedder's.
    """
    vector, words, found = _ranked(library, query)
    found = found[:top]
    quotes, _ = _quotes(library, words, vector, [f.passage for f in found])
    return [
        ScoredPassage(f.passage, f.score, f.dense_score, f.keyword_score, quote)
        for f, quote in zip(found, quotes, strict=True)
    ]


def retrieve(library: Library, question: str, *, passages: int) -> Retrieval:
    """Passages for a prompt and evidence for the reader, or the word that it is off topic.

    Args:
        library: where to look.
        question: what was asked.
        passages: how many go into the prompt; evidence may come from up to three all the same.

    Raises:
        EmbedderError: the embedding model is missing or failed.
        VectorStoreError: Chroma cannot be reached, or the index is another embedder's.
    """
    started = time.perf_counter()
    vector, words, found = _ranked(library, question)
    quoted = found[:EVIDENCE_PASSAGES]
    quotes, cosines = _quotes(library, words, vector, [f.passage for f in quoted])
    if _closeness(words, found, cosines) < ON_TOPIC_CLOSENESS:
        return Retrieval((), (), off_topic=True, seconds=time.perf_counter() - started)
    return Retrieval(
        passages=tuple(f.passage for f in found[:passages]),
        evidence=tuple(_evidence(f, quote) for f, quote in zip(quoted, quotes, strict=True)),
        off_topic=False,
        seconds=time.perf_counter() - started,
    )


def _ranked(library: Library, query: str) -> tuple[NDArray[np.float32], Ranking, list[_Found]]:
    """The query's vector and words, and what either finds with both scores for each, best first.

    Words are looked up while the query is embedded: neither needs the other.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="triptych-words") as beside:
        looking_up = beside.submit(_by_words, library, query)
        vector = library.embedder.embed([query])[0]
        dense = dict(
            library.vectors.query(vector, top=_SMALLEST_POOL, embedder=library.embedder.identity)
        )
        words, keyword, vectors = looking_up.result()
    stored = searchable_passages(library.engine, list({**dense, **keyword}))
    ids = list(stored)
    dense |= {id_: float(vectors[id_] @ vector) for id_ in vectors if id_ not in dense}
    keyword |= words.scores([id_ for id_ in ids if id_ not in keyword])
    if lost := [id_ for id_ in ids if id_ not in dense]:
        raise VectorStoreError(
            f"The search index has lost {len(lost)} passages of {stored[lost[0]].document}.",
            cure="It is made again from the records; ask again.",
        )
    if not ids:
        return vector, words, []
    fused = DENSE_WEIGHT * _spread([dense[id_] for id_ in ids]) + (1 - DENSE_WEIGHT) * _spread(
        [keyword[id_] for id_ in ids]
    )
    found = [
        _Found(as_passage(stored[id_]), float(score), dense[id_], keyword[id_])
        for id_, score in zip(ids, fused, strict=True)
    ]
    return vector, words, sorted(found, key=lambda f: (-f.score, f.passage.id))


def _by_words(
    library: Library, query: str
) -> tuple[Ranking, dict[str, float], dict[str, NDArray[np.float32]]]:
    """What the words of a query find: BM25 of each passage, and its vector."""
    words = library.keywords.rank(query)
    keyword = dict(words.best(_SMALLEST_POOL))
    return words, keyword, library.vectors.vectors(list(keyword))


def _spread(scores: Sequence[float]) -> NDArray[np.float64]:
    """Scores moved and stretched to reach from 0 to 1; all 0 when they are equal."""
    values = np.asarray(scores, dtype=np.float64)
    width = values.max() - values.min()
    return (values - values.min()) / width if width > 0 else np.zeros_like(values)


def _quotes(
    library: Library, words: Ranking, vector: NDArray[np.float32], passages: Sequence[Passage]
) -> tuple[list[str], list[float]]:
    """For each passage, its sentence closest to the question with the ones before and after, and
    the cosine of that sentence."""
    split_up = [sentences(passage.text) for passage in passages]
    most = (*LIKELY_SENTENCES, *repeat(LIKELY_SENTENCES[-1], len(passages)))
    likely = [_likely(words, some, limit) for some, limit in zip(split_up, most, strict=False)]
    texts = [some[n] for some, numbers in zip(split_up, likely, strict=True) for n in numbers]
    cosines = library.embedder.embed_again(texts) @ vector
    quotes = []
    best_cosines = []
    start = 0
    for some, numbers in zip(split_up, likely, strict=True):
        best = int(np.argmax(cosines[start : start + len(numbers)]))
        quotes.append(_around(some, numbers[best]))
        best_cosines.append(float(cosines[start + best]))
        start += len(numbers)
    return quotes, best_cosines


def _likely(words: Ranking, some: Sequence[str], limit: int) -> list[int]:
    """Which sentences are worth embedding, as most of the time of a search goes into this: those
    with the weightiest words of the query, unless another has more than twice their weight."""
    weights = [words.weight_in(sentence) for sentence in some]
    order = sorted(range(len(some)), key=lambda n: -weights[n])[:limit]
    return sorted(n for n in order if weights[n] >= LIKELY_SHARE * weights[order[0]])


def _closeness(words: Ranking, found: Sequence[_Found], sentence_cosines: Sequence[float]) -> float:
    """How near the library comes to a question: the best cosine of a passage or sentence, plus a
    part of the share of the question's words that one passage holds; at most 1.3."""
    if not found:
        return -1.0
    share = max(f.keyword_score for f in found) / words.weight if words.weight else 0.0
    cosine = max(*(f.dense_score for f in found), *sentence_cosines)
    return cosine + WORDS_WEIGHT * min(1.0, share)


def _around(found: Sequence[str], best: int) -> str:
    return " ".join(found[max(0, best - 1) : best + 2])


def _evidence(found: _Found, quote: str) -> Evidence:
    passage = found.passage
    return Evidence(
        passage_id=passage.id,
        document=passage.document,
        title=passage.title,
        heading=passage.heading,
        page=passage.page,
        quote=quote,
        score=found.score,
    )
