"""One track's media between arrival and its moment: what is due when.

``AudioTimeline`` holds decoded samples at sample positions of the mixer's clock. Within a run of packets RTP time says
where each belongs (exact to the sample); the placed time of each packet only steers: a lasting difference is slipped
away by stretching frames up to ``SLIP_RATE`` (too little to hear), a large one is jumped over. So a sender whose clock
runs fast or slow stays within a few milliseconds for ever, and jitter of the placed times never reaches the ear.

``VideoTimeline`` holds encoded frames in decoding order.

Both are bounded, and both drop what comes after its moment: audio entirely, video only from view (later frames refer to
it).
"""

from collections import deque
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]  # channels × samples, ±1

RATE = 48_000
#: smoothed difference at which slipping starts and ends, and at which a run is placed anew
SLIP_START = RATE * 3 // 1000
SLIP_END = RATE // 2000
JUMP = RATE * 20 // 1000
#: difference or hole at which nothing of the old run counts any more
RESTART = RATE // 5
SLIP_RATE = 0.005
#: packets over which the difference is smoothed
STEADY = 32
STEADY_GUESSED = 512
#: how long a hole is filled from the sound before it, and how long sound fades in after one
CONCEAL = RATE // 100
FADE_IN = RATE * 25 // 10_000
#: what a track may hold
MAX_SAMPLES = RATE * 6
MAX_FRAMES = 600
MAX_BYTES = 32 << 20

_MIRROR_FADE = np.linspace(0.8, 0.0, CONCEAL, dtype=np.float32)
_RAMP = np.linspace(0.0, 1.0, FADE_IN, dtype=np.float32)


