"""Bad files meet limits, in a process that may die; good ones are read as by `load` and `split`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from bot.errors import DocumentError, LibraryError
from bot.library.load import load
from bot.library.read_child import _FORBIDDEN, _forbid
from bot.library.reader import Limits, Reader
from bot.library.split import split
from bot.settings import ROOT

SAMPLE = sorted(path for path in (ROOT / "knowledge").iterdir() if path.suffix != ".md")
SLOW = ("a" + "\u0301\u0316" * 400_000).encode()  # composing it takes time with the square


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    path = tmp_path / "slow.txt"
    path.write_bytes(SLOW)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("Kilns are hot.")
    return path


@pytest.fixture
def limited() -> Iterator[list[Reader]]:
    """Readers that a test makes, closed after it."""
    readers: list[Reader] = []
    yield readers
    for reader in readers:
        reader.close()


def pid_of(reader: Reader) -> int:
    assert reader._child is not None
    return reader._child._process.pid


def test_files_are_read_as_without_a_child(reader: Reader) -> None:
    for path in SAMPLE:
        document, reading = load(path), reader.read(path)
        assert list(reading.passages) == split(document)
        assert (reading.title, reading.kind, reading.sha256, reading.size_bytes) == (
            document.title,
            document.kind,
            document.sha256,
            document.size_bytes,
        )


def test_a_refusal_is_the_same_sentence_and_spares_the_child(
    reader: Reader, tmp_path: Path, text: Path
) -> None:
    reader.read(text)
    before = pid_of(reader)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DocumentError) as caught:
        reader.read(tmp_path / "a.json", name="shown.json")
    assert str(caught.value).startswith("shown.json is damaged")
    assert caught.value.cure
    assert pid_of(reader) == before


def test_what_takes_too_long_is_given_up(limited: list[Reader], slow: Path, text: Path) -> None:
    limited.append(reader := Reader(Limits(seconds=0.5)))
    with pytest.raises(DocumentError, match=r"slow\.txt takes longer than 0\.5 seconds"):
        reader.read(slow)
    assert reader.read(text).passages[0].text == "Kilns are hot."


def test_what_needs_too_much_memory_is_given_up(
    limited: list[Reader], tmp_path: Path, text: Path
) -> None:
    limited.append(reader := Reader(Limits(memory_bytes=200 << 20)))
    (tmp_path / "large.json").write_text('[["' + "x " * 8_000_000 + '"]]')
    with pytest.raises(DocumentError, match=r"large\.json needs more than 200 MB of memory"):
        reader.read(tmp_path / "large.json")
    assert reader.read(text).passages


def test_what_holds_too_much_text_is_given_up(limited: list[Reader], tmp_path: Path) -> None:
    limited.append(reader := Reader(Limits(text_bytes=100_000)))
    names = ",".join(f"a rather long name of a column {n}" for n in range(100))
    (tmp_path / "wide.csv").write_text(names + ("\n" + "1," * 99 + "1") * 100)
    with pytest.raises(DocumentError, match=r"wide\.csv holds more than 0\.1 MB of text"):
        reader.read(tmp_path / "wide.csv")


@pytest.mark.parametrize("died_of", [signal.SIGSEGV, signal.SIGXCPU])
def test_a_file_that_makes_the_child_crash_is_refused(
    limited: list[Reader], slow: Path, text: Path, died_of: signal.Signals
) -> None:
    limited.append(reader := Reader())
    reader.read(text)
    pid = pid_of(reader)
    failed: list[str] = []

    def read() -> None:
        try:
            reader.read(slow)
        except DocumentError as error:
            failed.append(str(error))

    thread = Thread(target=read)
    thread.start()
    os.kill(pid, died_of)
    thread.join()
    reason = {signal.SIGSEGV: "crashes on it", signal.SIGXCPU: "takes longer than 30 seconds"}
    assert failed[0].startswith("slow.txt ")
    assert reason[died_of] in failed[0]
    assert reader.read(text).passages


def test_a_child_killed_by_a_stranger_is_not_the_files_fault(reader: Reader, text: Path) -> None:
    reader.read(text)
    for signal_number in (signal.SIGKILL, signal.SIGTERM):
        os.kill(pid_of(reader), signal_number)
        assert reader.read(text).passages


def test_a_child_ends_when_idle_and_is_replaced_after_its_share(
    limited: list[Reader], text: Path
) -> None:
    limited.append(idle := Reader(Limits(idle_seconds=0.05)))
    idle.read(text)
    psutil.Process(pid_of(idle)).wait(timeout=20)
    assert idle.read(text).passages
    limited.append(tired := Reader(Limits(files=2)))
    pids = []
    for _ in range(3):
        tired.read(text)
        pids.append(pid_of(tired))
    assert pids[0] == pids[1] != pids[2]


def test_closing_interrupts_without_blaming_the_file(slow: Path) -> None:
    reader = Reader()
    failed: list[LibraryError] = []

    def read() -> None:
        try:
            reader.read(slow)
        except LibraryError as error:
            failed.append(error)

    thread = Thread(target=read)
    thread.start()
    while reader._child is None:
        thread.join(timeout=0.01)
    reader.close()
    thread.join()
    assert not isinstance(failed[0], DocumentError)
    assert "interrupted" in str(failed[0])
    with pytest.raises(LibraryError, match="interrupted"):
        reader.read(slow)


def test_no_child_outlives_a_killed_parent(slow: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bot.library.reader import Reader\n"
        "r = Reader(); r._ready_child(); print(r._child._process.pid, flush=True)\n"
        "r.read(Path(sys.argv[1]))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(slow)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_the_child_gets_no_secret_and_cannot_call_out(
    limited: list[Reader], text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    limited.append(reader := Reader())
    reader.read(text)
    child = psutil.Process(pid_of(reader))
    assert "OPENAI_API_KEY" not in child.environ()
    if sys.platform == "linux":
        limits = reader.limits
        assert child.rlimit(psutil.RLIMIT_AS) == (limits.memory_bytes, limits.memory_bytes)
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.rlimit(psutil.RLIMIT_CPU)[0] < 2 * limits.seconds
    for event in _FORBIDDEN:
        with pytest.raises(PermissionError):
            _forbid(event, ())
    _forbid("open", ())
