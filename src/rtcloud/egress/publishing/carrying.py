"""From the mixing thread to the event loop: packets in batches, on the one clock of the output.

What is driven may be exchanged (a mix becomes a single stream, or the other way round); each begins its times anew.
``Carrier`` lets the output's times go on through that.

Invariant: times of one codec rise strictly, whatever comes. A loop that does not take what is carried gets no more
than ``MAX_WAITING`` packets; then all are dropped until it does, and pictures up to the next keyframe, which is asked
for.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rtcloud.mixer.clocking import ServerClock
from rtcloud.mixer.encoding import SAME_PIECE, TICKS, EncodedPacket

#: some seconds of everything
MAX_WAITING = 2_000


class Source(Protocol):
    @property
    def origin_us(self) -> int | None: ...
    @property
    def server_clock(self) -> ServerClock: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """``packets`` with their moments on the server's clock; ``delay_us`` is how long ago the newest moment was."""

    packets: Sequence[tuple[EncodedPacket, int]]
    delay_us: int


class Carrier:
    """``deliver`` is called on the mixing thread with a batch that the loop is to ``take`` there and then."""

    def __init__(
        self, now_us: Callable[[], int], deliver: Callable[[Batch], None], keep: Callable[[EncodedPacket, int], None]
    ) -> None:
        self._now_us = now_us
        self._deliver = deliver
        self._keep = keep
        self._source: Source | None = None
        self._origin_us: int | None = None
        self._offset: int | None = None
        self._last: dict[str, int] = {}
        self._batch: list[tuple[EncodedPacket, int]] = []
        self._lock = threading.Lock()
        self._waiting = 0
        self._is_dropping = False
        #: what is written is thrown away
        self.is_muted = False
        #: whether packets were dropped since the last look; a keyframe is wanted
        self.dropped = False

    def follow(self, source: Source) -> None:
        """What is written from now on comes from there."""
        self._source = source
        self._offset = None

    def write(self, packet: EncodedPacket) -> None:
        if self.is_muted:
            return
        source = self._source
        assert source is not None
        origin = source.origin_us
        assert origin is not None
        if self._origin_us is None:
            self._origin_us = origin
        if self._offset is None:
            self._offset = (origin - self._origin_us) * TICKS // 1_000_000
        time = packet.time + self._offset
        moment = source.server_clock.to_server(origin) + packet.time * 1_000_000 // TICKS
        last = self._last.get(packet.codec)
        if last is not None and packet.kind == "audio" and time - last < SAME_PIECE:
            return
        if last is not None and time <= last:
            time = last + 1
        self._last[packet.codec] = time
        placed = packet if time == packet.time else replace(packet, time=time)
        self._keep(placed, moment)
        self._batch.append((placed, moment))

    def flush(self) -> None:
        """After each round of the mixing thread."""
        source, batch = self._source, self._batch
        if not batch or source is None:
            return
        self._batch = []
        with self._lock:
            if self._waiting + len(batch) > MAX_WAITING:
                self._is_dropping = self.dropped = True
                return
            if self._is_dropping:
                batch = self._from_keyframe(batch)
                if not batch:
                    return
            self._waiting += len(batch)
        newest = max(moment for _, moment in batch)
        self._deliver(Batch(batch, max(0, source.server_clock.to_server(self._now_us()) - newest)))

    def _from_keyframe(self, batch: list[tuple[EncodedPacket, int]]) -> list[tuple[EncodedPacket, int]]:
        """Sound needs none: there may never be a picture."""
        kept = []
        for packet, moment in batch:
            if packet.kind == "video":
                if self._is_dropping and not packet.keyframe:
                    self.dropped = True
                    continue
                self._is_dropping = False
            kept.append((packet, moment))
        return kept

    def taken(self, batch: Batch) -> None:
        """On the loop: there is room for as many again."""
        with self._lock:
            self._waiting -= len(batch.packets)

    @property
    def length(self) -> int:
        """Of the output, in ticks."""
        return max(self._last.values(), default=-1) + 1
