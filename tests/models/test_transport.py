"""HTTP connections: what happens to those that a server has closed."""

from __future__ import annotations

import asyncio

import httpx2

from bot.models.transport import FreshTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
PATIENCE_SECONDS = 20.0


def test_connections_are_closed_though_the_request_that_finds_them_is_cancelled() -> None:
    asyncio.run(_cancelled_while_closing())


async def _cancelled_while_closing() -> None:
    asked, all_asked, hang_up = 0, asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        if asked == 3:
            all_asked.set()
        await all_asked.wait()  # so that each request has a connection of its own
        writer.write(ANSWER)
        await hang_up.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    transport = FreshTransport(limits=httpx2.Limits(max_connections=None, keepalive_expiry=60))
    async with server, httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        await asyncio.gather(*(client.get(address) for _ in range(3)))
        idle = list(transport._pool.connections)
        hang_up.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(one.has_expired() for one in idle):
                await asyncio.sleep(0.01)
        request = asyncio.create_task(client.get(address))
        await asyncio.sleep(0)  # it closes what has expired, and was not asked for anything yet
        request.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not all(one.is_closed() for one in idle):
                await asyncio.sleep(0.01)
        assert len(idle) == 3
        await asyncio.gather(request, return_exceptions=True)
        assert request.cancelled()
