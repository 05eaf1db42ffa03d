"""The mixing thread: frames of rooms in, encoded packets out, at the pace of real time.

The event loop only appends to an inbox. The thread pushes, decodes, composes and encodes; the native parts release the
interpreter, so the loop stays free. It runs ``patience_us`` behind the rooms: that long late frames have.

The inbox is bounded in frames and their bytes (changes are few): when it is full frames are dropped and the track's
decoder waits for a keyframe; when the machine is too slow pictures are left out, sound is not. What is driven may be
exchanged for another on the way (``replace``).
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rtcloud.client.types import EncodedFrame
from rtcloud.clock import Clock
from rtcloud.mixer.clocking import ServerClock

MAX_INBOX = 8_000
MAX_INBOX_BYTES = 128 << 20
#: the thread looks at least this often; also the silence after which it counts as stuck
LOOK_EVERY_US = 100_000
STUCK_AFTER = 4.0


class Driven(Protocol):
    """A ``Mixer``, or what is driven like one."""

    @property
    def server_clock(self) -> ServerClock: ...
    def push(self, track_id: str, frame: EncodedFrame, now_us: int, /) -> None: ...
    def lost(self, track_id: str, /) -> None: ...
    def advance(self, until_us: int, /, *, hurry: bool = False) -> None: ...


M = TypeVar("M", bound=Driven)
A = TypeVar("A")


class LocalClock:
    """Wall time that never steps: read once, then moved on by the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor_us = clock.now_ms() * 1000
        self._started = clock.monotonic()

    def now_us(self) -> int:
        return self._anchor_us + int((self._clock.monotonic() - self._started) * 1_000_000)


@dataclass(frozen=True, slots=True)
class Pace:
    """``fps`` 0: there are no pictures to be made."""

    fps: int
    patience_us: int

    @property
    def interval_us(self) -> int:
        return min(LOOK_EVERY_US, 1_000_000 // self.fps) if self.fps else LOOK_EVERY_US


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands in the inbox where frames of the track were dropped."""

    track_id: str


@dataclass(frozen=True, slots=True)
class _End:
    at_us: int
    drains: bool


class MixingThread(Generic[M]):
    """``close`` is called on the thread at the end, with the moment it is given for; ``looked`` after each round."""

    def __init__(
        self,
        driven: M,
        pace: Pace,
        clock: Clock,
        *,
        close: Callable[[M, int], None],
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        self._driven = driven
        #: changed on the thread only
        self.pace = pace
        self._clock = clock
        self._close = close
        self._after_look = looked
        self._local = LocalClock(clock)
        self._inbox: deque[tuple[str, EncodedFrame, int] | Callable[[M], None] | Lost] = deque()
        # each is counted by one thread only: what was put in, and what was taken out
        self._put_bytes = self._taken_bytes = 0
        self._dropping: set[str] = set()
        self._end: _End | None = None
        self._wake = threading.Event()
        self._looked = clock.monotonic()
        #: resolves when everything is closed, or with what made the thread fail
        self.done: Future[None] = Future()
        self.dropped_frames = 0
        self._thread = threading.Thread(target=self._run, name="mixer", daemon=True)

    # On the event loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def now_us(self) -> int:
        return self._local.now_us()

    def put(self, frames: Sequence[EncodedFrame], track_id: Callable[[str], str] | None = None) -> None:
        """``track_id`` turns a track's name in its room into its name here."""
        now = self._local.now_us()
        for frame in frames:
            name = frame.track if track_id is None else track_id(frame.track)
            if len(self._inbox) < MAX_INBOX and self._put_bytes - self._taken_bytes < MAX_INBOX_BYTES:
                self._dropping.discard(name)
                self._put_bytes += len(frame.data)
                self._inbox.append((name, frame, now))
                continue
            self.dropped_frames += 1
            if name not in self._dropping:
                self._dropping.add(name)
                self._inbox.append(Lost(name))

    def change(self, what: Callable[[M], None]) -> None:
        """Called with what is driven, on the thread, in order with the frames."""
        self._inbox.append(what)

    async def ask(self, what: Callable[[M], A]) -> A:
        """What this gives, called as a ``change`` is. No answer comes after the end."""
        answer: Future[A] = Future()

        def give(driven: M) -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(what(driven))
                except Exception as error:
                    answer.set_exception(error)

        self.change(give)
        return await asyncio.wrap_future(answer)

    async def stop(self, *, at_server_ms: int | None = None, drains: bool = True) -> None:
        """Ends at this moment (now) and closes. ``drains``: frames that are still on their way are waited for as long
        as any frame is."""
        now = self._local.now_us()
        at_us = now if at_server_ms is None else self._driven.server_clock.to_local(at_server_ms * 1000)
        self._end = _End(min(now, at_us), drains)
        self._wake.set()
        await asyncio.wrap_future(self.done)

    def is_healthy(self) -> bool:
        return self.done.done() or self._clock.monotonic() - self._looked < STUCK_AFTER

    # On the mixing thread -----------------------------------------------------------------------------------------

    def goes_on(self) -> None:
        """Says that work is done: a machine that is too slow is not stuck."""
        self._looked = self._clock.monotonic()

    def replace(self, driven: M, pace: Pace) -> None:
        """From a ``change``: what comes from now on is driven so."""
        self._driven = driven
        self.pace = pace

    def _run(self) -> None:
        try:
            self._drive()
        except BaseException as error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)

    def _drive(self) -> None:
        while not self._look(now := self._local.now_us()):
            spent = self._local.now_us() - now
            self._wake.wait(max(2_000, self.pace.interval_us - spent) / 1_000_000)
            if self._end is not None:
                time.sleep(0.005)  # the event stays set while draining

    def _look(self, now: int) -> bool:
        """Everything that can be done at this moment; whether that was the last of it."""
        self._looked = self._clock.monotonic()
        self._empty_inbox()
        end = self._end
        until = now - self.pace.patience_us
        if end is not None and (not end.drains or until >= end.at_us):
            self._close(self._driven, end.at_us)
            return True
        self._driven.advance(until if end is None else min(until, end.at_us), hurry=True)
        self._after_look()
        return False

    def _empty_inbox(self) -> None:
        for _ in range(len(self._inbox)):
            item = self._inbox.popleft()
            self.goes_on()
            if isinstance(item, tuple):
                self._taken_bytes += len(item[1].data)
                self._driven.push(*item)
            elif isinstance(item, Lost):
                self._driven.lost(item.track_id)
            else:
                item(self._driven)
