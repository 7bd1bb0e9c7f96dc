"""Closes a process's listening ports, in the kernel, to everybody but one sender.

A child server that checks neither Host nor Origin nor a key must not be found by a web page that
tries ports. On Linux a packet filter is attached to its listening sockets: what does not come
from the guard's own random loopback address is dropped before it is a connection.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from contextlib import suppress

_SYS_PIDFD_GETFD = 438  # the same on every architecture
_SO_ATTACH_FILTER = 26
_SOURCE_ADDRESS = (-0x100000 + 12) & 0xFFFFFFFF  # of the IPv4 header: SKF_NET_OFF + 12
_LOAD_WORD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_WHOLE_PACKET, _NOTHING = 0xFFFFFFFF, 0


def seal(pid: int, source: str) -> bool:
    """Let the ports on which a child process listens answer this source only.

    Args:
        pid: of a child of this process.
        source: IPv4 address from which connections may come.

    Returns:
        Whether every listening port is sealed. It cannot be done on other systems than Linux,
        nor where a container forbids it (it needs `pidfd_getfd`).
    """
    if not sys.platform.startswith("linux"):
        return False
    import psutil

    try:
        found = psutil.Process(pid).net_connections("tcp")
        listening = [one.fd for one in found if one.status == psutil.CONN_LISTEN]
        pidfd = os.pidfd_open(pid)
    except (OSError, psutil.Error):
        return False
    try:
        return bool(listening) and all(_seal_one(pidfd, fd, source) for fd in listening)
    finally:
        os.close(pidfd)


def _seal_one(pidfd: int, fd: int, source: str) -> bool:
    own = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_GETFD, pidfd, fd, 0)
    if own < 0:
        return False
    program = _program(source)
    buffer = ctypes.create_string_buffer(program)
    wanted = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    with suppress(OSError), socket.socket(fileno=own) as listener:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, wanted)
        return True
    return False


def _program(source: str) -> bytes:
    """A filter in the kernel's classic form: the packet when it comes from there, else nothing."""
    (wanted,) = struct.unpack("!I", socket.inet_aton(source))
    steps = (
        (_LOAD_WORD, 0, 0, _SOURCE_ADDRESS),
        (_EQUAL, 0, 1, wanted),
        (_RETURN, 0, 0, _WHOLE_PACKET),
        (_RETURN, 0, 0, _NOTHING),
    )
    return b"".join(struct.pack("HBBI", *step) for step in steps)
