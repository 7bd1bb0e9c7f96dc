"""One child server: how it is watched, started again and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from bot.servers import leash
from bot.servers.child import Child, Pace
from tests.servers.watching import PATIENCE_SECONDS, await_end, child, is_alive

QUICK = Pace(watch_seconds=0.1, watch_misses=2, first_delay_seconds=0.01, stop_seconds=0.2)


def watch(
    folder: Path, behaviour: str, pace: Pace, act: Callable[[Child], Awaitable[None]]
) -> None:
    """Run a child, do something with it, and stop it."""

    async def run() -> None:
        lock = os.open(folder / "owner", os.O_CREAT | os.O_RDWR)
        one = Child(child(behaviour=behaviour), folder, lock, pace)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await act(one)
        finally:
            await one.stop()
            os.close(lock)

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def test_a_server_that_does_not_answer_any_more_is_replaced(tmp_path: Path) -> None:
    async def act(one: Child) -> None:
        await one.address(PATIENCE_SECONDS)
        hung = one.status.pid
        assert hung is not None
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: one.status.restarts == 1)
        assert not is_alive(hung)
        assert await one.address(PATIENCE_SECONDS) is not None

    watch(tmp_path, "well", QUICK, act)


def test_a_server_that_keeps_dying_is_given_up(tmp_path: Path) -> None:
    pace = Pace(first_delay_seconds=0.001, restart_attempts=3)

    async def act(one: Child) -> None:
        for _ in range(3):
            assert await one.address(PATIENCE_SECONDS) is not None
            dying = one.status.pid
            assert dying is not None
            os.kill(dying, signal.SIGKILL)
            await until(lambda pid=dying: one.status.pid != pid)  # type: ignore[misc]
        assert await one.address(PATIENCE_SECONDS) is None
        assert one.status.state == "failed"
        assert "signal 9" in one.status.detail

    watch(tmp_path, "well", pace, act)


def test_a_server_that_lived_long_enough_starts_afresh(tmp_path: Path) -> None:
    pace = Pace(first_delay_seconds=0.001, restart_attempts=2, stable_seconds=0.0)

    async def act(one: Child) -> None:
        for _ in range(3):
            assert await one.address(PATIENCE_SECONDS) is not None
            dying = one.status.pid
            assert dying is not None
            os.kill(dying, signal.SIGKILL)
            await until(lambda pid=dying: one.status.pid != pid)  # type: ignore[misc]
        assert await one.address(PATIENCE_SECONDS) is not None

    watch(tmp_path, "well", pace, act)


def test_a_server_that_never_becomes_ready_is_killed(tmp_path: Path) -> None:
    pace = Pace(start_seconds=0.1, start_attempts=1, stop_seconds=0.2)

    async def act(one: Child) -> None:
        assert await one.address(PATIENCE_SECONDS) is None
        assert "not ready" in one.status.detail
        assert one.status.pid is None

    watch(tmp_path, "never ready", pace, act)


def test_a_server_that_ignores_termination_is_killed(tmp_path: Path) -> None:
    async def act(one: Child) -> None:
        await one.address(PATIENCE_SECONDS)
        pid = one.status.pid
        assert pid is not None
        await one.stop()
        assert not is_alive(pid)
        assert one.status.state == "stopped"

    watch(tmp_path, "ignores termination", QUICK, act)


def test_a_long_log_is_emptied(tmp_path: Path) -> None:
    pace = Pace(watch_seconds=0.02, log_bytes=20_000)
    log = tmp_path / "child.log"
    sizes: list[int] = []

    async def act(one: Child) -> None:
        await one.address(PATIENCE_SECONDS)

        def shrank() -> bool:
            sizes.append(log.stat().st_size)
            return sizes[-1] < max(sizes)

        await until(shrank)

    watch(tmp_path, "talks much", pace, act)
    assert max(sizes) < 200_000


def test_the_log_begins_anew_with_each_start(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("of an earlier run")

    async def act(one: Child) -> None:
        await one.address(PATIENCE_SECONDS)

    watch(tmp_path, "well", QUICK, act)
    assert "earlier" not in (tmp_path / "child.log").read_text()


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.1), (2, 0.2), (5, 1.6), (50, 5.0)])
def test_each_restart_waits_twice_as_long_up_to_a_limit(failures: int, seconds: float) -> None:
    assert Pace().delay_seconds(failures) == pytest.approx(seconds)


HOLDS = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("leash", sys.argv[1])
leash = importlib.util.module_from_spec(spec)
spec.loader.exec_module(leash)
sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(999)"
leash.hold([sys.executable, "-c", sleeper])
"""


def test_where_linux_does_not_help_the_leash_kills_at_the_end_of_input() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, leash.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    pid = int(holder.stdout.readline())

    holder.stdin.close()

    await_end(pid)
    holder.stdout.close()
    holder.wait(PATIENCE_SECONDS)


def test_a_leashed_command_does_not_start_without_its_parent() -> None:
    not_the_parent = "1" if os.getpid() != 1 else "2"
    done = subprocess.run(
        [sys.executable, leash.__file__, not_the_parent, sys.executable, "-c", "print('alive')"],
        capture_output=True,
    )

    assert (done.returncode, done.stdout) == (1, b"")


def test_a_child_is_told_no_key_but_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "TRIPTYCH_KEY_HOST", "DATABASE_URL", "HF_TOKEN"):
        monkeypatch.setenv(name, "planted")
    found = []

    async def act(one: Child) -> None:
        backend = await one.address(PATIENCE_SECONDS)
        assert backend is not None
        headers = {"Authorization": f"Bearer {backend.key}"}
        url = f"{backend.base_url}/secrets"
        found.append(await asyncio.to_thread(httpx.get, url, headers=headers, trust_env=False))

    watch(tmp_path, "well", QUICK, act)
    assert [answer.status_code for answer in found] == [200]
