"""How often a program is woken for media."""

import asyncio
import os

import pytest

from rtcloud.client import native
from rtcloud.client.peer import PeerConfig

pytestmark = pytest.mark.anyio


class Engine:
    """Frames come whenever the test says so."""

    def __init__(self, _config: bytes) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK)
        self.waiting = 0

    def event_fd(self) -> int:
        return self.descriptor

    def come(self) -> None:
        self.waiting += 1
        os.eventfd_write(self.descriptor, 1)

    def drain_frames(self, _most: int) -> list[object]:
        frames = [object()] * self.waiting
        self.waiting = 0
        return frames

    def close(self) -> None:
        os.close(self.descriptor)


async def batches(monkeypatch: pytest.MonkeyPatch, gather_s: float) -> list[int]:
    """Sizes of what a program is given of fifty frames, one each millisecond."""
    monkeypatch.setattr("rtcloud._native.Peer", Engine)
    peer = native.NativePeer(PeerConfig(), gather_s)
    engine = peer._peer
    assert isinstance(engine, Engine)
    given: list[int] = []
    peer.start(lambda: given.append(len(peer.frames())))
    for _ in range(50):
        engine.come()
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        while sum(given) < 50:
            await asyncio.sleep(0.001)
    peer.close()
    return given


async def test_every_frame_wakes_a_program_that_asks_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(await batches(monkeypatch, 0.0)) >= 25


async def test_gathered_frames_come_together_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    given = await batches(monkeypatch, 0.02)
    assert sum(given) == 50
    assert max(given) > 5
