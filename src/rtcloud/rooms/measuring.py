"""What the media node measures of each room: the newest whole period, and how figures spread since the start. Pure.

Of one room at most one period is kept, and one that is being put together; of all together a few numbers. Bounds of a
``Spread`` are fixed, so that neither rooms nor users make more of them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from rtcloud.media import node as media
from rtcloud.media.figures import ParticipantStats, SubscriptionStats, TrackStats

BITRATES = (16e3, 32e3, 64e3, 128e3, 256e3, 512e3, 1e6, 2e6, 4e6, 8e6)
LOSSES = (0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
TIMES_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 350.0, 500.0, 1000.0)
RATES = (1.0, 5.0, 10.0, 15.0, 20.0, 24.0, 30.0, 45.0, 60.0)


@dataclass(slots=True)
class Period:
    """The figures of a room over about two seconds. A new one has a new ``serial``."""

    serial: int
    period_ms: int
    tracks: list[TrackStats] = field(default_factory=list)
    subscriptions: list[SubscriptionStats] = field(default_factory=list)
    participants: list[ParticipantStats] = field(default_factory=list)


class Spread:
    """How often a value was at most each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each with those below it."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


class Measurements:
    """``spreads`` and ``totals`` by name, of all rooms since the start."""

    def __init__(self) -> None:
        self._whole: dict[str, Period] = {}
        self._growing: dict[str, tuple[Period, set[int]]] = {}
        self.spreads = {
            "track_bitrate": Spread(BITRATES),
            "track_loss": Spread(LOSSES),
            "track_jitter_ms": Spread(TIMES_MS),
            "track_fps": Spread(RATES),
            "subscription_bitrate": Spread(BITRATES),
            "subscription_loss": Spread(LOSSES),
            "subscription_jitter_ms": Spread(TIMES_MS),
            "subscription_rtt_ms": Spread(TIMES_MS),
            "estimate": Spread(BITRATES),
        }
        self.totals = dict.fromkeys(
            [
                *(f"{side}_{name}" for side in ("track", "subscription") for name in ("freezes", "frozen_ms")),
                *(f"{side}_{name}" for side in ("track", "subscription") for name in ("nacks", "plis")),
                "subscription_resent",
            ],
            0,
        )

    def take(self, event: media.Stats) -> Period | None:
        """The period that is whole with this part. One that misses a part when the next begins is given up."""
        growing, parts = self._growing.get(event.room, (None, set[int]()))
        if growing is None or growing.serial != event.serial:
            growing, parts = Period(event.serial, event.period_ms), set()
            self._growing[event.room] = (growing, parts)
        if event.part in parts:
            return None
        parts.add(event.part)
        growing.tracks += event.tracks
        growing.subscriptions += event.subscriptions
        growing.participants += event.participants
        if len(parts) < event.parts:
            return None
        del self._growing[event.room]
        self._whole[event.room] = growing
        self._add(growing)
        return growing

    def of(self, sid: str) -> Period | None:
        return self._whole.get(sid)

    def forget(self, sid: str) -> None:
        self._whole.pop(sid, None)
        self._growing.pop(sid, None)

    def layers(self) -> tuple[int, int]:
        """Streams that come in now, and those of them that somebody gets."""
        flowing = [track for period in self._whole.values() for track in period.tracks if track.flowing]
        return len(flowing), sum(track.receivers > 0 for track in flowing)

    def _add(self, period: Period) -> None:
        spreads, totals = self.spreads, self.totals
        for track in period.tracks:
            if track.flowing:
                spreads["track_bitrate"].add(track.bitrate)
                spreads["track_loss"].add(track.loss)
                spreads["track_jitter_ms"].add(track.jitter_ms)
                if track.width:
                    spreads["track_fps"].add(track.fps)
            totals["track_freezes"] += track.freezes
            totals["track_frozen_ms"] += track.frozen_ms
            totals["track_nacks"] += track.nacks
            totals["track_plis"] += track.plis
        for sent in period.subscriptions:
            if sent.packets:
                spreads["subscription_bitrate"].add(sent.bitrate)
                spreads["subscription_loss"].add(sent.loss)
                spreads["subscription_jitter_ms"].add(sent.jitter_ms)
                if sent.rtt_ms >= 0:
                    spreads["subscription_rtt_ms"].add(sent.rtt_ms)
            totals["subscription_freezes"] += sent.freezes
            totals["subscription_frozen_ms"] += sent.frozen_ms
            totals["subscription_nacks"] += sent.nacks
            totals["subscription_plis"] += sent.plis
            totals["subscription_resent"] += sent.resent
        for participant in period.participants:
            if participant.estimate:
                spreads["estimate"].add(participant.estimate)
