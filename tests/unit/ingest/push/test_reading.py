"""Reading a push's connection: all of it, in order, until enough is said or nothing comes."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from rtcloud.ingest.push.reading import READ, read_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def test_everything_is_taken_up_to_what_is_enough(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    taken = bytearray()

    def take(data: bytes) -> bool:
        taken.extend(data)
        return taken.endswith(b".")

    sent = bytes(3 * READ) + b"."
    saying = asyncio.create_task(asyncio.to_thread(theirs.sendall, sent))
    await read_until(ours, take, 5)
    await saying
    assert taken == sent
    theirs.sendall(b"more.")
    await read_until(ours, take, 5)
    assert taken == sent + b"more."


async def test_the_end_is_told_and_is_enough(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    taken: list[bytes] = []

    def take(data: bytes) -> bool:
        taken.append(data)
        return False

    theirs.sendall(b"last")
    theirs.close()
    await read_until(ours, take, 5)
    assert taken == [b"last", b""]


async def test_silence_counts_from_the_last_word(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(0.2, theirs.sendall, b"word")
    with pytest.raises(TimeoutError):
        await read_until(ours, lambda _: False, 0.3)
    assert loop.time() - began >= 0.49


async def test_what_cannot_be_taken_is_raised_and_nothing_more_is_read(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends

    def take(_: bytes) -> bool:
        raise LookupError

    theirs.sendall(b"word")
    with pytest.raises(LookupError):
        await read_until(ours, take, 5)
    assert not asyncio.get_running_loop().remove_reader(ours)
