"""A connection changes hands: over the desk's socket, to whoever has the ticket."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rtcloud.ingest.push.handing import Desk, HandError, Received, claim

pytestmark = pytest.mark.anyio
RECEIVED = Received(b"n" * 1528, b"\3" + b"c" * 60_000)


@asynccontextmanager
async def open_desk(directory: Path) -> AsyncIterator[Desk]:
    desk = Desk(directory)
    serving = asyncio.create_task(desk.serve(desk.listen()))
    try:
        yield desk
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert not desk.path.exists()


async def test_who_has_the_ticket_gets_the_connection_and_what_came_over_it(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        assert stat.S_IMODE(os.stat(desk.path).st_mode) == 0o600
        ours, client = socket.socketpair()
        ticket = desk.new_ticket()
        handing = asyncio.create_task(desk.hand_over(ticket, ours, RECEIVED))
        await asyncio.sleep(0)
        connection, received = await claim(desk.path, ticket)
        assert await handing
        ours.close()  # the job's is another one
        with connection, client:
            assert received == RECEIVED
            assert not connection.getblocking()
            assert not connection.get_inheritable()
            client.sendall(b"media")
            assert await asyncio.get_running_loop().sock_recv(connection, 10) == b"media"


async def test_a_ticket_is_good_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        ours, client = socket.socketpair()
        with ours, client:
            ticket = desk.new_ticket()
            handing = asyncio.create_task(desk.hand_over(ticket, ours, RECEIVED))
            await asyncio.sleep(0)
            (await claim(desk.path, ticket))[0].close()
            with pytest.raises(HandError, match="not good"):
                await claim(desk.path, ticket)
            assert await handing


async def test_a_guessed_ticket_gets_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        ours, client = socket.socketpair()
        with ours, client:
            handing = asyncio.create_task(desk.hand_over(desk.new_ticket(), ours, RECEIVED, within=0.3))
            await asyncio.sleep(0)
            for guess in (desk.new_ticket(), "x" * 32, "é" * 16):
                with pytest.raises(HandError):
                    await claim(desk.path, guess)
            assert not await handing  # nobody came in time


async def test_a_ticket_that_ran_out_is_not_good_any_more(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        ours, client = socket.socketpair()
        with ours, client:
            ticket = desk.new_ticket()
            assert not await desk.hand_over(ticket, ours, RECEIVED, within=0.01)
            with pytest.raises(HandError):
                await claim(desk.path, ticket)


async def test_a_server_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(HandError):
        await claim(tmp_path / "push.sock", "x" * 32)


async def test_a_leftover_socket_does_not_keep_the_desk_from_opening(tmp_path: Path) -> None:
    Desk(tmp_path).listen().close()
    async with open_desk(tmp_path):
        await asyncio.sleep(0)
