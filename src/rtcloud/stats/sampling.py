"""Samples of quality from what the media node measured of a room. Pure.

A user's own side is what it sends; with a peer it is what it receives of that one. A screen's sound counts with sound.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from rtcloud.media.figures import SubscriptionStats, TrackStats
from rtcloud.rooms.measuring import Period
from rtcloud.stats.samples import Sample

#: Rooms with more subscriptions keep what each user sends, and not what each receives of each.
MOST_PAIRS = 256

Row = TrackStats | SubscriptionStats
#: (owner's user id, ``audio``, ``video`` or ``aux``) of a track; None: it has gone.
Find = Callable[[str], tuple[str, str] | None]


def sent(period: Period, find: Find) -> dict[str, dict[str, float]]:
    """By participant, the fields of a sample of its own side."""
    rows = defaultdict[tuple[str, str], list[TrackStats]](list)
    for row in period.tracks:
        found = find(row.track)
        if found is not None and row.flowing:
            rows[row.participant, found[1]].append(row)
    fields = defaultdict[str, dict[str, float]](dict)
    for (participant, stream), streams in rows.items():
        fields[participant] |= _fields(stream, streams)
        jitter = max(row.jitter_ms for row in streams)
        fields[participant]["jitter_ms"] = max(jitter, fields[participant].get("jitter_ms", 0.0))
    return dict(fields)


def received(period: Period, find: Find, now_ms: int) -> Iterator[tuple[str, str, Sample]]:
    """(participant, peer's user id, sample) of what everybody gets of everybody."""
    if len(period.subscriptions) > MOST_PAIRS or any(row.subscriptions > 1 for row in period.subscriptions):
        return
    rows = defaultdict[tuple[str, str], dict[str, list[SubscriptionStats]]](lambda: defaultdict(list))
    for row in period.subscriptions:
        found = find(row.track)
        if found is not None and row.packets:
            rows[row.participant, found[0]][found[1]].append(row)
    for (participant, peer), streams in rows.items():
        fields: dict[str, float] = {}
        for stream, of_it in streams.items():
            fields |= _fields(stream, of_it)
        every = [row for of_it in streams.values() for row in of_it]
        fields["jitter_ms"] = max(row.jitter_ms for row in every)
        fields["downlink_loss"] = max(row.loss for row in every)
        fields["downlink_bitrate"] = sum(row.bitrate for row in every)
        if (rtt := max(row.rtt_ms for row in every)) >= 0:
            fields["rtt_ms"] = rtt
        yield participant, peer, Sample(now_ms, **fields)  # type: ignore[arg-type]  # each as its field is


def _fields(stream: str, rows: Iterable[Row]) -> dict[str, float]:
    """Layers of one picture are sent together; what is seen of them is the largest that somebody gets."""
    rows = list(rows)
    shown = [row for row in rows if not isinstance(row, TrackStats) or row.receivers] or rows
    largest = max(shown, key=lambda row: row.width * row.height)
    packets = sum(row.packets for row in rows)
    fields: dict[str, float] = {
        f"{stream}_loss": sum(row.loss * row.packets for row in rows) / packets if packets else 0.0,
        f"{stream}_bitrate": sum(row.bitrate for row in rows),
        f"{stream}_stalled_ms": largest.frozen_ms,
    }
    if stream != "audio":
        fields[f"{stream}_fps"] = largest.fps
        if largest.width:
            fields |= {f"{stream}_width": largest.width, f"{stream}_height": largest.height}
    return fields
