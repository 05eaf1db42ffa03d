"""When each packet of a pulled source is due: read ahead, made fit a moment before, released in time. Pure.

A source is played at the pace of the server's clock from an anchor on. The anchor stands still for what can wait (a
file); it moves later when packets come too late to be played (an outage: the rest follows where the gap was), and for
what comes as it happens it follows the source's clock, slower than anybody hears. Both kinds share it, so pictures and
sound stay in step.

Bounded: reading ahead stops at ``AHEAD_US`` of each kind, or at ``AHEAD_BYTES``, or at ``FARTHEST_US`` of one kind when
the other does not come; of what the pipeline made no more than ``MOST_MADE`` packets wait.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rtcloud.ingest.clock import Continuity
from rtcloud.ingest.media import Kind, RoomPacket, SourcePacket
from rtcloud.ingest.pull.timeline import Piece

AHEAD_US = 3_000_000
AHEAD_BYTES = 16 << 20
FARTHEST_US = 10_000_000
REFILL_US = 500_000
MOST_MADE = 2_000
#: before it is due, a packet goes into the pipeline
LEAD_US = 250_000
#: read before the first is played, and kept as the distance of what comes as it happens
CUSHION_US = 300_000
#: one kind ahead by so much does not wait for the other any more
ALONE_US = 2_000_000
#: a packet so much too late moves the anchor
LATE_US = 40_000
#: of the anchor, for what comes as it happens
SLEW = 500e-6
WINDOW_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Cut:
    """What follows does not continue what was."""


class Playout:
    """``is_live``: what comes cannot wait, nor be had again. ``kinds``: how many streams come."""

    def __init__(self) -> None:
        self._queues: dict[Kind, deque[Piece]] = {}
        self._bytes = 0
        self._made: deque[RoomPacket] = deque()
        self._anchor_us: float | None = None
        self._paused_us: int | None = None
        self._mirror = Continuity()  # does what the pipeline's does
        self._shift_us = 0
        self._fed_epoch: int | None = None
        self._fed_us = 0
        self._first_us: int | None = None
        self._is_complete = False
        self._least_us: float | None = None  # earliness of this window
        self._window_us = 0
        self._was_full = False
        self._slew_us = 0.0
        self._taken_us = 0
        self.is_live = False
        self.kinds = 1
        self.shifts = 0  # how often the anchor was moved

    # What is read -----------------------------------------------------------------------------------------------------

    @property
    def ahead_us(self) -> int:
        """Of the kind that is least ahead."""
        spans = [_span(queue) for queue in self._queues.values()]
        return min(spans, default=0) if len(spans) >= self.kinds else 0

    @property
    def waiting_us(self) -> int:
        """What was read and not yet played is about so long."""
        return self.ahead_us + LEAD_US

    @property
    def is_full(self) -> bool:
        full = self._bytes >= AHEAD_BYTES or self.ahead_us >= AHEAD_US or self._farthest_us >= FARTHEST_US
        self._was_full |= full
        return full

    @property
    def has_room(self) -> bool:
        """Reading may go on: for half a second at once, not packet by packet."""
        if self._bytes > AHEAD_BYTES * 3 // 4 or self._farthest_us > FARTHEST_US - REFILL_US:
            return False
        return self.ahead_us <= AHEAD_US - REFILL_US

    @property
    def is_ready(self) -> bool:
        """Enough is there to begin."""
        if self._is_complete or self.ahead_us + self._fed_us_of_start >= CUSHION_US:
            return True
        return self._bytes >= AHEAD_BYTES or self._farthest_us >= ALONE_US

    @property
    def is_started(self) -> bool:
        return self._anchor_us is not None

    @property
    def is_over(self) -> bool:
        """Nothing will come, and all that came is in the pipeline or through."""
        return self._is_complete and not any(self._queues.values())

    @property
    def has_made(self) -> bool:
        return bool(self._made)

    def has_played(self, now_us: int) -> bool:
        """All that came has been heard and seen."""
        if not self.is_over or self._made or self._paused_us is not None:
            return False
        return self._first_us is None or (self._anchor_us is not None and now_us >= self._anchor_us + self._fed_us)

    def put(self, piece: Piece, now_us: int) -> bool:
        """Whether it is to be taken at once."""
        packet = piece.packet
        self._queues.setdefault(packet.kind, deque()).append(piece)
        self._bytes += len(packet.data)
        if self._anchor_us is None or self._paused_us is not None:
            return True
        early = self._anchor_us + packet.dts_us + self._shift_us - now_us
        if early < -LATE_US:
            self._anchor_us += -early + (CUSHION_US if self.is_live else 0)
            self.shifts += 1
            self._begin_window(now_us)
        elif self.is_live:
            self._observe(early, now_us)
        return early < LEAD_US

    def complete(self) -> None:
        """Nothing comes any more."""
        self._is_complete = True

    def restart(self) -> None:
        """Forget what waits; the next that comes is played as soon as it can be."""
        self._queues.clear()
        self._made.clear()
        self._bytes = 0
        self._anchor_us = self._first_us = self._least_us = None
        self._is_complete = False

    # What is due ------------------------------------------------------------------------------------------------------

    def take(self, now_us: int) -> list[SourcePacket | Cut]:
        """What goes into the pipeline now."""
        if self._paused_us is not None or not self._is_aligned():
            return []
        self._follow(now_us)
        due: list[SourcePacket | Cut] = []
        while (queue := self._next()) is not None:
            head = queue[0].packet
            if head.dts_us + self._shift_us > self._limit_us(head, now_us):
                break
            piece = queue.popleft()
            self._bytes -= len(head.data)
            if self._fed_epoch is not None and piece.epoch != self._fed_epoch:
                self._mirror.cut()
                due.append(Cut())
            self._fed_epoch = piece.epoch
            self._shift_us = self._mirror.shift(head.kind, head.dts_us, head.pts_us)
            self._fed_us = head.dts_us + self._shift_us
            if self._first_us is None:
                self._first_us = self._fed_us
            due.append(head)
        return due

    def made(self, packets: Sequence[RoomPacket]) -> bool:
        """The pipeline's. Whether the first of them may be due before anything else."""
        is_next = not self._made or self._anchor_us is None
        self._made.extend(packets)
        while len(self._made) > MOST_MADE:
            self._made.popleft()
        return is_next

    def start(self, now_us: int) -> None:
        """The first that waits is due now."""
        first = min((packet.time_us for packet in self._made), default=self._first_us)
        if first is not None:
            self._anchor_us = now_us - first
            self._begin_window(now_us)

    def release(self, now_us: int) -> list[tuple[RoomPacket, int]]:
        """What goes into the room now, each with its moment."""
        if self._anchor_us is None or self._paused_us is not None:
            return []
        due = []
        while self._made and (at := round(self._anchor_us + self._made[0].time_us)) <= now_us:
            due.append((self._made.popleft(), at))
        return due

    def next_us(self, now_us: int) -> int | None:
        """When there will be something to release; None: not before something else happens."""
        if self._paused_us is not None or self._anchor_us is None or not self._made:
            return None
        return max(now_us, round(self._anchor_us + self._made[0].time_us))

    # Pause ------------------------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        return self._paused_us is not None

    def pause(self, now_us: int) -> None:
        if self._paused_us is None:
            self._paused_us = now_us

    def resume(self, now_us: int) -> None:
        if self._paused_us is not None:
            if self._anchor_us is not None:
                self._anchor_us += now_us - self._paused_us
            self._paused_us = None
            self._begin_window(now_us)

    # ------------------------------------------------------------------------------------------------------------------

    @property
    def _fed_us_of_start(self) -> int:
        return 0 if self._first_us is None else self._fed_us - self._first_us

    @property
    def _farthest_us(self) -> int:
        return max((_span(queue) for queue in self._queues.values()), default=0)

    def _is_aligned(self) -> bool:
        """What is live begins with its first picture: sound that came while that was waited for would only be late."""
        if not self.is_live or self._anchor_us is not None or self._first_us is not None or self._is_complete:
            return True
        is_alone = sum(map(bool, self._queues.values())) < self.kinds
        if is_alone and self._farthest_us < ALONE_US:
            return False
        pictures, sound = self._queues.get("video"), self._queues.get("audio")
        while pictures and sound and sound[0].packet.dts_us < pictures[0].packet.dts_us - LATE_US:
            self._bytes -= len(sound.popleft().packet.data)
        while is_alone and sound and _span(sound) > CUSHION_US:
            self._bytes -= len(sound.popleft().packet.data)
        return True

    def _next(self) -> deque[Piece] | None:
        """The queue whose head comes first."""
        queues = [queue for queue in self._queues.values() if queue]
        return min(queues, key=lambda queue: (queue[0].epoch, queue[0].packet.dts_us), default=None)

    def _limit_us(self, head: SourcePacket, now_us: int) -> float:
        if self._anchor_us is not None:
            return now_us - self._anchor_us + LEAD_US
        first = self._first_us if self._first_us is not None else head.dts_us + self._shift_us
        return first + LEAD_US

    def _begin_window(self, now_us: int) -> None:
        self._least_us, self._window_us, self._was_full, self._slew_us = None, now_us, False, 0.0
        self._taken_us = now_us

    def _observe(self, early: float, now_us: int) -> None:
        self._least_us = early if self._least_us is None else min(self._least_us, early)
        if now_us - self._window_us >= WINDOW_US:
            # who is made to wait shows nothing of the source's clock
            self._slew_us = 0.0 if self._was_full else CUSHION_US - self._least_us
            self._least_us, self._window_us, self._was_full = None, now_us, False

    def _follow(self, now_us: int) -> None:
        if self._anchor_us is not None and self._slew_us:
            limit = (now_us - self._taken_us) * SLEW
            step = max(-limit, min(limit, self._slew_us))
            self._anchor_us += step
            self._slew_us -= step
        self._taken_us = now_us


def _span(queue: deque[Piece]) -> int:
    return queue[-1].packet.dts_us - queue[0].packet.dts_us if queue else 0
