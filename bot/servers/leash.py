"""Runs a command that dies with the supervisor that started it, even when that one is killed.

``python leash.py PARENT_PID COMMAND…`` — run as a file, so that it starts in a few milliseconds.
Linux ends the command by itself once its parent is gone; the leash then becomes the command.
Elsewhere the leash stays, and kills the command when standard input closes or it is terminated.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> NoReturn:
    """Become the command, or hold it until it ends or the parent is gone."""
    if not _die_with_parent():
        sys.exit(hold(command))
    if os.getppid() != parent:  # it died before the wish could be made
        sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606  (there is no shell, which is the point)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


def _die_with_parent() -> bool:
    """Ask the kernel to kill this process when its parent ends; kept when it becomes another."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def hold(command: list[str]) -> int:
    """Run the command until it ends, or until standard input closes."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE)

    def kill_at_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=kill_at_end_of_input, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
