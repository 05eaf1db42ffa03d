"""Parts of periods put together, and how their figures spread."""

from typing import Any

from rtcloud.media.figures import ParticipantStats, SubscriptionStats, TrackStats
from rtcloud.media.node import Stats
from rtcloud.rooms.measuring import Measurements, Spread


def track(name: str = "TR_1", **fields: Any) -> TrackStats:
    row: dict[str, Any] = dict.fromkeys(TrackStats.__struct_fields__, 0)
    row |= {"participant": "PA_a", "track": name, "rid": "", "codec": "vp8", "flowing": True, "receivers": 1}
    return TrackStats(**(row | fields))


def sent(to: str = "PA_b", name: str = "TR_1", **fields: Any) -> SubscriptionStats:
    row: dict[str, Any] = dict.fromkeys(SubscriptionStats.__struct_fields__, 0)
    row |= {"participant": to, "track": name, "subscriptions": 1, "rid": "", "packets": 1, "rtt_ms": -1.0}
    return SubscriptionStats(**(row | fields))


def part(serial: int, number: int, of: int, *rows: TrackStats | SubscriptionStats | ParticipantStats) -> Stats:
    return Stats(
        room="RM_1",
        serial=serial,
        part=number,
        parts=of,
        period_ms=2000,
        tracks=[row for row in rows if isinstance(row, TrackStats)],
        subscriptions=[row for row in rows if isinstance(row, SubscriptionStats)],
        participants=[row for row in rows if isinstance(row, ParticipantStats)],
    )


def test_a_period_is_whole_with_its_last_part_and_kept_until_the_next() -> None:
    measured = Measurements()
    assert measured.take(part(1, 1, 2, sent())) is None
    assert measured.take(part(1, 1, 2, sent())) is None
    assert measured.of("RM_1") is None
    whole = measured.take(part(1, 0, 2, track()))
    assert whole is measured.of("RM_1")
    assert whole is not None
    assert (len(whole.tracks), len(whole.subscriptions)) == (1, 1)
    assert measured.take(part(2, 0, 2, track())) is None
    assert measured.of("RM_1") is whole
    measured.forget("RM_1")
    assert measured.of("RM_1") is None
    assert measured.layers() == (0, 0)


def test_a_period_that_misses_a_part_is_given_up_for_the_next() -> None:
    measured = Measurements()
    assert measured.take(part(1, 0, 2, track("TR_old"))) is None
    whole = measured.take(part(2, 0, 1, track("TR_new")))
    assert whole is not None
    assert [row.track for row in whole.tracks] == ["TR_new"]
    assert measured.totals["track_freezes"] == 0


def test_figures_are_spread_and_added_up_over_all_rooms() -> None:
    measured = Measurements()
    rows: list[TrackStats | SubscriptionStats] = [
        track(bitrate=500_000, freezes=2),
        track(flowing=False, freezes=1),
        sent(loss=0.3, resent=7, nacks=9),
    ]
    measured.take(part(1, 0, 1, *rows, ParticipantStats(participant="PA_b", estimate=300_000)))
    assert measured.layers() == (1, 1)
    assert measured.totals["track_freezes"] == 3
    assert (measured.totals["subscription_nacks"], measured.totals["subscription_resent"]) == (9, 7)
    assert dict(measured.spreads["track_bitrate"].buckets)["+Inf"] == 1
    assert dict(measured.spreads["subscription_loss"].buckets) | {"0.2": 0, "0.3": 1, "+Inf": 1} == dict(
        measured.spreads["subscription_loss"].buckets
    )
    assert dict(measured.spreads["estimate"].buckets)["512000.0"] == 1
    assert dict(measured.spreads["subscription_rtt_ms"].buckets)["+Inf"] == 0, "it is not known"


def test_each_bucket_holds_those_below_it() -> None:
    spread = Spread((1.0, 10.0))
    for value in (0.0, 1.0, 5.0, 10.5, 99.0):
        spread.add(value)
    assert spread.buckets == [("1.0", 2), ("10.0", 3), ("+Inf", 5)]
    assert spread.total == 115.5
