"""What comes from one opening of a source after the other, as one stream of packets on one timeline. Pure.

A source that is opened again in the middle (its connection broke) goes on exactly behind the last packet that came; one
that begins anew (the next round, another address) begins with a keyframe, behind all that came before. Jumps of a
source's clock are taken out (``Continuity``).
"""

from dataclasses import dataclass, replace

from rtcloud.ingest.clock import Continuity
from rtcloud.ingest.media import Kind, SourcePacket

#: a hole of more than this, where a source goes on, is one that pictures do not bridge
HOLE_US = 500_000
#: a first packet so far before the place that was asked for: the source cannot seek, and is read up to there
UNSOUGHT_US = 15_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """``epoch`` rises with each packet that does not continue those before."""

    packet: SourcePacket
    epoch: int


class Timeline:
    def __init__(self) -> None:
        self._continuity = Continuity()
        self._last: dict[Kind, int] = {}  # decoding times, on the source's clock
        self._epoch = 0
        self._begin_us = 0
        self._until_us: int | None = None  # what is before is left out
        self._is_first = self._goes_on = False
        self._from_us = 0
        self._wants_keyframe = True

    @property
    def position_us(self) -> int:
        """Up to where the source has been read, from its beginning."""
        return max(0, min(self._last.values(), default=0) - self._begin_us)

    def begin(self, begin_us: int, from_us: int = 0) -> None:
        """A source, or the next round of it, begins."""
        self._begin_us, self._from_us = begin_us, from_us
        self._is_first, self._goes_on, self._until_us = True, False, None
        self._wants_keyframe = True
        if self._last:
            self._cut()
        self._last = {}

    def restart(self) -> None:
        """What comes next does not continue what came, though the source is the same."""
        self.begin(self._begin_us)

    def go_on(self, begin_us: int) -> None:
        """The same one once more, from somewhere before where it broke."""
        self._begin_us, self._goes_on, self._is_first, self._until_us = begin_us, True, False, None

    def place(self, packet: SourcePacket) -> Piece | None:
        """None for what is not to be played."""
        if self._is_first:
            self._is_first = False
            if packet.dts_us - self._begin_us < self._from_us - UNSOUGHT_US:
                self._until_us = self._begin_us + self._from_us
        if self._until_us is not None and packet.dts_us < self._until_us:
            return None
        last = self._last.get(packet.kind)
        if self._goes_on and last is not None:
            if packet.dts_us <= last:
                return None
            if packet.kind == "video" and packet.dts_us - last > HOLE_US:
                self._wants_keyframe = True
                self._cut()
            self._goes_on = self._goes_on and packet.kind != "video"
        if packet.kind == "video":
            if self._wants_keyframe and not packet.keyframe:
                return None
            self._wants_keyframe = False
        self._last[packet.kind] = packet.dts_us
        shift = self._continuity.shift(packet.kind, packet.dts_us, packet.pts_us)
        placed = replace(packet, pts_us=packet.pts_us + shift, dts_us=packet.dts_us + shift) if shift else packet
        return Piece(placed, self._epoch)

    def _cut(self) -> None:
        self._continuity.cut()
        self._epoch += 1
