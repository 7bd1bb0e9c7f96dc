"""The log of a training's events: followed while it grows, torn lines and repetitions included."""

from __future__ import annotations

from pathlib import Path

from bot.tuning.event_log import FILE_NAME, EventLog, EventWriter
from tests.tuning.scripted_job import evaluation, step


def test_a_reader_follows_without_reading_anything_twice(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    assert log.read() == ((), ())
    with EventWriter(tmp_path) as events:
        events.write(step(1))
        assert log.read() == ((step(1),), ())
        events.write(evaluation(1))
        events.write(step(2))
        path = tmp_path / FILE_NAME
        path.write_bytes(path.read_bytes().replace(b'"step": 1,', b'"step": 7,', 1))
        assert log.read() == ((step(1), step(2)), (evaluation(1),)), "what was read stays read"
    assert log.read() is log.read()


def test_a_torn_line_is_not_there_until_it_is_whole(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    with EventWriter(tmp_path) as events:
        events.write(step(1))
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    assert log.read() == ((step(1),), ())
    path.write_bytes(whole + whole.replace(b'"step": 1,', b'"step": 2,'))
    assert [one.step for one in log.read()[0]] == [1, 2]


def test_a_writer_goes_on_after_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with EventWriter(tmp_path) as events:
        events.write(step(1))
    path.write_bytes(path.read_bytes() + b'{"step": {"st')
    with EventWriter(tmp_path) as events:
        events.write(step(2))
    assert EventLog(tmp_path).read() == ((step(1), step(2)), ())


def test_what_a_resumed_training_repeats_is_there_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    with EventWriter(tmp_path) as events:
        for number in (1, 2, 3):
            events.write(step(number))
            events.write(evaluation(number))
        assert len(log.read()[0]) == 3
        events.write(step(2))
        assert log.read() == ((step(1), step(2)), (evaluation(1),))
        assert EventLog(tmp_path).read() == log.read()


def test_strange_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text('[]\nnot JSON\n{"step": {"wrong": 1}}\n{"later": {}}\n\xff\n')
    with EventWriter(tmp_path) as events:
        events.write(step(1))
    assert EventLog(tmp_path).read() == ((step(1),), ())
