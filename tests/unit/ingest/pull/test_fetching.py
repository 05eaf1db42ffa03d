"""Files over HTTP for a demuxer, from a server on a real socket."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rtcloud.ingest.pull.fetching import Budget, Fetch, Web
from rtcloud.ingest.pull.source import SourceError
from rtcloud.outgoing.dialing import Dialer
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readline():
        found = b"missing" not in head
        while (await reader.readline()).strip():
            pass
        status, body = (b"200 OK", b"media") if found else (b"404 Not Found", b"")
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
    writer.close()


@asynccontextmanager
async def a_web() -> AsyncIterator[tuple[Web, Budget, str]]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    budget = Budget()
    budget.allow(10)
    web = Web(Dialer(allow_private=True), budget)
    try:
        yield web, budget, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await web.close()
        server.close()
        await server.wait_closed()


async def test_files_are_let_go_when_they_were_read_or_are_not_there() -> None:
    async with a_web() as (web, budget, url):

        def read() -> None:
            file = web.open(f"{url}/segment")
            assert file.read(16) == b"media"
            file.close()
            with pytest.raises(SourceError, match="404"):
                web.open(f"{url}/missing")
            assert budget.take_failure() is not None

        for _ in range(3):
            await asyncio.to_thread(read)

        async def gone() -> bool:
            gc.collect()
            return not any(type(each) is Fetch for each in gc.get_objects())

        await eventually(gone, "the files are let go")
