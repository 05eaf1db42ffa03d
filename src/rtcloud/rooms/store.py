"""The rows of a room's life, and the callbacks they cause: one transaction for both.

Also reads what was open when the server stopped, so that users may come back to it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.outbox import enqueue
from rtcloud.rooms import commands
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Kind, Participant, Role, Stream
from rtcloud.store import tables

_STARTED = {"video": 201, "audio": 203, "aux": 205}
_STOPPED = {"video": 202, "audio": 204, "aux": 206}


def apply(connection: Connection, ref: RoomRef, sid: str, scene: str, record: commands.Record, now_ms: int) -> None:
    """Write one record of room ``sid`` and enqueue the callback it causes."""
    match record:
        case commands.RoomCreated(user_id):
            connection.execute(
                insert(tables.rooms).values(
                    id=sid,
                    sdk_app_id=ref.sdk_app_id,
                    numeric=ref.numeric,
                    room_id=ref.room_id,
                    scene=scene,
                    created_ms=now_ms,
                )
            )
            enqueue(connection, room_event(ref, 101, now_ms, user_id=user_id), now_ms)
        case commands.RoomDestroyed():
            rooms = tables.rooms
            connection.execute(update(rooms).where(rooms.c.id == sid).values(destroyed_ms=now_ms))
            enqueue(connection, room_event(ref, 102, now_ms), now_ms)
        case commands.PresenceBegan():
            _begin_presence(connection, ref, sid, record, now_ms)
        case commands.PresenceEnded():
            _end_presence(connection, ref, record, now_ms)
        case commands.RoleChanged(presence, user_id, role):
            presences = tables.presences
            connection.execute(update(presences).where(presences.c.id == presence).values(role=int(role)))
            enqueue(connection, room_event(ref, 105, now_ms, user_id=user_id, role=int(role)), now_ms)
        case commands.DeviceChanged(presence, device):
            presences = tables.presences
            connection.execute(update(presences).where(presences.c.id == presence).values(**_device_columns(device)))
        case commands.UserBlocked(user_id, kinds):
            _block(connection, sid, user_id, kinds)
        case commands.RoomMetadataChanged(metadata):
            rooms = tables.rooms
            connection.execute(update(rooms).where(rooms.c.id == sid).values(metadata=metadata))
        case commands.PublicationStarted(presence, user_id, stream):
            connection.execute(insert(tables.publications).values(presence=presence, kind=stream, started_ms=now_ms))
            enqueue(connection, room_event(ref, _STARTED[stream], now_ms, user_id=user_id), now_ms)
        case commands.PublicationStopped(presence, user_id, stream):
            publications = tables.publications
            connection.execute(
                update(publications)
                .where(publications.c.presence == presence)
                .where(publications.c.kind == stream)
                .where(publications.c.stopped_ms.is_(None))
                .values(stopped_ms=now_ms)
            )
            enqueue(connection, room_event(ref, _STOPPED[stream], now_ms, user_id=user_id, reason=0), now_ms)
        case commands.SubscriptionChanged():
            _change_subscription(connection, record, now_ms)


def _begin_presence(
    connection: Connection, ref: RoomRef, sid: str, record: commands.PresenceBegan, now_ms: int
) -> None:
    device = record.device
    connection.execute(
        insert(tables.presences).values(
            id=record.presence,
            room=sid,
            user_id=record.user_id,
            role=int(record.role),
            joined_ms=now_ms,
            **_device_columns(device),
        )
    )
    event = room_event(
        ref,
        103,
        now_ms,
        user_id=record.user_id,
        role=int(record.role),
        terminal_type=device.terminal_type,
        user_type=device.user_type,
        reason=int(record.reason),
    )
    enqueue(connection, event, now_ms)


def _device_columns(device: Device) -> dict[str, int | str]:
    return {
        "user_type": device.user_type,
        "terminal_type": device.terminal_type,
        "device_type": device.device_type[:64],
        "sdk_version": device.sdk_version[:64],
        "client_address": device.client_address[:64],
    }


def _block(connection: Connection, sid: str, user_id: str, kinds: frozenset[Kind]) -> None:
    blocks = tables.room_blocks
    connection.execute(delete(blocks).where(blocks.c.room == sid, blocks.c.user_id == user_id))
    if kinds:
        connection.execute(insert(blocks).values(room=sid, user_id=user_id, kinds=",".join(sorted(kinds))))


def _end_presence(connection: Connection, ref: RoomRef, record: commands.PresenceEnded, now_ms: int) -> None:
    presences, publications, subscriptions = tables.presences, tables.publications, tables.subscriptions
    connection.execute(
        update(presences)
        .where(presences.c.id == record.presence)
        .values(left_ms=now_ms, leave_reason=int(record.reason))
    )
    for table in (publications, subscriptions):
        connection.execute(
            update(table)
            .where(table.c.presence == record.presence)
            .where(table.c.stopped_ms.is_(None))
            .values(stopped_ms=now_ms)
        )
    event = room_event(ref, 104, now_ms, user_id=record.user_id, role=int(record.role), reason=int(record.reason))
    enqueue(connection, event, now_ms)


def _change_subscription(connection: Connection, record: commands.SubscriptionChanged, now_ms: int) -> None:
    subscriptions = tables.subscriptions
    connection.execute(
        update(subscriptions)
        .where(subscriptions.c.presence == record.presence)
        .where(subscriptions.c.publisher == record.publisher)
        .where(subscriptions.c.kind == record.stream)
        .where(subscriptions.c.stopped_ms.is_(None))
        .values(stopped_ms=now_ms)
    )
    if record.receiving:
        connection.execute(
            insert(subscriptions).values(
                presence=record.presence,
                publisher=record.publisher,
                kind=record.stream,
                width=record.width,
                height=record.height,
                started_ms=now_ms,
            )
        )


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """A room that was open when the server stopped."""

    sid: str
    ref: RoomRef
    scene: str
    created_ms: int
    participants: list[Participant]
    blocked: dict[str, frozenset[Kind]]
    metadata: str


def load_open(connection: Connection) -> list[OpenRoom]:
    rooms, presences, publications = tables.rooms, tables.presences, tables.publications
    found = []
    for room in connection.execute(select(rooms).where(rooms.c.destroyed_ms.is_(None))).all():
        participants = []
        rows = connection.execute(
            select(presences)
            .where(presences.c.room == room.id)
            .where(presences.c.left_ms.is_(None))
            .order_by(presences.c.joined_ms)
        ).all()
        for row in rows:
            sending: set[Stream] = set(
                connection.scalars(
                    select(publications.c.kind)
                    .where(publications.c.presence == row.id)
                    .where(publications.c.stopped_ms.is_(None))
                )
            )
            device = Device(row.user_type, row.terminal_type, row.device_type, row.sdk_version, row.client_address)
            participants.append(
                Participant(
                    presence=row.id,
                    participant_id="",
                    user_id=row.user_id,
                    role=Role(row.role),
                    device=device,
                    joined_ms=row.joined_ms,
                    sending=sending,
                )
            )
        ref = RoomRef(room.sdk_app_id, room.numeric, room.room_id)
        found.append(
            OpenRoom(
                room.id, ref, room.scene, room.created_ms, participants, _blocks(connection, room.id), room.metadata
            )
        )
    return found


def _blocks(connection: Connection, sid: str) -> dict[str, frozenset[Kind]]:
    blocks = tables.room_blocks
    rows = connection.execute(select(blocks.c.user_id, blocks.c.kinds).where(blocks.c.room == sid))
    return {user_id: frozenset(kinds.split(",")) for user_id, kinds in rows}
