"""What every kind of source is to a pull job, and the bridge from a demuxing thread to the event loop."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from rtcloud.ingest.media import Kind, SourcePacket

#: packets and bytes that a thread may be ahead of the loop, the first of them however large
MOST_PACKETS = 64
MOST_BYTES = 2 << 20


class SourceError(Exception):
    """A source that cannot be opened, or breaks. The message is for the operator and names no address.
    ``is_missing``: one file of several is not there; the source may go on without."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class Source(Protocol):
    @property
    def is_live(self) -> bool:
        """It has no beginning that one could go back to."""
        ...

    @property
    def is_ended(self) -> bool:
        """Its end is the end of what there is, not of the connection."""
        ...

    @property
    def begin_us(self) -> int:
        """Where the position 0 is on its clock."""
        ...

    @property
    def kinds(self) -> int:
        """How many streams come, as far as is known."""
        ...

    @property
    def carries(self) -> Collection[Kind]:
        """What may come."""
        ...

    async def take(self) -> Sequence[SourcePacket]:
        """The next packets in the order they came; none at the end. Raises ``SourceError``."""
        ...

    async def close(self) -> None:
        """Does not raise, and takes no time."""
        ...


class Handover:
    """One thread puts, the loop takes. A thread that is ahead waits; after ``close`` it is told to end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._packets: deque[SourcePacket] = deque()
        self._bytes = 0
        self._closed = self._finished = False
        self._error: SourceError | None = None
        self._filled = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def put(self, packet: SourcePacket) -> bool:
        """False: nobody takes any more."""
        with self._condition:
            while self._packets and not self._closed and self._is_full(len(packet.data)):
                self._condition.wait()
            if self._closed:
                return False
            self._packets.append(packet)
            self._bytes += len(packet.data)
            is_first = len(self._packets) == 1
        if is_first:
            self._wake()
        return True

    def finish(self, error: SourceError | None = None) -> None:
        with self._condition:
            self._finished, self._error = True, error
        self._wake()

    async def take(self) -> Sequence[SourcePacket]:
        while True:
            self._filled.clear()
            with self._condition:
                if self._packets:
                    taken = list(self._packets)
                    self._packets.clear()
                    self._bytes = 0
                    self._condition.notify()
                    return taken
                if self._finished:
                    if self._error is not None:
                        raise self._error
                    return ()
            await self._filled.wait()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._packets.clear()
            self._condition.notify()

    def _is_full(self, size: int) -> bool:
        return len(self._packets) >= MOST_PACKETS or self._bytes + size > MOST_BYTES

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self._loop.call_soon_threadsafe(self._filled.set)