class AudioTimeline:
    """Positions are samples at 48 kHz since the mixer's origin; reads go forward without holes."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._blocks: deque[tuple[int, Samples]] = deque()
        self._held = 0
        self._read = 0  # nothing before this will be read again
        self._next_rtp: int | None = None
        self._next = 0  # position after the last pushed packet
        self._difference = 0.0
        self._slipping = False
        self._is_exact = False
        self._tail: Samples | None = None  # the last sound read, while a hole may follow
        self._hole = True
        self.late = 0  # packets that came after their moment
        self.jumps = 0

    def push(self, at: int, rtp_time: int, samples: Samples, *, is_exact: bool = True) -> None:
        """One decoded packet whose placed time is position ``at``. That time ``is_exact`` when it comes from the
        sender's clock; one guessed from the arrival starts a run but hardly steers it."""
        count = samples.shape[1]
        if count == 0:
            return
        position = self._position(at, rtp_time, is_exact)
        if position is None:
            return
        stretch = self._slip(count)
        if stretch:
            samples = _stretched(samples, count + stretch)
        self._next = position + samples.shape[1]
        self._next_rtp = (rtp_time + count) & 0xFFFFFFFF
        self._append(position, samples)

    def read(self, start: int, count: int) -> Samples | None:
        """The samples of [start, start + count); None when all of it is silence."""
        end = start + count
        out: Samples | None = None
        cursor = start
        while self._blocks and self._blocks[0][0] < end:
            position, samples = self._blocks.popleft()
            self._held -= samples.shape[1]
            if position + samples.shape[1] <= cursor:
                continue
            if position < cursor:
                samples = samples[:, cursor - position :]
                position = cursor
            if position + samples.shape[1] > end:
                self._blocks.appendleft((end, samples[:, end - position :]))
                self._held += position + samples.shape[1] - end
                samples = samples[:, : end - position]
            if out is None:
                out = np.zeros((self._channels, count), np.float32)
            self._conceal(out, cursor - start, position - start)
            piece = out[:, position - start : position - start + samples.shape[1]]
            piece[:] = samples
            if self._hole:
                ramp = min(FADE_IN, piece.shape[1])
                piece[:, :ramp] *= _RAMP[:ramp]
                self._hole = False
            self._tail = samples[:, -CONCEAL:]
            cursor = position + samples.shape[1]
        if cursor < end and self._tail is not None:
            if out is None:
                out = np.zeros((self._channels, count), np.float32)
            self._conceal(out, cursor - start, count)
        self._read = end
        return out

    def _position(self, at: int, rtp_time: int, is_exact: bool) -> int | None:
        """Where a packet belongs, or None for one that was already here."""
        becomes_exact = is_exact and not self._is_exact
        self._is_exact = self._is_exact or is_exact
        if self._next_rtp is None or becomes_exact:
            return self._restart(at)
        advance = _signed(rtp_time - self._next_rtp)
        if -RESTART < advance < 0:
            return None
        if abs(advance) >= RESTART:
            return self._restart(at)
        expected = self._next + advance
        if abs(at - expected) >= RESTART:
            self.jumps += 1
            return self._restart(at)
        self._difference += (at - expected - self._difference) / (STEADY if is_exact else STEADY_GUESSED)
        if abs(self._difference) >= JUMP:
            self.jumps += 1
            return self._restart(expected + round(self._difference))
        return expected

    def _restart(self, at: int) -> int:
        self._difference = 0.0
        self._slipping = False
        return at

    def _slip(self, count: int) -> int:
        """How many samples longer (or shorter) the next frame shall be."""
        self._slipping = abs(self._difference) > (SLIP_END if self._slipping else SLIP_START)
        if not self._slipping:
            return 0
        limit = max(1, int(count * SLIP_RATE))
        step = max(-limit, min(limit, round(self._difference)))
        self._difference -= step
        return step

    def _append(self, position: int, samples: Samples) -> None:
        filled = self._read
        if self._blocks:
            last, block = self._blocks[-1]
            filled = max(filled, last + block.shape[1])
        if position + samples.shape[1] <= filled:
            self.late += position + samples.shape[1] <= self._read
            return
        if position < filled:
            samples = samples[:, filled - position :]
            position = filled
        self._blocks.append((position, samples))
        self._held += samples.shape[1]
        while self._held > MAX_SAMPLES:
            self._held -= self._blocks.popleft()[1].shape[1]

    def _conceal(self, out: Samples, start: int, end: int) -> None:
        """Fills the hole [start, end) with the fading mirror image of the sound before it."""
        if start >= end:
            return
        self._hole = True
        if self._tail is not None:
            length = min(CONCEAL, end - start, self._tail.shape[1])
            out[:, start : start + length] = self._tail[:, ::-1][:, :length] * _MIRROR_FADE[:length]
            self._tail = None


Frame = TypeVar("Frame")


class VideoTimeline(Generic[Frame]):
    """Encoded frames with their placed times, local microseconds."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, int, Frame]] = deque()
        self._bytes = 0

    def push(self, placed_us: int, size: int, frame: Frame) -> bool:
        """False when the bound was reached: everything held was dropped, and decoding needs a keyframe."""
        self._frames.append((placed_us, size, frame))
        self._bytes += size
        if len(self._frames) <= MAX_FRAMES and self._bytes <= MAX_BYTES:
            return True
        self._frames.clear()
        self._bytes = 0
        return False

    def due(self, now_us: int) -> list[tuple[int, Frame]]:
        """Every frame whose moment has come, in decoding order."""
        out = []
        while self._frames and self._frames[0][0] <= now_us:
            placed, size, frame = self._frames.popleft()
            self._bytes -= size
            out.append((placed, frame))
        return out


def _signed(difference: int) -> int:
    """RTP time difference, wrapped to ±2³¹."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def _stretched(samples: Samples, length: int) -> Samples:
    """Linear interpolation to ``length`` samples: the change is at most ``SLIP_RATE``."""
    count = samples.shape[1]
    at = np.linspace(0, count - 1, length, dtype=np.float32)
    below = at.astype(np.intp)
    above = np.minimum(below + 1, count - 1)
    part = at - below
    stretched: Samples = samples[:, below] * (1 - part) + samples[:, above] * part
    return stretched
