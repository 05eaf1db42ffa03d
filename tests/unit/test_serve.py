"""When the server ends, and with which status."""

import asyncio

import pytest

from rtcloud.aio import spawn
from rtcloud.foundation import Stop

pytestmark = pytest.mark.anyio


async def _break() -> None:
    raise ValueError("a mistake of ours")


async def test_a_part_that_dies_ends_the_server_as_failed() -> None:
    stop = Stop()
    stop.depend_on(spawn(_break(), name="part"))
    assert not stop.is_asked
    await asyncio.wait_for(stop.wait(), 5)
    assert stop.failed


async def test_parts_that_end_after_the_signal_are_no_failure() -> None:
    stop, released = Stop(), asyncio.Event()

    async def part() -> None:
        await released.wait()

    running = spawn(part(), name="part")
    stop.depend_on(running)
    asyncio.get_running_loop().call_soon(stop.ask)
    await asyncio.wait_for(stop.wait(), 5)
    released.set()
    await running
    assert stop.is_asked
    assert not stop.failed
