"""The oracle: everything that was acknowledged, and whether it can be recalled."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from bench.faults.home import HereReader
from bot.errors import AdapterError
from bot.library.ingest import documents, passages
from bot.records.conversations import UNFINISHED
from bot.records.documents import stored_documents
from bot.services import Services
from bot.tuning import adapters as shelf

Key = tuple[str, ...]
RECALLED_A_DOCUMENT = 12
"""Passages of a document that the oracle searches for; half of an index is missed by none."""


@dataclass
class Ledger:
    """What was acknowledged, by key, and what was being tried; None stands for deleted.

    Keys are ("document", name), ("adapter", name), ("title", conversation),
    ("turn", conversation, turn), ("answer", conversation, answer) and
    ("vote", conversation, answer).
    """

    kept: dict[Key, Any] = field(default_factory=dict)
    tried: dict[Key, Any] = field(default_factory=dict)

    def take(self, message: tuple[str, Key, Any]) -> None:
        """Note what a worker says: that it tries something, or that it was acknowledged."""
        kind, key, value = message
        if kind == "try":
            self.tried[key] = value
            return
        self.tried.pop(key, None)
        self._keep(key, value)

    def _keep(self, key: Key, value: Any) -> None:
        self.kept[key] = value
        if value is None:
            self.kept.pop(key)
            if key[0] == "title":  # a conversation goes with all that is in it
                for other in [one for one in self.kept if one[1] == key[1]]:
                    self.kept.pop(other)

    def lost(self, found: dict[Key, Any], excused: frozenset[str] = frozenset()) -> list[str]:
        """What was acknowledged and is not found as it was; then go on from what is found.

        Args:
            found: what `recall` found.
            excused: kinds of which a part may be gone, because the person was told so.
        """
        for key, value in list(self.tried.items()):
            if found.get(key) == value:
                self._keep(key, value)
        self.tried.clear()
        lost = [
            f"{' '.join(key)}: {value!r} was acknowledged, found is {found.get(key)!r}"
            for key, value in self.kept.items()
            if found.get(key) != value and key[0] not in excused
        ]
        self.kept = {key: value for key, value in self.kept.items() if key in found}
        self.kept.update({key: found[key] for key in self.kept})
        return lost


def recall(services: Services) -> tuple[dict[Key, Any], list[str]]:
    """Everything that can be recalled, and what pretends to be there and cannot.

    A document counts as recalled when a search by its own words comes back with its passages by
    their ids; neither the list of the ids nor their number is trusted.
    """
    found: dict[Key, Any] = {}
    problems = _recall_documents(services, found)
    chat = services.chat
    for row in chat.conversations():
        found["title", row.id] = row.title
        for turn in chat.turns(row.id):
            found["turn", row.id, turn.id] = turn.question
            for answer in turn.answers.values():
                if answer.status in UNFINISHED:
                    problems.append(f"the answer {answer.id} is {answer.status} for ever")
                found["answer", row.id, answer.id] = (answer.status, answer.text)
                found["vote", row.id, answer.id] = answer.vote
    for adapter in shelf.adapters(services.settings.adapters_dir):
        try:
            found["adapter", adapter.name] = shelf.adapter(
                adapter.folder.parent, adapter.name
            ).sha256
        except AdapterError as error:
            problems.append(str(error))
    return found, problems


def _recall_documents(services: Services, found: dict[Key, Any]) -> list[str]:
    library = services.library
    problems = []
    hashes = {one.name: one.sha256 for one in stored_documents(library.engine)}
    reader = HereReader()
    for row in documents(library):
        if row.status != "ready":
            if row.status == "indexing":
                problems.append(f"{row.name} is being indexed for ever")
            continue
        there = passages(library, row.name)
        path = library.knowledge_dir / row.name
        expected = {one.id for one in reader.read(path, name=row.name).passages}
        if {one.id for one in there} != expected:
            problems.append(f"{row.name} is ready with {len(there)} of {len(expected)} passages")
            continue
        some = random.Random(row.name).sample(there, min(len(there), RECALLED_A_DOCUMENT))
        lost = [one.id for one in some if not _is_found(services, one.id, one.sourced_text)]
        if lost:
            problems.append(f"{row.name} is ready, but no search finds {len(lost)} of {len(some)}")
            continue
        found["document", row.name] = hashes[row.name]
    return problems


def _is_found(services: Services, id_: str, text: str) -> bool:
    library = services.library
    vector = library.embedder.embed([text])[0]
    near = library.vectors.query(vector, top=5, embedder=library.embedder.identity)
    return any(found == id_ or cosine > 0.9999 for found, cosine in near) and id_ in (
        library.keywords.present([id_])
    )
