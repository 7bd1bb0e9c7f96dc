"""The servers of a data directory, as their clients see them: real processes, real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bot.errors import ServerError
from bot.servers import ServerAddress, Servers
from bot.servers.wire import Contact, read_contact, write_contact
from tests.servers.watching import (
    PATIENCE_SECONDS,
    await_condition,
    await_end,
    child,
    is_alive,
    pid_of,
    status_of,
)

OPENS_AND_WAITS = """
import sys
from pathlib import Path
from bot.servers import Servers
from tests.servers.watching import child, pid_of
servers = Servers.open(Path(sys.argv[1]))
servers.address(child())
print(pid_of(servers, "child"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def open_servers(tmp_path: Path) -> Iterator[Callable[[], Servers]]:
    """Opens clients of one data directory; leaves no process behind."""
    opened: list[Servers] = []

    def open_one() -> Servers:
        opened.append(Servers.open(tmp_path))
        return opened[-1]

    yield open_one
    for servers in opened:
        servers.close()
    for supervisor in supervisors_of(tmp_path):
        os.kill(supervisor, signal.SIGTERM)  # sooner than it would leave by itself
        await_end(supervisor)


@pytest.fixture
def servers(open_servers: Callable[[], Servers]) -> Servers:
    return open_servers()


def supervisors_of(data_dir: Path) -> list[int]:
    """The supervisors that run for a data directory."""
    wanted = ["-m", "bot.servers.supervisor", str(data_dir)]
    processes = psutil.process_iter(["cmdline"])
    return [one.pid for one in processes if (one.info["cmdline"] or [])[1:4] == wanted]


def supervisor_of(data_dir: Path) -> int:
    """The one supervisor of a data directory."""
    (supervisor,) = supervisors_of(data_dir)
    return supervisor


def get(address: ServerAddress, path: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key or address.key}"}
    request = urllib.request.Request(address.base_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def other_client(data_dir: Path) -> tuple[subprocess.Popen[str], int]:
    """Another process that uses the server; with the server's process."""
    here = Path(__file__).parent
    client = subprocess.Popen(
        [sys.executable, "-c", OPENS_AND_WAITS, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent.parent}"},
    )
    assert client.stdout is not None
    return client, int(client.stdout.readline())


def test_a_server_is_healthy_when_its_address_is_known(servers: Servers) -> None:
    address = servers.address(child())

    assert get(address, "/health") == 200
    assert status_of(servers, "child").state == "ready"


def test_the_key_reaches_the_server_but_no_command_line(servers: Servers) -> None:
    address = servers.address(child())

    assert get(address, "/key") == 200
    assert get(address, "/key", "another") == 401
    assert address.key not in " ".join(psutil.Process(pid_of(servers, "child")).cmdline())
    assert address.key not in repr(address)


def test_a_running_server_is_not_started_again(servers: Servers) -> None:
    assert servers.address(child()) == servers.address(child())


def test_another_process_shares_the_servers(servers: Servers, tmp_path: Path) -> None:
    servers.address(child())

    client, pid = other_client(tmp_path)
    client.communicate()

    assert pid == pid_of(servers, "child")


def test_first_clients_at_the_same_moment_start_one_supervisor(
    open_servers: Callable[[], Servers],
) -> None:
    pids: list[int] = []
    together = threading.Barrier(4)

    def use() -> None:
        together.wait()
        servers = open_servers()
        servers.address(child())
        pids.append(pid_of(servers, "child"))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert len(pids) == 4
    assert len(set(pids)) == 1


def test_a_killed_client_leaves_nothing_behind(tmp_path: Path) -> None:
    client, pid = other_client(tmp_path)
    supervisor = supervisor_of(tmp_path)

    client.kill()
    client.communicate()

    await_end(pid)
    await_end(supervisor)


def test_a_killed_supervisor_takes_its_servers_along_and_is_replaced(servers: Servers) -> None:
    servers.address(child())
    pid = pid_of(servers, "child")

    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)

    await_end(pid)
    assert get(servers.address(child()), "/health") == 200
    assert pid_of(servers, "child") != pid


def test_a_terminated_supervisor_stops_its_servers(servers: Servers, tmp_path: Path) -> None:
    servers.address(child(behaviour="ignores termination"))
    pid = pid_of(servers, "child")
    supervisor = supervisor_of(tmp_path)

    os.kill(supervisor, signal.SIGTERM)

    await_end(pid)
    await_end(supervisor)
    assert read_contact(tmp_path) is None


def test_a_killed_server_is_started_again_at_a_new_address(servers: Servers) -> None:
    before = servers.address(child())
    pid = pid_of(servers, "child")

    os.kill(pid, signal.SIGKILL)
    await_condition(lambda: status_of(servers, "child").restarts == 1)
    after = servers.address(child())

    assert get(after, "/health") == 200
    assert after.key != before.key
    assert pid_of(servers, "child") != pid


def test_the_servers_stay_until_the_last_client_leaves(
    open_servers: Callable[[], Servers],
) -> None:
    first, second = open_servers(), open_servers()
    first.address(child())
    pid = pid_of(first, "child")

    first.close()
    assert pid_of(second, "child") == pid
    second.close()

    await_end(pid)


def test_a_closed_client_says_so(open_servers: Callable[[], Servers]) -> None:
    servers = open_servers()
    servers.close()

    with pytest.raises(ServerError, match="closed"):
        servers.address(child())


def test_a_server_that_ends_at_its_start_is_reported_with_its_output(servers: Servers) -> None:
    with pytest.raises(ServerError, match="exit status 3") as caught:
        servers.address(child(behaviour="ends at once"))

    assert "cannot open the index: …" in str(caught.value)  # the key it printed is left out
    assert status_of(servers, "child").state == "failed"


def test_a_program_that_does_not_exist_is_reported(servers: Servers) -> None:
    spec = child()
    absent = type(spec)("absent", ("/no/such/program",), "/")

    with pytest.raises(ServerError, match="/no/such/program"):
        servers.address(absent)


def test_a_failed_server_is_tried_again_when_asked_for_again(servers: Servers) -> None:
    with pytest.raises(ServerError):
        servers.address(child(behaviour="ends at once"))

    assert get(servers.address(child()), "/health") == 200


def test_a_server_that_is_not_ready_in_time_is_reported(servers: Servers) -> None:
    with pytest.raises(ServerError, match="not ready"):
        servers.address(child(behaviour="never ready"), timeout_seconds=0.2)


def test_a_changed_specification_replaces_the_server(servers: Servers) -> None:
    servers.address(child())
    pid = pid_of(servers, "child")

    servers.address(child(behaviour="talks much"))

    assert not is_alive(pid)


def test_the_least_recently_used_server_of_a_group_makes_room(servers: Servers) -> None:
    for name in ("a", "b", "a", "c"):
        servers.address(child(name, group="letters", limit=2))

    await_condition(lambda: status_of(servers, "b").state == "stopped")
    states = {status.name: status.state for status in servers.status()}
    assert states == {"a": "ready", "b": "stopped", "c": "ready"}


def test_a_server_that_is_answering_makes_room_when_it_has_done_so(servers: Servers) -> None:
    address = servers.address(child("a", group="letters", limit=1))
    port = int(address.base_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as asking:
        head = f"GET /word HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        asking.sendall(f"{head}Authorization: Bearer {address.key}\r\n\r\n".encode())
        # Others come and go in its group, for longer than an address that was just handed out
        # protects a server; it is the one used least recently all the while.
        for name in "bc":
            servers.address(child(name, group="letters", limit=1))
            await_condition(lambda: len(ready_in(servers)) <= 2)
        assert status_of(servers, "a").state == "ready"
        asking.sendall(b"!")
        assert asking.recv(100).startswith(b"HTTP/1.0 200")
    await_condition(lambda: ready_in(servers) == {"c"})


def ready_in(servers: Servers) -> set[str]:
    return {status.name for status in servers.status() if status.state == "ready"}


def test_an_evicted_server_comes_back(servers: Servers) -> None:
    for name in ("a", "b", "a"):
        servers.address(child(name, group="letters", limit=1))

    await_condition(lambda: ready_in(servers) == {"a"})
    assert status_of(servers, "b").state == "stopped"


def test_only_the_owner_can_read_where_the_supervisor_is(servers: Servers, tmp_path: Path) -> None:
    assert (tmp_path / "servers.json").stat().st_mode & 0o777 == 0o600


def test_without_the_key_the_supervisor_says_nothing(servers: Servers, tmp_path: Path) -> None:
    contact = read_contact(tmp_path)
    assert contact is not None
    with socket.create_connection(("127.0.0.1", contact.port), PATIENCE_SECONDS) as stranger:
        stranger.sendall(b'{"nonce": "n"}\n')
        greeting = json.loads(stranger.makefile().readline())
        stranger.sendall(json.dumps({"do": "status", "proof": greeting["proof"]}).encode() + b"\n")

        assert stranger.recv(1) == b""


def test_who_cannot_prove_the_key_is_not_believed_to_be_the_supervisor(
    open_servers: Callable[[], Servers], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        write_contact(tmp_path, Contact(impostor.getsockname()[1], "a key"))

        def answer() -> None:
            connection, _ = impostor.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b'{"proof": "trust me", "nonce": "n"}\n')
                assert connection.recv(1000) == b""

        for _ in range(2):  # once without the lock, once with it
            threading.Thread(target=answer, daemon=True).start()
        servers = open_servers()

    assert get(servers.address(child()), "/health") == 200


def test_the_terminal_of_a_client_does_not_reach_the_supervisor(
    servers: Servers, tmp_path: Path
) -> None:
    assert os.getsid(supervisor_of(tmp_path)) != os.getsid(0)


def test_a_server_holds_the_lock_of_its_supervisor(servers: Servers, tmp_path: Path) -> None:
    servers.address(child())

    descriptors = Path(f"/proc/{pid_of(servers, 'child')}/fd").iterdir()

    assert tmp_path / "servers.owner" in {path.readlink() for path in descriptors}


def test_the_supervisor_imports_nothing_heavy() -> None:
    heavy = {"streamlit", "openai", "pydantic", "sqlalchemy", "numpy", "torch", "httpx"}
    code = "import sys, bot.servers.supervisor; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert not heavy & {name.split(".")[0] for name in answer.stdout.split()}
