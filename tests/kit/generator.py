"""People as a recorder's engine hands them out, without a room: encoded frames on virtual time, as fast as may be.

Each person has three clocks that run wrong by so many millionths: the crystal of the sound, that of the pictures, and
the wall clock of the machine, which sender reports relate the two to. What becomes of their times on the way is done as
the server and the client do it (``crates/sfu/src/clock.rs``, ``crates/client/src/capture.rs``), from arrivals with
jitter; so a frame's ``capture_us`` has the errors that it has in life, and frames of one track come in order while
tracks overtake each other.

Acts flash and beep when their crystals say that a second is over: ``flashes`` and ``beeps`` tell when that really was.
"""

import heapq
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rtcloud.client.types import Participant, RemoteTrack
from tests.kit.acts import PACKET, PACKETS_PER_SECOND, RATE, Act
from tests.kit.frames import Frame

#: the virtual time of everything's beginning
START_US = 1_700_000_000_000_000
#: on the way to the recorder: at least, and at most so much more
TRANSIT_US, JITTER_US = 12_000, 120_000
#: from a picture's capture to its sending
ENCODE_US = 15_000
_PICTURE_RATE = 90_000
_REPORTS_US = {"audio": 5_000_000, "video": 1_000_000}
#: the first reports of a stream come so soon
_FIRST_REPORT_US = 250_000
_LEAK_PPM = 100.0
_WRAP = 0xFFFFFFFF


@dataclass(frozen=True)
class Guest:
    """``begins`` is in seconds after ``START_US``; clocks are so many millionths fast."""

    user_id: str
    act: Act
    begins: float = 0.0
    sound_ppm: float = 0.0
    picture_ppm: float = 0.0
    wall_ppm: float = 0.0

    @property
    def participant(self) -> Participant:
        source, heard = ("screen_share", "screen_share_audio") if self.act.screen else ("camera", "microphone")
        tracks = []
        if self.act.sound:
            tracks.append(RemoteTrack(f"a-{self.user_id}", self.user_id, "audio", heard, False))  # type: ignore[arg-type]
        if self.act.picture:
            width, height = self.act.width, self.act.height
            tracks.append(RemoteTrack(f"v-{self.user_id}", self.user_id, "video", source, False, width, height))  # type: ignore[arg-type]
        return Participant(self.user_id, f"PA_{self.user_id}", tuple(tracks))

    def flashes(self, begin: float, end: float) -> list[float]:
        """When the flashes between two moments were captured, in seconds after ``START_US``."""
        return self._seconds(self.picture_ppm, begin, end)

    def beeps(self, begin: float, end: float) -> list[float]:
        return self._seconds(self.sound_ppm, begin, end)

    def _seconds(self, ppm: float, begin: float, end: float) -> list[float]:
        moments = (self.begins + second / (1 + ppm / 1e6) for second in itertools.count())
        return list(itertools.dropwhile(lambda at: at < begin, itertools.takewhile(lambda at: at < end, moments)))


@dataclass(slots=True)
class _Publisher:
    """The offset that the server keeps of one publisher's clock: the least transit, which may grow slowly."""

    ppm: float
    offset: float | None = None
    at: float = 0.0

    def wall(self, at_us: float) -> float:
        """What the publisher's own clock shows."""
        return at_us * (1 + self.ppm / 1e6) + 3_600e6

    def observe(self, at: float, transit: float) -> float:
        if self.offset is not None:
            transit = min(transit, self.offset + max(0.0, at - self.at) * _LEAK_PPM / 1e6)
        self.offset, self.at = transit, at
        return transit


@dataclass(slots=True)
class _Track:
    """Of one stream: the reports that the server has of it, and those that the client has of the server's."""

    track_id: str
    kind: str
    units: Sequence[bytes]
    per_second: int
    rate: int
    ppm: float
    begins_us: float
    lag_us: float
    keyframe_every: int
    publisher: _Publisher
    rtp_base: int
    count: int = 0
    reported_us: float = -1.0  # when the publisher did last
    arrived_us: float = 0.0
    known: tuple[float, int] | None = None  # the publisher's clock, RTP time
    told: tuple[int, int] | None = None  # RTP time, server's clock
    told_us: float = 0.0
    held: list[Frame] = field(default_factory=list)

    def captured(self, count: float) -> float:
        return self.begins_us + count / self.per_second / (1 + self.ppm / 1e6) * 1e6

    def rtp(self, at_us: float) -> int:
        return self.rtp_base + round((at_us - self.begins_us) / 1e6 * (1 + self.ppm / 1e6) * self.rate) & _WRAP

    def map(self, rtp_time: int, arrival: float) -> float:
        """As the server does: when it was captured, on the server's clock."""
        assert self.known is not None
        assert self.publisher.offset is not None
        captured = self.known[0] + _signed(rtp_time - self.known[1]) / self.rate * 1e6
        if captured + self.publisher.offset > arrival:
            self.publisher.observe(arrival, arrival - captured)
        return captured + self.publisher.offset

    def hand_out(self, frame: Frame, mapped: float) -> list[Frame]:
        """As the client does: frames wait for the first report."""
        if self.told is None or frame.arrival_us - self.told_us >= _REPORTS_US[self.kind]:
            if self.told is None and not self.held:
                self.told_us = frame.arrival_us
            if self.told is not None or frame.arrival_us - self.told_us >= _FIRST_REPORT_US:
                self.told, self.told_us = (frame.rtp_time, round(mapped)), frame.arrival_us
        self.held.append(frame)
        if self.told is None:
            return []
        rtp, unix_us = self.told
        ready = [
            Frame(
                each.track,
                each.data,
                each.rtp_time,
                unix_us + _signed(each.rtp_time - rtp) * 1_000_000 // self.rate,
                each.arrival_us,
                each.keyframe,
            )
            for each in self.held
        ]
        self.held.clear()
        return ready


