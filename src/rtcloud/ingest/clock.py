"""From a source's clock to the server's: jumps made continuous, and the moment that a time stands for. Pure.

``Continuity`` takes the jumps out of a source's times. Both streams share each shift, so pictures and sound stay in
step over a jump that one of them makes a moment before the other.

``LiveClock`` places the times of a source that arrives as it happens. A packet cannot come before it was captured, so
the least delayed packets tell the distance of the two clocks; it follows drift without steps, and only a distance that
cannot be drift is taken over at once. What it gives is never later than ``EARLY_US`` after now.
"""

from dataclasses import dataclass

from rtcloud.ingest.media import Kind

#: a step forward beyond this is a jump of the clock, unless it leads to where the other stream is: then it is a pause
FORWARD_US = 2_000_000
BESIDE_US = 1_500_000
#: without another stream a pause may be so long
ALONE_US = 10_000_000
#: a step backward up to this is a muxer's wobble
BACKWARD_US = 100_000
#: a jump is the same as the other stream's when that one's shift brings it so near
NEAR_US = 5_000_000
#: the distance between two packets that is assumed over a jump
STEP_US = 20_000
MAX_STEP_US = 100_000
#: a picture is not believed to be shown later than this after it is decoded
MAX_REORDER_US = 1_000_000
#: a source's clock that begins elsewhere is moved to its zero at once
LATEST_BEGIN_US = 10**15

#: the least delay of this long counts
WINDOW_US = 10_000_000
#: so long after the beginning every better delay is taken at once: what came first may have waited in queues
BEGINNING_US = 10_000_000
SLEW = 500e-6
#: a packet that comes so much sooner than any did lately is no reason for a step
EARLY_US = 20_000
#: so much less delay than ever means that all before was late
CLEARED_US = 250_000
#: so much more delay all along for ``JUMPED_FOR_US`` means that the source stood still
JUMPED_US = 1_000_000
JUMPED_FOR_US = 500_000


@dataclass(slots=True)
class _Stream:
    epoch: int
    shift_us: int
    dts_us: int  # the last one, on the source's clock
    shown_us: int  # the latest moment at which one of them is shown
    step_us: int = STEP_US

    @property
    def end_us(self) -> int:
        return self.dts_us + self.shift_us + self.step_us

    @property
    def shown_until_us(self) -> int:
        return max(self.dts_us, self.shown_us) + self.shift_us + self.step_us


class Continuity:
    """``shift`` says what to add to a packet's times. Between two jumps lies an epoch: one shift for both streams."""

    def __init__(self) -> None:
        self._streams: dict[Kind, _Stream] = {}
        self._epoch = 0
        self._cut_epoch = 0  # streams of earlier ones go over to the newest without being asked
        self._is_cut = False
        self._shift_us = 0
        self.jumps = 0

    def cut(self) -> None:
        """What comes next does not continue what came, whatever its times say."""
        self._is_cut = bool(self._streams)

    def shift(self, kind: Kind, dts_us: int, pts_us: int | None = None) -> int:
        """What comes after a cut is shown behind all that was, so pictures that are reordered leave no hole there."""
        stream = self._streams.get(kind)
        shown_us = dts_us if pts_us is None else max(dts_us, min(pts_us, dts_us + MAX_REORDER_US))
        if not self._streams:
            self._shift_us = 0 if 0 <= dts_us <= LATEST_BEGIN_US else -dts_us
        elif self._is_cut:
            self._begin(shown_us, max(each.shown_until_us for each in self._streams.values()))
            self._is_cut, self._cut_epoch = False, self._epoch
        elif stream is None or stream.epoch < self._cut_epoch:
            if abs(dts_us + self._shift_us - self._end_us) > NEAR_US:
                self._begin(dts_us)
        elif self._jumps(stream, dts_us):
            if stream.epoch == self._epoch or abs(dts_us + self._shift_us - stream.end_us) > NEAR_US:
                self._begin(dts_us)
        else:
            if 0 < dts_us - stream.dts_us <= MAX_STEP_US:
                stream.step_us = dts_us - stream.dts_us
            stream.dts_us, stream.shown_us = dts_us, max(stream.shown_us, shown_us)
            return stream.shift_us
        if stream is None:
            self._streams[kind] = stream = _Stream(self._epoch, self._shift_us, dts_us, shown_us)
        stream.epoch, stream.shift_us = self._epoch, self._shift_us
        stream.dts_us, stream.shown_us = dts_us, shown_us
        return self._shift_us

    def _jumps(self, stream: _Stream, dts_us: int) -> bool:
        step = dts_us - stream.dts_us
        if step <= FORWARD_US:
            return step < -BACKWARD_US
        at = dts_us + stream.shift_us
        others = [each.end_us for each in self._streams.values() if each is not stream]
        running = [end for end in others if end > stream.end_us - ALONE_US]
        return all(abs(at - end) > BESIDE_US for end in running) if running else step > ALONE_US

    def _begin(self, time_us: int, end_us: int | None = None) -> None:
        """A new epoch, behind all that came."""
        self.jumps += 1
        self._epoch += 1
        self._shift_us = (self._end_us if end_us is None else end_us) - time_us

    @property
    def _end_us(self) -> int:
        return max(each.end_us for each in self._streams.values())


class LiveClock:
    """``now_us`` is the server's clock and does not go back."""

    def __init__(self) -> None:
        self._offset_us: float | None = None
        self._anchored_us = 0
        self._newest_us = 0  # of the source's times
        self._window_us = 0
        self._least_us = 0.0  # of this window
        self._before_us = 0.0  # of the one before
        self._behind_since_us: int | None = None
        self._behind_least_us = 0.0

    def place(self, time_us: int, now_us: int) -> int:
        delay = float(now_us - time_us)
        if self._offset_us is None:
            self._newest_us = time_us
            self._anchor(delay, now_us)
        else:
            self._observe(delay, now_us, max(0, time_us - self._newest_us))
        assert self._offset_us is not None
        self._newest_us = max(self._newest_us, time_us)
        return min(now_us + EARLY_US, time_us + round(self._offset_us))

    def _anchor(self, delay: float, now_us: int) -> None:
        self._offset_us = self._least_us = self._before_us = delay
        self._anchored_us = self._window_us = now_us
        self._behind_since_us = None

    def _observe(self, delay: float, now_us: int, passed_us: int) -> None:
        assert self._offset_us is not None
        if now_us - self._window_us >= WINDOW_US:
            self._before_us, self._least_us, self._window_us = self._least_us, delay, now_us
        self._least_us = min(self._least_us, delay)
        less = self._offset_us - delay
        if less > CLEARED_US:
            self._anchor(delay, now_us)
            return
        if less > 0 and now_us - self._anchored_us < BEGINNING_US:
            self._offset_us = delay
        if self._has_jumped(delay, now_us):
            self._anchor(self._behind_least_us, now_us)
            return
        target = min(self._least_us, self._before_us)
        limit = passed_us * SLEW
        self._offset_us += max(-limit, min(limit, target - self._offset_us))

    def _has_jumped(self, delay: float, now_us: int) -> bool:
        assert self._offset_us is not None
        if delay - self._offset_us <= JUMPED_US:
            self._behind_since_us = None
            return False
        if self._behind_since_us is None:
            self._behind_since_us, self._behind_least_us = now_us, delay
        self._behind_least_us = min(self._behind_least_us, delay)
        return now_us - self._behind_since_us >= JUMPED_FOR_US
