"""Events that could not be delivered: seen, delivered after all, or forgotten. They are kept until one of the two.

The functions take the connection of a ``Database.write`` or ``read`` work, like those of the outbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, exists, select, update

from rtcloud.callbacks.statements import IS_HEAD, IS_PARKED, IS_PENDING, settle_heads
from rtcloud.store.tables import callback_targets, callbacks

REMOVED = "the callback address was removed"


@dataclass(frozen=True, slots=True)
class Which:
    """Parked events by everything that is not None. ``ordering`` is a room's (``RoomRef.ordering``); the time is when
    the event entered the outbox, from ``from_ms`` until before ``to_ms``."""

    sdk_app_id: int | None = None
    ids: Sequence[int] | None = None
    ordering: str | None = None
    event_types: Sequence[int] | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def condition(self) -> ColumnElement[bool]:
        wanted = IS_PARKED
        if self.sdk_app_id is not None:
            wanted &= callbacks.c.sdk_app_id == self.sdk_app_id
        if self.ids is not None:
            wanted &= callbacks.c.id.in_(self.ids)
        if self.ordering is not None:
            wanted &= callbacks.c.ordering == self.ordering
        if self.event_types is not None:
            wanted &= callbacks.c.event_type.in_(self.event_types)
        if self.from_ms is not None:
            wanted &= callbacks.c.created_ms >= self.from_ms
        if self.to_ms is not None:
            wanted &= callbacks.c.created_ms < self.to_ms
        return wanted


ALL = Which()

_HAS_TARGET = exists().where(
    callback_targets.c.sdk_app_id == callbacks.c.sdk_app_id,
    callback_targets.c.event_group == callbacks.c.event_group,
)


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


def list_parked(connection: Connection, which: Which = ALL, *, after_id: int = 0, limit: int = 1000) -> list[Parked]:
    """Oldest first; ``after_id`` is the last one of the page before."""
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
            callbacks.c.last_error,
        )
        .where(which.condition(), callbacks.c.id > after_id)
        .order_by(callbacks.c.id)
        .limit(limit)
    )
    return [Parked(*row) for row in rows]


def replay(connection: Connection, now_ms: int, which: Which = ALL) -> int:
    """Make parked events pending again, with a new minute of retries, in their order and before newer ones of their
    room that are still pending. How many there were."""
    fresh = {
        "state": "pending",
        "attempts": 0,
        "first_attempt_ms": None,
        "retries_from_ms": now_ms,
        "next_attempt_ms": now_ms,
    }
    count = connection.execute(update(callbacks).where(which.condition()).values(fresh)).rowcount
    if count:
        settle_heads(connection)
    return count


def purge(connection: Connection, which: Which = ALL) -> int:
    """Forget parked events for good. How many there were."""
    return connection.execute(delete(callbacks).where(which.condition())).rowcount


def has_unaddressed(connection: Connection) -> bool:
    """Whether a room waits for an address that is not there any more."""
    return connection.execute(select(callbacks.c.id).where(IS_HEAD, ~_HAS_TARGET).limit(1)).first() is not None


def park_unaddressed(connection: Connection) -> int:
    """Set aside what has no address any more. How many there were."""
    values = {"state": "parked", "head": False, "last_error": REMOVED}
    count = connection.execute(update(callbacks).where(IS_PENDING, ~_HAS_TARGET).values(values)).rowcount
    if count:
        settle_heads(connection)
    return count
