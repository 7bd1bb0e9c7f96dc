"""The events of a training as a file: appended by its process, followed by others while it grows.

One JSON object a line. A line without its end is still being written, or was torn by a kill: it
counts as not there. A resumed training tells of some steps again; they replace what was told of
them, and everything after them, before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from bot.tuning.events import Evaluation, TrainingStep

FILE_NAME = "events.jsonl"

Event = TrainingStep | Evaluation


class EventWriter:
    """Appends events to the log in a training's folder, after the last whole line.

    Raises:
        OSError: the log cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE_NAME
        path.touch()
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(_whole_bytes(self._file))
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, event: Event) -> None:
        """Add an event, which others see at once.

        Raises:
            OSError: as when made.
        """
        kind = "step" if isinstance(event, TrainingStep) else "evaluation"
        line = memoryview(json.dumps({kind: asdict(event)}).encode() + b"\n")
        while line:  # a disk that is nearly full takes a part of it
            line = line[self._file.write(line) or 0 :]


def _whole_bytes(file: BinaryIO | Any) -> int:
    """How much of a log is whole lines."""
    return int(file.read().rfind(b"\n")) + 1


class EventLog:
    """The log in a training's folder, read on from where it was read before; for any thread."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._offset = 0
        self._told: list[Event] = []
        self._places: dict[tuple[int, int], int] = {}
        self._seen: tuple[tuple[TrainingStep, ...], tuple[Evaluation, ...]] = ((), ())
        self._lock = Lock()

    def read(self) -> tuple[tuple[TrainingStep, ...], tuple[Evaluation, ...]]:
        """The steps and the evaluations so far, oldest first."""
        with self._lock:
            if fresh := list(self._fresh()):
                for event in fresh:
                    self._take(event)
                self._seen = (
                    tuple(one for one in self._told if isinstance(one, TrainingStep)),
                    tuple(one for one in self._told if isinstance(one, Evaluation)),
                )
            return self._seen

    def _fresh(self) -> Iterator[Event]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        for line in text[:whole].splitlines():
            if event := _event(line):
                yield event

    def _take(self, event: Event) -> None:
        if isinstance(event, TrainingStep):
            place = self._places.setdefault((event.fold, event.step), len(self._told))
            for again in self._told[place:]:
                if isinstance(again, TrainingStep):
                    del self._places[again.fold, again.step]
            del self._told[place:]
            self._places[event.fold, event.step] = place
        self._told.append(event)


def _event(line: bytes) -> Event | None:
    try:
        match json.loads(line):
            case {"step": dict(values)}:
                return TrainingStep(**values)
            case {"evaluation": dict(values)}:
                return Evaluation(**values)
    except (ValueError, TypeError):  # of another version, or not ours
        pass
    return None
