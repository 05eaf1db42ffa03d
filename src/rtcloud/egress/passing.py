"""Video that goes through as it came: access units between arrival and their moment.

Invariant: what is given on begins with a keyframe that carries its parameter sets, and has no hole: after a loss
nothing comes until the next keyframe, which is asked for. Only H.264 goes through; anything else is told once.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import av

from rtcloud.mixer.video import Encoded, sniff

#: how often a keyframe is asked for while one is missing
ASK_EVERY_US = 500_000
#: access units that wait for their moment; over it everything up to the next keyframe is dropped
MAX_WAITING = 300
_PARAMETER_SETS = (7, 8)


@dataclass(frozen=True, slots=True)
class Unit:
    placed_us: int
    data: bytes
    keyframe: bool


class PassedVideo:
    """One track's. ``refuse`` is called with the codec when the video is not H.264, and with "" when it is again."""

    def __init__(self, refuse: Callable[[str], None]) -> None:
        self._refuse = refuse
        self._queue: deque[Unit] = deque()
        self._parameter_sets: dict[int, bytes] = {}
        self._refused = ""
        self.is_waiting = True  # for a keyframe
        self._asked_us: int | None = None

    @property
    def first_us(self) -> int | None:
        """The moment of the first access unit that waits."""
        return self._queue[0].placed_us if self._queue else None

    def restart(self) -> None:
        """What comes from now on does not continue what came."""
        self._queue.clear()
        self.is_waiting, self._asked_us = True, None

    def lost(self) -> None:
        """Frames were dropped before they came here."""
        self.is_waiting = True

    def push(self, frame: Encoded, placed_us: int) -> bool:
        """Whether it will be given on, as far as can be said now."""
        if frame.keyframe:
            self._start(frame.data)
        elif not frame.contiguous:
            self.is_waiting = True
        if self.is_waiting or self._refused:
            return False
        data = self._with_parameter_sets(frame.data) if frame.keyframe else frame.data
        if len(self._queue) >= MAX_WAITING:
            self._queue.clear()
            self.is_waiting = not frame.keyframe
        if not self.is_waiting:
            self._queue.append(Unit(placed_us, data, frame.keyframe))
        return not self.is_waiting

    def due(self, until_us: int) -> Iterator[Unit]:
        while self._queue and self._queue[0].placed_us < until_us:
            yield self._queue.popleft()

    def asks(self, now_us: int, *, wanted: bool = False) -> bool:
        """Whether to ask for a keyframe now, because one is missing or else ``wanted``."""
        if not (self.is_waiting or wanted):
            return False
        if self._asked_us is not None and now_us - self._asked_us < ASK_EVERY_US:
            return False
        self._asked_us = now_us
        return True

    def _start(self, data: bytes) -> None:
        codec = {"h264": "", "vp8": "VP8", None: "other"}[sniff(data)]
        if codec != self._refused:
            self._refused = codec
            self._refuse(codec)
        self.is_waiting = bool(codec)

    def _with_parameter_sets(self, keyframe: bytes) -> bytes:
        """Some publishers send them once; whoever comes in later needs them at each keyframe."""
        found = parameter_sets(keyframe)
        self._parameter_sets |= found
        missing = [
            self._parameter_sets[kind] for kind in _PARAMETER_SETS if kind in self._parameter_sets.keys() - found.keys()
        ]
        return b"".join(b"\0\0\0\1" + unit for unit in missing) + keyframe


def nal_units(data: bytes) -> list[bytes]:
    """Of an access unit in Annex B."""
    parts = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return parts[1:]


def parameter_sets(keyframe: bytes) -> dict[int, bytes]:
    """H.264's, by their type."""
    return {unit[0] & 31: unit for unit in nal_units(keyframe) if unit and unit[0] & 31 in _PARAMETER_SETS}


def picture_size(keyframe: bytes, codec: str = "h264") -> tuple[int, int] | None:
    """Of a keyframe with its parameter sets; None when it cannot be told."""
    try:
        decoder = cast(av.VideoCodecContext, av.CodecContext.create("hevc" if codec == "h265" else codec, "r"))
        frames = [*decoder.decode(av.Packet(keyframe)), *decoder.decode(None)]
    except av.FFmpegError:
        return None
    return next(((frame.width, frame.height) for frame in frames), None)
