"""The outbox: callbacks as rows, written by the same transaction as the change that causes them.

Every function takes the connection of a ``Database.write`` or ``read`` work. A row exists only when the application
has a target for the event's group at that moment. ``id`` is the delivery order within one ``ordering`` (a room).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, literal, select, update

from rtcloud.callbacks.events import CallbackEvent
from rtcloud.store.tables import callback_targets, callbacks

TOPIC = "callbacks"  # of the bus: something was enqueued
ERROR_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Due:
    """The oldest pending event of one room. ``url`` is None when the group's target was removed meanwhile."""

    id: int
    sdk_app_id: int
    ordering: str
    event_group: int
    event_type: int
    event_info: str
    created_ms: int
    attempts: int
    url: str | None
    key_sealed: bytes | None


@dataclass(frozen=True, slots=True)
class Parked:
    id: int
    sdk_app_id: int
    ordering: str
    event_group: int
    event_type: int
    event_info: str
    created_ms: int
    attempts: int
    last_error: str


def enqueue(connection: Connection, event: CallbackEvent, now_ms: int) -> None:
    """Add ``event`` to the outbox, unless nobody wants its group."""
    target = (callback_targets.c.sdk_app_id == event.ref.sdk_app_id) & (callback_targets.c.event_group == event.group)
    values = {
        "sdk_app_id": event.ref.sdk_app_id,
        "ordering": event.ref.ordering,
        "event_group": event.group,
        "event_type": event.type,
        "event_info": event.info_json,
        "created_ms": now_ms,
        "state": "pending",
        "attempts": 0,
        "next_attempt_ms": now_ms,
        "last_error": "",
    }
    wanted = select(*(literal(value) for value in values.values())).where(select(1).where(target).exists())
    connection.execute(insert(callbacks).from_select(list(values), wanted))


def due(
    connection: Connection, now_ms: int, limit: int, *, busy: Sequence[str] = (), full: Sequence[int] = ()
) -> list[Due]:
    """The head of each room's queue that may be tried now, oldest first, without the rooms ``busy`` and the
    applications ``full``."""
    heads = (
        select(func.min(callbacks.c.id).label("id"))
        .where(callbacks.c.state == "pending")
        .group_by(callbacks.c.ordering)
        .subquery()
    )
    rows = connection.execute(
        select(
            callbacks.c.id,
            callbacks.c.sdk_app_id,
            callbacks.c.ordering,
            callbacks.c.event_group,
            callbacks.c.event_type,
            callbacks.c.event_info,
            callbacks.c.created_ms,
            callbacks.c.attempts,
            callback_targets.c.url,
            callback_targets.c.key_sealed,
        )
        .join(heads, heads.c.id == callbacks.c.id)
        .outerjoin(
            callback_targets,
            (callback_targets.c.sdk_app_id == callbacks.c.sdk_app_id)
            & (callback_targets.c.event_group == callbacks.c.event_group),
        )
        .where(
            callbacks.c.next_attempt_ms <= now_ms,
            callbacks.c.ordering.not_in(busy),
            callbacks.c.sdk_app_id.not_in(full),
        )
        .order_by(callbacks.c.id)
        .limit(limit)
    )
    return [Due(**row._mapping) for row in rows]


def mark_delivered(connection: Connection, callback_id: int, now_ms: int) -> None:
    _after_attempt(connection, callback_id, now_ms, state="delivered", delivered_ms=now_ms, last_error="")


def mark_retry(connection: Connection, callback_id: int, now_ms: int, *, next_ms: int, error: str) -> None:
    _after_attempt(connection, callback_id, now_ms, next_attempt_ms=next_ms, last_error=error[:ERROR_CHARACTERS])


def mark_parked(connection: Connection, callback_id: int, now_ms: int, *, error: str) -> None:
    _after_attempt(connection, callback_id, now_ms, state="parked", last_error=error[:ERROR_CHARACTERS])


def list_parked(connection: Connection, sdk_app_id: int | None = None, limit: int = 1000) -> list[Parked]:
    statement = select(
        callbacks.c.id,
        callbacks.c.sdk_app_id,
        callbacks.c.ordering,
        callbacks.c.event_group,
        callbacks.c.event_type,
        callbacks.c.event_info,
        callbacks.c.created_ms,
        callbacks.c.attempts,
        callbacks.c.last_error,
    ).where(callbacks.c.state == "parked")
    if sdk_app_id is not None:
        statement = statement.where(callbacks.c.sdk_app_id == sdk_app_id)
    return [Parked(*row) for row in connection.execute(statement.order_by(callbacks.c.id).limit(limit))]


def replay(
    connection: Connection, now_ms: int, *, sdk_app_id: int | None = None, ids: Sequence[int] | None = None
) -> int:
    """Make parked events pending again, with a new minute of retries and before newer ones of their room."""
    statement = update(callbacks).where(callbacks.c.state == "parked")
    if sdk_app_id is not None:
        statement = statement.where(callbacks.c.sdk_app_id == sdk_app_id)
    if ids is not None:
        statement = statement.where(callbacks.c.id.in_(ids))
    fresh = {"state": "pending", "attempts": 0, "created_ms": now_ms, "next_attempt_ms": now_ms}
    return connection.execute(statement.values(fresh)).rowcount


def count_by_state(connection: Connection, sdk_app_id: int | None = None) -> dict[str, int]:
    statement = select(callbacks.c.state, func.count()).group_by(callbacks.c.state)
    if sdk_app_id is not None:
        statement = statement.where(callbacks.c.sdk_app_id == sdk_app_id)
    return {state: number for state, number in connection.execute(statement)}


def _after_attempt(connection: Connection, callback_id: int, now_ms: int, **values: object) -> None:
    connection.execute(
        update(callbacks)
        .where(callbacks.c.id == callback_id)
        .values(
            attempts=callbacks.c.attempts + 1,
            first_attempt_ms=func.coalesce(callbacks.c.first_attempt_ms, now_ms),
            **values,
        )
    )
