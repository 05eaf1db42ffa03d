"""A pipeline on a thread of its own: decoding and encoding release the interpreter, so the event loop stays free.

Packets wait in a queue bounded in number and bytes. A source that cannot wait (``put``) loses its pictures up to the
next keyframe when the queue is full, and its sound only when nothing fits any more; one that can waits (``put_wait``).
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from rtcloud.ingest.media import RoomPacket, SourcePacket
from rtcloud.ingest.pipeline import Pipeline
from rtcloud.robots.broadcasting import Program

_log = logging.getLogger(__name__)

MAX_PACKETS = 256
MAX_BYTES = 16 << 20
#: seconds with one packet: a codec that takes so long does not come back
STUCK_AFTER = 10.0
#: what only sound may take
SPARE_PACKETS, SPARE_BYTES = 64, 1 << 20

Deliver = Callable[[list[RoomPacket], Program], None]
_Item = SourcePacket | Callable[[], list[RoomPacket] | None]


class PipelineThread:
    """Made on the event loop, on which ``deliver`` and the pipeline's ``told`` are called. What makes the pipeline
    fail is in ``done``, and raised by ``close``."""

    def __init__(self, pipeline: Pipeline, deliver: Deliver) -> None:
        self._pipeline = pipeline
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        told = pipeline.told
        pipeline.told = lambda handling: self._call(told, handling)
        self._queue: deque[_Item] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._has_space = asyncio.Event()
        self._is_waited_for = False
        self._is_closing = False
        self._is_dropping = False  # pictures, up to the next keyframe
        #: packets that there was no room for
        self.dropped = 0
        self.done: Future[None] = Future()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()

    def put(self, packet: SourcePacket) -> bool:
        """False when it was dropped."""
        if packet.kind == "video" and self._is_dropping and not packet.keyframe:
            self.dropped += 1
            return False
        with self._changed:
            if not self._is_dead and self._has_room(packet, spare=packet.kind == "audio"):
                self._append(packet)
                self._is_dropping = self._is_dropping and packet.kind == "audio"
                return True
        if packet.kind == "video" and not self._is_dropping and not self._is_dead:
            self._is_dropping = True
            _log.warning("a source comes faster than it is worked off: pictures are left out")
        self.dropped += 1
        return False

    async def put_wait(self, packet: SourcePacket) -> None:
        """When there is room. Raises what made the pipeline fail."""
        while True:
            with self._changed:
                if self._is_dead:
                    break
                if self._has_room(packet, spare=True):
                    self._append(packet)
                    return
                self._is_waited_for = True
                self._has_space.clear()
            await self._has_space.wait()
        if self.done.done():
            self.done.result()
        raise RuntimeError("the pipeline is closed")

    def cut(self) -> None:
        """In order with the packets, as all of these."""
        self._order(self._pipeline.cut)

    def flush(self) -> None:
        self._order(self._pipeline.flush)

    def set_volume(self, percent: int) -> None:
        self._order(lambda: self._pipeline.set_volume(percent))

    def want_keyframe(self) -> None:
        self._pipeline.want_keyframe()

    async def close(self) -> None:
        """Leaves what waits. Raises what made the pipeline fail."""
        with self._changed:
            self._is_closing = True
            self._queue.clear()
            self._changed.notify()
        self._has_space.set()
        await asyncio.wrap_future(self.done)

    def is_healthy(self) -> bool:
        since = self._busy_since
        return since is None or self.done.done() or time.monotonic() - since < STUCK_AFTER

    @property
    def _is_dead(self) -> bool:
        return self._is_closing or self.done.done()

    def _has_room(self, packet: SourcePacket, *, spare: bool) -> bool:
        packets = MAX_PACKETS - (0 if spare else SPARE_PACKETS)
        size = MAX_BYTES - (0 if spare else SPARE_BYTES)
        return len(self._queue) < packets and (not self._queue or self._bytes + len(packet.data) <= size)

    def _append(self, packet: SourcePacket) -> None:
        self._queue.append(packet)
        self._bytes += len(packet.data)
        self._changed.notify()

    def _order(self, what: Callable[[], list[RoomPacket] | None]) -> None:
        with self._changed:
            if not self._is_dead:
                self._queue.append(what)
                self._changed.notify()

    # On the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._busy_since = time.monotonic()
                made = self._pipeline.put(item) if isinstance(item, SourcePacket) else item()
                self._busy_since = None
                if made:
                    self._call(self._deliver, made, self._pipeline.program)
        except BaseException as error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)
        self._call(self._has_space.set)

    def _next(self) -> _Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            if self._is_closing:
                return None
            item = self._queue.popleft()
            if isinstance(item, SourcePacket):
                self._bytes -= len(item.data)
            if self._is_waited_for and len(self._queue) <= MAX_PACKETS // 2 and self._bytes <= MAX_BYTES // 2:
                self._is_waited_for = False
                self._call(self._has_space.set)
            return item

    def _call(self, what: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop has ended
            self._is_closing = True
