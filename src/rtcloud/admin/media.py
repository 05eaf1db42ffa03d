"""``rtcloud admin media``, and ``rtcloud media top``: what goes through the media engine now."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site
from rtcloud.media.figures import NodeStatus, SubscriptionStats, TrackStats
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.measuring import Period
from rtcloud.rooms.quality import grade
from rtcloud.rooms.room import Room

#: Rows of each kind in an answer, those with most bits first.
MOST_ROWS = 1000


class MediaTop(Command, tag="media.top", kw_only=True):
    """Rooms, tracks and threads of the media engine, with the figures of the last two seconds.

    Bitrates are those of payloads. Losses are before repair, and of a track also what was never repaired (``lost``).
    ``quality`` is 1 excellent to 5 very bad, of loss and round trip, 0 unknown."""

    example: ClassVar[str] = "media top --app 1400000001"
    app: Annotated[str | None, Flag("SDKAPPID", "of this application only")] = None
    room: Annotated[str | None, Flag("ROOM", "of this room only")] = None
    receivers: Annotated[bool, Flag("", "also what each receiver is sent")] = False

    async def run(self, site: Site) -> object:
        if site.rooms is None:
            raise AdminError("no server runs here: nothing goes through it (rtcloud serve)")
        app = None if self.app is None else naming.application(site, self.app).sdk_app_id
        chosen = [
            (ref, room, period)
            for ref, room, period in site.rooms.measured()
            if app in (None, ref.sdk_app_id) and self.room in (None, ref.room_id)
        ]
        measured = [(ref, room, period) for ref, room, period in chosen if period is not None]
        answer: dict[str, object] = {
            **_node(site.rooms.media_status()),
            "rooms": _most([_room(ref, room, period) for ref, room, period in chosen], "kbit/s out"),
            "tracks": _most([row for ref, room, period in measured for row in _tracks(ref, room, period)], "kbit/s"),
        }
        if self.receivers:
            rows = [row for ref, room, period in measured for row in _receivers(ref, room, period)]
            answer["receivers"] = _most(rows, "kbit/s")
        return answer


def _node(status: NodeStatus) -> dict[str, object]:
    return {
        "packets": {
            "received": status.packets_received,
            "sent": status.packets_sent,
            "dropped": status.packets_dropped,
        },
        "kbit/s sent": round(status.bitrate_sent / 1000),
        "dropped": {reason: count for reason, count in status.refused.items() if count},
        "threads": [
            {"thread": number, "cpu %": round(shard.cpu * 100, 1), "rooms": shard.rooms, "people": shard.participants}
            for number, shard in enumerate(status.shards)
        ],
    }


def _room(ref: RoomRef, room: Room, period: Period | None) -> dict[str, object]:
    figures = period or Period(0, 0)
    estimates = [one.estimate for one in figures.participants if one.estimate]
    return {
        "application": ref.sdk_app_id,
        "room": ref.room_id,
        "people": len(room.participants),
        "tracks": len({track.track for track in figures.tracks if track.flowing}),
        "kbit/s in": _kilobits(figures.tracks),
        "kbit/s out": _kilobits(figures.subscriptions),
        "loss in %": _worst(figures.tracks, "raw_loss"),
        "loss out %": _worst(figures.subscriptions, "loss"),
        "least estimate kbit/s": round(min(estimates) / 1000) if estimates else None,
        "freezes": sum(row.freezes for row in figures.tracks) + sum(row.freezes for row in figures.subscriptions),
    }


def _tracks(ref: RoomRef, room: Room, period: Period) -> list[dict[str, object]]:
    rows = []
    for one in period.tracks:
        owner, track = room.state.find(one.track)
        if owner is None or track is None:
            continue
        rows.append(
            {
                "application": ref.sdk_app_id,
                "room": ref.room_id,
                "user": owner.user_id,
                "track": track.right if track.kind == "video" else "audio",
                "layer": one.rid,
                "codec": one.codec,
                "size": _size(one),
                "fps": round(one.fps, 1) if track.kind == "video" else None,
                "kbit/s": round(one.bitrate / 1000, 1),
                "loss %": round(one.raw_loss * 100, 2),
                "lost %": round(one.loss * 100, 2),
                "jitter ms": round(one.jitter_ms, 1),
                "rtt ms": _known(one.rtt_ms),
                "receivers": one.receivers,
                "freezes": one.freezes,
                "frozen ms": one.frozen_ms,
                "nacks": one.nacks,
                "plis": one.plis,
                "quality": grade(one.raw_loss, one.rtt_ms).level if one.flowing else 0,
                "packets": one.packets,
                "bytes": one.bytes,
                "period": period.serial,
                "period ms": period.period_ms,
            }
        )
    return rows


def _receivers(ref: RoomRef, room: Room, period: Period) -> list[dict[str, object]]:
    estimates = {one.participant: one.estimate for one in period.participants}
    rows = []
    for one in period.subscriptions:
        receiver = room.sessions.get(one.participant)
        owner, track = room.state.find(one.track)
        if receiver is None:
            continue
        rows.append(
            {
                "application": ref.sdk_app_id,
                "room": ref.room_id,
                "user": receiver.user_id,
                "of": owner.user_id if owner is not None else f"{one.subscriptions} tracks",
                "track": "" if track is None else track.right,
                "layer": one.rid,
                "size": _size(one),
                "fps": round(one.fps, 1) if track is not None and track.kind == "video" else None,
                "kbit/s": round(one.bitrate / 1000, 1),
                "loss %": round(one.loss * 100, 2),
                "lost in all": one.lost,
                "jitter ms": round(one.jitter_ms, 1),
                "rtt ms": _known(one.rtt_ms),
                "estimate kbit/s": round(estimates[one.participant] / 1000) if estimates.get(one.participant) else None,
                "freezes": one.freezes,
                "frozen ms": one.frozen_ms,
                "nacks": one.nacks,
                "plis": one.plis,
                "resent": one.resent,
                "quality": grade(one.loss, one.rtt_ms).level if one.packets else 0,
                "packets": one.packets,
                "bytes": one.bytes,
                "period": period.serial,
                "period ms": period.period_ms,
            }
        )
    return rows


def _most(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -row[by])[:MOST_ROWS]


def _kilobits(rows: Sequence[TrackStats | SubscriptionStats]) -> int:
    return round(sum(row.bitrate for row in rows) / 1000)


def _worst(rows: Sequence[object], name: str) -> float:
    return round(max((getattr(row, name) for row in rows), default=0.0) * 100, 2)


def _size(row: TrackStats | SubscriptionStats) -> str:
    return f"{row.width}x{row.height}" if row.width else ""


def _known(value: float) -> float | None:
    return round(value, 1) if value >= 0 else None


COMMANDS = (MediaTop,)
