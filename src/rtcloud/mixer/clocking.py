"""Puts every frame of every user on one clock: the mixer's own, which never steps.

Frames carry two times of the server's wall clock: when they were captured (from RTCP sender reports) and when they
arrived. The mixer runs on local time: wall time at its start, moved on by the monotonic clock. ``ServerClock`` knows
the distance between the two and follows it only when it steps, so a corrected wall clock neither stops nor tears the
output. ``UserClock`` places the frames of one user; all tracks of a user are shifted alike, so they stay in step.

Invariant: a placed time is never later than the arrival, nor earlier than ``MAX_AGE_US`` before it.
"""

#: a capture time further back than this is not believed
MAX_AGE_US = 5_000_000
#: clocks whose distance may as well be a delay of this length are taken for equal
ALIKE_US = 1_000_000
#: a frame seen by more than this before its arrival shows the clocks to differ
EARLY_US = 20_000
#: the distance of two clocks is followed downwards when it was less by more than this for the whole window
STEP_US = 500_000
STEP_WINDOW_US = 2_000_000
#: a user whose every frame of this period comes later than the mixer waits is moved to be in time
LATE_WINDOW_US = 3_000_000


class ServerClock:
    """Turns the server's times into local ones."""

    def __init__(self) -> None:
        self._offset_us: int | None = None  # server − local
        self._window_start_us = 0
        self._window_best_us: int | None = None

    @property
    def offset_us(self) -> int:
        return self._offset_us or 0

    def observe(self, arrival_us: int, now_us: int) -> None:
        """A frame that reached the server at ``arrival_us`` was seen here at ``now_us``: this much later or, if our
        clocks differ, it only seems so. Clocks are taken for equal as long as that can be; no frame is seen before it
        arrived, and the least delayed frame of a window tells a large distance."""
        distance = arrival_us - now_us
        if self._offset_us is None:
            self._offset_us = 0 if -ALIKE_US < distance <= 0 else distance
        if distance > self._offset_us + EARLY_US:
            self._offset_us = distance
        if self._window_best_us is None:
            self._window_start_us = now_us
            self._window_best_us = distance
        self._window_best_us = max(self._window_best_us, distance)
        if now_us - self._window_start_us >= STEP_WINDOW_US:
            if self._offset_us - self._window_best_us > STEP_US:
                self._offset_us = self._window_best_us
            self._window_best_us = None

    def to_local(self, server_us: int) -> int:
        return server_us - self.offset_us

    def to_server(self, local_us: int) -> int:
        return local_us + self.offset_us


class UserClock:
    """Places the frames of one user's tracks. ``patience_us`` is how long the mixer waits for late frames."""

    def __init__(self, patience_us: int) -> None:
        self._patience_us = patience_us
        self._delay_us: float | None = None  # smoothed arrival − capture
        self._shift_us = 0
        self._window_start_us = 0
        self._window_best_us: int | None = None

    def place(self, capture_us: int | None, arrival_us: int) -> int:
        """Both times and the result are local. Without a capture time, the usual delay of this user is assumed."""
        if capture_us is None:
            return arrival_us - round(self._delay_us or 0)
        capture_us = max(arrival_us - MAX_AGE_US, min(arrival_us, capture_us))
        delay = arrival_us - capture_us
        self._delay_us = delay if self._delay_us is None else self._delay_us + (delay - self._delay_us) / 16
        self._follow(delay, arrival_us)
        return min(arrival_us, capture_us + self._shift_us)

    def _follow(self, delay_us: int, now_us: int) -> None:
        """Shifts the user when even the least delayed frame of a window came too late, and back when that is over."""
        if self._window_best_us is None:
            self._window_start_us = now_us
            self._window_best_us = delay_us
        self._window_best_us = best = min(self._window_best_us, delay_us)
        if now_us - self._window_start_us < LATE_WINDOW_US:
            return
        self._window_best_us = None
        margin = self._patience_us // 4
        if best - self._shift_us > self._patience_us - margin:
            self._shift_us = best - margin
        elif best < self._shift_us:
            self._shift_us = max(0, best - margin)
