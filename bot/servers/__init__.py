"""The child servers of one data directory, and how to reach them.

    any process ── Servers ──► supervisor ──► children (llama.cpp, Chroma, …)
    any process ── Servers ──┘

A small process, the supervisor, owns every child of a data directory. The first client starts it;
all later ones, in whatever process, share it. It goes away with its last client, however that
client ends, and the children go with it. POSIX only.
"""

from bot.servers.client import Servers
from bot.servers.values import ServerAddress, ServerSpec, ServerState, ServerStatus

__all__ = ["ServerAddress", "ServerSpec", "ServerState", "ServerStatus", "Servers"]
