"""What the event loop hands to the mixing thread while that is busy, and what it gets back."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rtcloud.client.types import EncodedFrame
from rtcloud.clock import Clock, SystemClock
from rtcloud.mixer import thread
from rtcloud.mixer.clocking import ServerClock
from rtcloud.mixer.thread import MixingThread, Pace
from tests.kit.clock import StillClock
from tests.kit.frames import Frame

pytestmark = pytest.mark.anyio


class Driven:
    """Writes down what it is told, and does nothing while it ``may_go`` no further."""

    def __init__(self) -> None:
        self.server_clock = ServerClock()
        self.told: list[tuple[str, int]] = []
        self.may_go = threading.Event()
        self.is_held = threading.Event()

    def push(self, track_id: str, frame: EncodedFrame, now_us: int) -> None:
        self.told.append((track_id, len(frame.data)))

    def lost(self, track_id: str) -> None:
        self.told.append((track_id, -1))

    def advance(self, until_us: int, *, hurry: bool = False) -> None:
        self.is_held.set()
        self.may_go.wait(10)


@contextmanager
def held(clock: Clock | None = None) -> Iterator[tuple[Driven, MixingThread[Driven]]]:
    """A thread that stands still until ``may_go`` is set."""
    driven = Driven()
    made = MixingThread(driven, Pace(25, 0), clock or SystemClock(), close=lambda driven, end_us: None)
    made.start()
    assert driven.is_held.wait(10)
    try:
        yield driven, made
    finally:
        driven.may_go.set()


def frame(track: str, size: int) -> Frame:
    return Frame(track, bytes(size), keyframe=True)


async def test_frames_of_a_thread_that_stands_still_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "MAX_INBOX", 5)
    with held() as (driven, mixing):
        mixing.put([frame("a", 1)] * 20)
        driven.may_go.set()
        await mixing.stop(drains=False)
    assert driven.told == [("a", 1)] * 5 + [("a", -1)]
    assert mixing.dropped_frames == 15


async def test_frames_of_a_thread_that_stands_still_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "MAX_INBOX_BYTES", 1000)
    with held() as (driven, mixing):
        mixing.put([frame("a", 400)] * 10)
        driven.may_go.set()
        await mixing.ask(lambda driven: None)
        mixing.put([frame("a", 400)])
        await mixing.stop(drains=False)
    assert driven.told == [("a", 400)] * 3 + [("a", -1), ("a", 400)]


async def test_what_an_answer_fails_with_is_the_askers_and_the_thread_goes_on() -> None:
    with held() as (driven, mixing):
        driven.may_go.set()
        with pytest.raises(ZeroDivisionError):
            await mixing.ask(lambda driven: 1 // 0)
        asked = asyncio.ensure_future(mixing.ask(lambda driven: 1))
        asked.cancel()
        assert await mixing.ask(lambda driven: driven.told) == []
        await mixing.stop(drains=False)


async def test_a_machine_that_is_too_slow_is_not_stuck() -> None:
    clock, healthy = StillClock(), []
    with held(clock) as (driven, mixing):

        def push(track_id: str, frame: EncodedFrame, now_us: int) -> None:
            clock.ms += round(thread.STUCK_AFTER * 500)
            healthy.append(mixing.is_healthy())

        driven.push = push  # type: ignore[method-assign]
        mixing.put([frame("a", 1)] * 10)
        driven.may_go.set()
        await mixing.stop(drains=False)
    assert healthy == [True] * 10
