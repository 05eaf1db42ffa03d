"""What is asked about the past: each function is a part of one ``Database.read``.

A room here is one life of it, by its sid. Ranges take in both ends; a room or a stay is in a range when it overlaps it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select, union_all

from rtcloud.rooms.ids import RoomRef
from rtcloud.stats.events import RefusedEntry, Stay, Stretch, UserEvent, timeline
from rtcloud.stats.samples import Sample, minute_of, unpack
from rtcloud.store.tables import (
    presences,
    publications,
    quality_minutes,
    refused_entries,
    rooms,
    subscriptions,
    user_events,
)

#: The longest range of samples: each minute is looked for by itself.
MOST_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class RoomLife:
    """``destroyed_ms`` None: still open. ``creator`` is who entered first."""

    sid: str
    ref: RoomRef
    scene: str
    created_ms: int
    destroyed_ms: int | None
    creator: str


@dataclass(frozen=True, slots=True)
class Entries:
    """Of a range of time: ``entries`` counts every entry, ``users`` each user once, ``rooms`` those with an entry."""

    rooms: int
    users: int
    entries: int


def rooms_of(
    connection: Connection,
    sdk_app_id: int,
    from_ms: int,
    to_ms: int,
    *,
    room_id: str | None = None,
    limit: int = 10,
    offset: int = 0,
) -> tuple[int, list[RoomLife]]:
    """How many rooms there were, and a page of them, the newest first."""
    found = _rooms_in(sdk_app_id, from_ms, to_ms)
    if room_id is not None:
        found = found.where(rooms.c.room_id == room_id)
    page = found.order_by(rooms.c.created_ms.desc(), rooms.c.id).limit(limit).offset(offset)
    total = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
    return total, [_room(row) for row in connection.execute(_with_creator(page))]


def find_room(connection: Connection, sdk_app_id: int, room_id: str, created_s: int) -> RoomLife | None:
    """The room that a CommId names: the second in which it was created."""
    begins = rooms.c.created_ms.between(created_s * 1000, created_s * 1000 + 999)
    found = select(rooms).where(rooms.c.sdk_app_id == sdk_app_id, rooms.c.numeric.in_((True, False)))
    found = found.where(rooms.c.room_id == room_id, begins).order_by(rooms.c.created_ms).limit(1)
    row = connection.execute(_with_creator(found)).one_or_none()
    return None if row is None else _room(row)


def users_of(
    connection: Connection,
    sid: str,
    from_ms: int,
    to_ms: int,
    *,
    user_ids: Collection[str] | None = None,
    limit: int = 6,
    offset: int = 0,
) -> tuple[int, list[Stay]]:
    """How many stays a room had, and a page of them in the order of entry."""
    found = select(*_STAY).where(presences.c.room == sid, *_overlaps(from_ms, to_ms))
    if user_ids is not None:
        found = found.where(presences.c.user_id.in_(user_ids))
    page = found.order_by(presences.c.joined_ms, presences.c.id).limit(limit).offset(offset)
    total = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
    return total, [Stay(*row) for row in connection.execute(page)]


def events_of(connection: Connection, sid: str, user_id: str, from_ms: int, to_ms: int) -> list[UserEvent]:
    """Everything that is known to have happened to a user in a room, in the order of time."""
    here = (presences.c.room == sid, presences.c.user_id == user_id)
    stays = [Stay(*row) for row in connection.execute(select(*_STAY).where(*here, *_overlaps(from_ms, to_ms)))]
    ids = [stay.presence for stay in stays]
    noted = select(*_EVENT).where(user_events.c.presence.in_(ids), user_events.c.at_ms.between(from_ms, to_ms))
    stretches = [*published(connection, ids), *received(connection, ids)]
    told = timeline(stays, stretches, (UserEvent(*row) for row in connection.execute(noted.order_by(user_events.c.id))))
    return [event for event in told if from_ms <= event.at_ms <= to_ms]


def published(connection: Connection, ids: Sequence[str]) -> list[Stretch]:
    """When these presences were sending what."""
    columns = [publications.c[name] for name in ("presence", "kind", "started_ms", "stopped_ms")]
    found = select(*columns).where(publications.c.presence.in_(ids)).order_by(publications.c.id)
    return [Stretch(*row) for row in connection.execute(found)]


def received(connection: Connection, ids: Sequence[str]) -> list[Stretch]:
    """When these presences received what, of whom, and how large."""
    names = ("presence", "kind", "started_ms", "stopped_ms", "publisher", "width", "height")
    found = select(*(subscriptions.c[name] for name in names)).where(subscriptions.c.presence.in_(ids))
    return [Stretch(*row) for row in connection.execute(found.order_by(subscriptions.c.id))]


def samples_of(
    connection: Connection, ids: Sequence[str], from_ms: int, to_ms: int
) -> dict[tuple[str, str], list[Sample]]:
    """By presence and peer ("": its own side), in the order of time. A day at most."""
    first, last = minute_of(from_ms), minute_of(to_ms)
    if last - first > MOST_MINUTES:
        raise ValueError("more than a day of samples")
    minutes = quality_minutes
    found = select(minutes.c.presence, minutes.c.peer, minutes.c.minute, minutes.c.samples).where(
        minutes.c.minute.in_(range(first, last + 1)), minutes.c.presence.in_(ids)
    )
    samples: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    for presence, peer, minute, packed in connection.execute(found.order_by(minutes.c.minute)):
        samples[presence, peer] += (one for one in unpack(minute, packed) if from_ms <= one.at_ms <= to_ms)
    return dict(samples)


def stays_of(connection: Connection, sdk_app_id: int, from_ms: int, to_ms: int) -> list[Stay]:
    """Who of an application was in which room: what its scale is counted from."""
    alive = _rooms_in(sdk_app_id, from_ms, to_ms).subquery()
    found = select(*_STAY).join(alive, alive.c.id == presences.c.room).where(*_overlaps(from_ms, to_ms))
    return [Stay(*row) for row in connection.execute(found)]


def entries_of(connection: Connection, sdk_app_id: int, from_ms: int, to_ms: int) -> Entries:
    alive = _rooms_in(sdk_app_id, from_ms, to_ms).subquery()
    counted = select(
        func.count(presences.c.room.distinct()), func.count(presences.c.user_id.distinct()), func.count()
    ).join(alive, alive.c.id == presences.c.room)
    return Entries(*connection.execute(counted.where(presences.c.joined_ms.between(from_ms, to_ms))).one())


def refused_of(connection: Connection, sdk_app_id: int, from_ms: int, to_ms: int) -> list[RefusedEntry]:
    """Who did not get in."""
    names = RefusedEntry.__dataclass_fields__
    found = select(*(refused_entries.c[name] for name in names)).where(refused_entries.c.sdk_app_id == sdk_app_id)
    found = found.where(refused_entries.c.at_ms.between(from_ms, to_ms)).order_by(refused_entries.c.at_ms)
    return [RefusedEntry(*row) for row in connection.execute(found)]


_STAY = [presences.c["id" if name == "presence" else name] for name in Stay.__dataclass_fields__]
_EVENT = [user_events.c[name] for name in UserEvent.__dataclass_fields__]


def _rooms_in(sdk_app_id: int, from_ms: int, to_ms: int) -> Select[Any]:
    """Two searches of the index, for those that are open and those that are not."""
    mine = (rooms.c.sdk_app_id == sdk_app_id, rooms.c.created_ms <= to_ms)
    alive = union_all(
        select(rooms.c.id).where(*mine, rooms.c.destroyed_ms.is_(None)),
        select(rooms.c.id).where(*mine, rooms.c.destroyed_ms >= from_ms),
    )
    return select(rooms).where(rooms.c.id.in_(alive))


def _with_creator(found: Select[Any]) -> Select[Any]:
    page = found.subquery()
    first = select(presences.c.user_id).where(presences.c.room == page.c.id).order_by(presences.c.joined_ms).limit(1)
    return select(page, func.coalesce(first.scalar_subquery(), "").label("creator"))


def _room(row: Row[Any]) -> RoomLife:
    ref = RoomRef(row.sdk_app_id, row.numeric, row.room_id)
    return RoomLife(row.id, ref, row.scene, row.created_ms, row.destroyed_ms, row.creator)


def _overlaps(from_ms: int, to_ms: int) -> Iterable[ColumnElement[bool]]:
    return (
        presences.c.joined_ms <= to_ms,
        or_(presences.c.left_ms.is_(None), presences.c.left_ms >= from_ms),
    )
