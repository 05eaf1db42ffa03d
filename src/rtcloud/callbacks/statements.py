"""What the outbox asks of the database. Made once: making a statement takes ten times as long as running it."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)

from rtcloud.store.tables import callback_targets, callbacks

# Written out, not bound: SQLite uses a partial index only when it can see that the index has every row asked for.
IS_PENDING = callbacks.c.state == literal_column("'pending'")
IS_PARKED = callbacks.c.state == literal_column("'parked'")
IS_DELIVERED = callbacks.c.state == literal_column("'delivered'")
IS_HEAD = callbacks.c.head == literal_column("1")

_earlier = callbacks.alias("earlier")
_HAS_EARLIER = exists().where(
    _earlier.c.ordering == callbacks.c.ordering,
    _earlier.c.state == literal_column("'pending'"),
    _earlier.c.id < callbacks.c.id,
)


def _make_enqueue() -> Insert:
    app, room, group = (
        bindparam("app", type_=BigInteger),
        bindparam("room", type_=Text),
        bindparam("group", type_=Integer),
    )
    now = bindparam("now", type_=BigInteger)
    waits = exists().where(callbacks.c.ordering == room, IS_PENDING)
    values: dict[str, ColumnElement[Any]] = {
        "sdk_app_id": app,
        "ordering": room,
        "event_group": group,
        "event_type": bindparam("type", type_=Integer),
        "event_info": bindparam("info", type_=Text),
        "created_ms": now,
        "retries_from_ms": now,
        "state": literal("pending"),
        "head": case((waits, literal_column("0")), else_=literal_column("1")),
        "attempts": literal(0),
        "next_attempt_ms": now,
        "last_error": literal(""),
    }
    is_wanted = exists().where(
        callback_targets.c.sdk_app_id == app,
        callback_targets.c.event_group == group,
        callback_targets.c.events.is_(None) | callback_targets.c.events.contains(bindparam("chosen", type_=Text)),
    )
    return insert(callbacks).from_select(list(values), select(*values.values()).where(is_wanted))


def _make_waiting_targets() -> Select[Any]:
    """Targets with something due, the longest waiting first."""
    earliest = (
        select(func.min(callbacks.c.next_attempt_ms))
        .where(
            IS_HEAD,
            callbacks.c.sdk_app_id == callback_targets.c.sdk_app_id,
            callbacks.c.event_group == callback_targets.c.event_group,
        )
        .scalar_subquery()
    )
    targets = select(callback_targets, earliest.label("earliest_ms")).subquery()
    return (
        select(targets)
        .where(targets.c.earliest_ms <= bindparam("now"))
        .order_by(targets.c.earliest_ms, targets.c.sdk_app_id, targets.c.event_group)
    )


ENQUEUE = _make_enqueue()
WAITING_TARGETS = _make_waiting_targets()
DUE = (
    select(
        callbacks.c.id,
        callbacks.c.sdk_app_id,
        callbacks.c.ordering,
        callbacks.c.event_group,
        callbacks.c.event_type,
        callbacks.c.event_info,
        callbacks.c.retries_from_ms,
        callbacks.c.attempts,
    )
    .where(
        IS_HEAD,
        callbacks.c.sdk_app_id == bindparam("app"),
        callbacks.c.event_group == bindparam("group"),
        callbacks.c.next_attempt_ms <= bindparam("now"),
    )
    .order_by(callbacks.c.next_attempt_ms, callbacks.c.id)
    .limit(bindparam("most", type_=Integer))
)

# What an attempt came to: bound are row, at, error, and next.
_TRIED = (
    update(callbacks)
    .where(callbacks.c.id == bindparam("row"))
    .values(
        attempts=callbacks.c.attempts + 1,
        first_attempt_ms=func.coalesce(callbacks.c.first_attempt_ms, bindparam("at")),
        last_error=bindparam("error"),
    )
)
DELIVERED = _TRIED.values(state="delivered", head=False, delivered_ms=bindparam("at"))
RETRIED = _TRIED.where(IS_PENDING).values(next_attempt_ms=bindparam("next"))
PARKED = _TRIED.where(IS_PENDING).values(state="parked", head=False)

# The next of a room becomes its head.
_following = callbacks.alias("following")
PROMOTED = (
    update(callbacks)
    .where(
        callbacks.c.id
        == select(func.min(_following.c.id))
        .where(_following.c.ordering == bindparam("room"), _following.c.state == literal_column("'pending'"))
        .scalar_subquery()
    )
    .values(head=True)
)


def settle_heads(connection: Connection) -> None:
    """Of all rooms, after many rows changed."""
    connection.execute(update(callbacks).where(IS_HEAD, _HAS_EARLIER).values(head=False))
    connection.execute(
        update(callbacks).where(IS_PENDING, callbacks.c.head == literal_column("0"), ~_HAS_EARLIER).values(head=True)
    )