@dataclass(order=True, slots=True)
class _UnderWay:
    """A frame (or, with ``rtp_time`` None, a report) that arrives at ``at``."""

    at: float
    number: int
    track: _Track = field(compare=False)
    data: bytes = field(compare=False, default=b"")
    rtp_time: int | None = field(compare=False, default=None)
    keyframe: bool = field(compare=False, default=False)
    report: tuple[float, int] = field(compare=False, default=(0.0, 0))


class Generator:
    """``until`` gives what arrives before a moment (virtual microseconds), in the order of arrival."""

    def __init__(self, guests: Sequence[Guest], seed: int = 1) -> None:
        self.guests = guests
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._under_way: list[_UnderWay] = []
        self._tracks = [track for guest in guests for track in self._tracks_of(guest)]

    def until(self, at_us: int) -> list[Frame]:
        for track in self._tracks:
            for each in self._sent(track, at_us):
                heapq.heappush(self._under_way, each)
        frames: list[Frame] = []
        while self._under_way and self._under_way[0].at <= at_us:
            frames += self._arrived(heapq.heappop(self._under_way))
        return frames

    def _tracks_of(self, guest: Guest) -> Iterator[_Track]:
        act, publisher = guest.act, _Publisher(guest.wall_ppm)
        for track in guest.participant.tracks:
            is_sound = track.kind == "audio"
            rate = RATE if is_sound else _PICTURE_RATE
            yield _Track(
                track_id=track.track_id,
                kind=track.kind,
                units=act.packets() if is_sound else act.pictures(),
                per_second=PACKETS_PER_SECOND if is_sound else act.fps,
                rate=rate,
                ppm=guest.sound_ppm if is_sound else guest.picture_ppm,
                begins_us=START_US + guest.begins * 1e6,
                # a packet of sound cannot leave before its last sample was heard
                lag_us=PACKET / RATE * 1e6 if is_sound else ENCODE_US,
                keyframe_every=1 if is_sound else act.fps,
                publisher=publisher,
                rtp_base=(1 << 32) - 30 * rate,  # wraps after half a minute
            )

    def _sent(self, track: _Track, until_us: float) -> Iterator[_UnderWay]:
        while (captured := track.captured(track.count)) + track.lag_us < until_us:
            sent = captured + track.lag_us
            if sent - track.reported_us >= _REPORTS_US[track.kind]:
                track.reported_us = sent
                yield self._on_its_way(sent, track, report=(track.publisher.wall(sent), track.rtp(sent)))
            yield self._on_its_way(
                sent,
                track,
                data=track.units[track.count % len(track.units)],
                rtp_time=track.rtp_base + track.count * (track.rate // track.per_second) & _WRAP,
                keyframe=track.count % track.keyframe_every == 0,
            )
            track.count += 1

    def _on_its_way(
        self,
        sent: float,
        track: _Track,
        *,
        data: bytes = b"",
        rtp_time: int | None = None,
        keyframe: bool = False,
        report: tuple[float, int] = (0.0, 0),
    ) -> _UnderWay:
        late = TRANSIT_US + self._random.random() ** 6 * JITTER_US
        track.arrived_us = max(track.arrived_us, sent + late)
        return _UnderWay(track.arrived_us, next(self._numbers), track, data, rtp_time, keyframe, report)

    def _arrived(self, what: _UnderWay) -> list[Frame]:
        track = what.track
        if what.rtp_time is None:
            track.known = what.report
            track.publisher.observe(what.at, what.at - what.report[0])
            return []
        frame = Frame(track.track_id, what.data, what.rtp_time, None, round(what.at), what.keyframe)
        return track.hand_out(frame, track.map(what.rtp_time, what.at))


def _signed(difference: int) -> int:
    return ((difference + 0x80000000) & _WRAP) - 0x80000000
