"""A peer that sends all the time."""

import asyncio
import socket

import pytest

from rtcloud.aio import receive

pytestmark = pytest.mark.anyio


async def test_others_have_their_turn_between_two_reads_however_much_there_is_to_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(bytes(1000))
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        others = asyncio.create_task(take_turns())
        for _ in range(100):
            assert await receive(ours, 10) == bytes(10)
        others.cancel()
        assert turns >= 100


async def test_a_timeout_ends_who_reads_without_end() -> None:
    ours, theirs = socket.socketpair()

    async def read_all() -> None:
        async with asyncio.timeout(0.01):
            while True:
                theirs.send(b"x")
                await receive(ours, 10)

    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(TimeoutError):
            await read_all()
