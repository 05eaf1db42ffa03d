"""A connection that never finishes a request's head is closed, whichever request of the connection it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from rtcloud import http

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(http, "HEAD_SECONDS", 0.2)
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    server, listener = http.make_server(app, graceful_seconds=1), http.bind("127.0.0.1", 0)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize("whole", [0, 2])
async def test_a_head_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    async with served(monkeypatch) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(whole):
            writer.write(WHOLE)
            await reader.readuntil(b"here")
        writer.write(WHOLE[:-4])
        assert await reader.read() == b""
        writer.close()


async def test_an_idle_connection_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(WHOLE)
            await reader.readuntil(b"here")
            await asyncio.sleep(2 * http.HEAD_SECONDS)  # longer than a head may take: nothing is being sent
        writer.close()


async def test_who_opens_many_connections_and_says_nothing_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_IDLE", 3)
    async with served(monkeypatch) as port, asyncio.timeout(10):
        monkeypatch.setattr(http, "HEAD_SECONDS", 60)
        asked = await asyncio.open_connection("127.0.0.1", port)
        asked[1].write(WHOLE)
        await asked[0].readuntil(b"here")
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for reader, _ in (asked, *silent[:2]):
            assert await reader.read() == b"", "the longest idle go first, those that have asked something too"
        for reader, writer in silent[2:]:
            writer.write(WHOLE)
            await reader.readuntil(b"here")
        for _, writer in (asked, *silent):
            writer.close()
