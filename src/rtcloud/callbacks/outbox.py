"""The outbox: callbacks as rows, written by the same transaction as the change that causes them.

Every function takes the connection of a ``Database.write`` or ``read`` work. A row exists only when the application
has a target for the event's group, and chose its type, at that moment. ``id`` is the delivery order within one
``ordering`` (a room); the oldest pending row of each is its ``head``, and only heads are tried. Whatever changes a
``state`` keeps that true, so looking for what is due costs what is due, however much waits behind it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)

from rtcloud.callbacks.events import CallbackEvent
from rtcloud.store.tables import callback_targets, callbacks

TOPIC = "callbacks"  # of the bus: something was enqueued
ERROR_CHARACTERS = 200

State = Literal["delivered", "retry", "parked"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where events go. ``trusted``: an operator set it, so it may lie in a private network."""

    url: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Due:
    """The oldest pending event of one room, and where it goes now."""

    id: int
    sdk_app_id: int
    ordering: str
    event_group: int
    event_type: int
    event_info: str
    retries_from_ms: int
    attempts: int
    address: Address
    key_sealed: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to; ``next_ms`` is of a retry."""

    id: int
    ordering: str
    state: State
    at_ms: int
    next_ms: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Backlog:
    """``oldest_ms``: since when the one that waits longest has been tried or waiting; None when nothing waits."""

    pending: int
    parked: int
    oldest_ms: int | None


# Written out, not bound: SQLite uses a partial index only when it can see that the index has every row asked for.
IS_PENDING = callbacks.c.state == literal_column("'pending'")
IS_PARKED = callbacks.c.state == literal_column("'parked'")
_IS_DELIVERED = callbacks.c.state == literal_column("'delivered'")
IS_HEAD = callbacks.c.head == literal_column("1")

_earlier = callbacks.alias("earlier")
_HAS_EARLIER = exists().where(
    _earlier.c.ordering == callbacks.c.ordering,
    _earlier.c.state == literal_column("'pending'"),
    _earlier.c.id < callbacks.c.id,
)


def enqueue(connection: Connection, event: CallbackEvent, now_ms: int) -> None:
    """Add ``event`` to the outbox, unless nobody wants it."""
    chosen = callback_targets.c.events
    is_wanted = exists().where(
        callback_targets.c.sdk_app_id == event.ref.sdk_app_id,
        callback_targets.c.event_group == event.group,
        chosen.is_(None) | chosen.contains(f",{event.type},"),
    )
    waits = exists().where(callbacks.c.ordering == event.ref.ordering, IS_PENDING)
    values: dict[str, ColumnElement[object]] = {
        "sdk_app_id": literal(event.ref.sdk_app_id),
        "ordering": literal(event.ref.ordering),
        "event_group": literal(event.group),
        "event_type": literal(event.type),
        "event_info": literal(event.info_json),
        "created_ms": literal(now_ms),
        "retries_from_ms": literal(now_ms),
        "state": literal("pending"),
        "head": case((waits, literal_column("0")), else_=literal_column("1")),
        "attempts": literal(0),
        "next_attempt_ms": literal(now_ms),
        "last_error": literal(""),
    }
    connection.execute(insert(callbacks).from_select(list(values), select(*values.values()).where(is_wanted)))


# Delivery -------------------------------------------------------------------------------------------------------------


def due(
    connection: Connection,
    now_ms: int,
    limit: int,
    *,
    places: Mapping[Address, int] | None = None,
    otherwise: int | None = None,
    busy: Collection[int] = (),
) -> list[Due]:
    """Heads that may be tried now: at most ``limit`` in all and ``places`` for each address (``otherwise`` for those
    not in it), without the rows ``busy``. Who has waited longest comes first."""
    left = dict(places or {})
    found: list[Due] = []
    for target in _waiting_targets(connection, now_ms):
        address = Address(target.url, target.trusted)
        free = min(left.setdefault(address, limit if otherwise is None else otherwise), limit - len(found))
        if free <= 0:
            continue
        rows = connection.execute(
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
                callbacks.c.sdk_app_id == target.sdk_app_id,
                callbacks.c.event_group == target.event_group,
                callbacks.c.next_attempt_ms <= now_ms,
            )
            .order_by(callbacks.c.next_attempt_ms, callbacks.c.id)
            .limit(free + len(busy))
        ).all()
        ready = [Due(*row, address, target.key_sealed) for row in rows if row.id not in busy][:free]
        left[address] -= len(ready)
        found += ready
    return found


def record(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Note attempts, many at once. One that was parked while its last attempt was under way, and delivered by it, is
    delivered."""
    delivered = [outcome for outcome in outcomes if outcome.state == "delivered"]
    retried = [outcome for outcome in outcomes if outcome.state == "retry"]
    parked = [outcome for outcome in outcomes if outcome.state == "parked"]
    tried = (
        update(callbacks)
        .where(callbacks.c.id == bindparam("row"))
        .values(
            attempts=callbacks.c.attempts + 1,
            first_attempt_ms=func.coalesce(callbacks.c.first_attempt_ms, bindparam("at")),
            last_error=bindparam("error"),
        )
    )
    if delivered:
        done = tried.values(state="delivered", head=False, delivered_ms=bindparam("at"))
        connection.execute(done, [_bound(outcome) for outcome in delivered])
    if retried:
        later = tried.where(IS_PENDING).values(next_attempt_ms=bindparam("next"))
        connection.execute(later, [_bound(outcome) | {"next": outcome.next_ms} for outcome in retried])
    if parked:
        aside = tried.where(IS_PENDING).values(state="parked", head=False)
        connection.execute(aside, [_bound(outcome) for outcome in parked])
    if freed := {outcome.ordering for outcome in (*delivered, *parked)}:
        _promote(connection, freed)


# Keeping house --------------------------------------------------------------------------------------------------------


def has_delivered(connection: Connection, before_ms: int) -> bool:
    old = select(callbacks.c.id).where(_IS_DELIVERED, callbacks.c.delivered_ms < before_ms)
    return connection.execute(old.limit(1)).first() is not None


def forget_delivered(connection: Connection, before_ms: int, limit: int) -> int:
    """Delete at most ``limit`` of those delivered before ``before_ms``. How many there were."""
    old = (
        select(callbacks.c.id)
        .where(_IS_DELIVERED, callbacks.c.delivered_ms < before_ms)
        .order_by(callbacks.c.delivered_ms)
        .limit(limit)
    )
    return connection.execute(delete(callbacks).where(callbacks.c.id.in_(old))).rowcount


def count_by_state(connection: Connection, sdk_app_id: int | None = None) -> dict[str, int]:
    statement = select(callbacks.c.state, func.count()).group_by(callbacks.c.state)
    if sdk_app_id is not None:
        statement = statement.where(callbacks.c.sdk_app_id == sdk_app_id)
    return {state: number for state, number in connection.execute(statement)}


def measure(connection: Connection) -> Backlog:
    """Without the delivered ones, which are many."""
    count = select(func.count()).select_from(callbacks)
    return Backlog(
        pending=connection.scalars(count.where(IS_PENDING)).one(),
        parked=connection.scalars(count.where(IS_PARKED)).one(),
        oldest_ms=connection.scalars(select(func.min(callbacks.c.retries_from_ms)).where(IS_HEAD)).one(),
    )


# Heads ----------------------------------------------------------------------------------------------------------------


def _waiting_targets(connection: Connection, now_ms: int) -> Sequence[Row[Any]]:
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
    return connection.execute(
        select(targets).where(targets.c.earliest_ms <= now_ms).order_by(targets.c.earliest_ms)
    ).all()


def _promote(connection: Connection, orderings: Collection[str]) -> None:
    """The next of each room becomes its head."""
    following = callbacks.alias("following")
    first = (
        select(func.min(following.c.id))
        .where(following.c.ordering == bindparam("room"), following.c.state == literal_column("'pending'"))
        .scalar_subquery()
    )
    statement = update(callbacks).where(callbacks.c.id == first).values(head=True)
    connection.execute(statement, [{"room": ordering} for ordering in orderings])


def settle_heads(connection: Connection) -> None:
    """Of all rooms, after many rows changed."""
    connection.execute(update(callbacks).where(IS_HEAD, _HAS_EARLIER).values(head=False))
    connection.execute(
        update(callbacks).where(IS_PENDING, callbacks.c.head == literal_column("0"), ~_HAS_EARLIER).values(head=True)
    )


def _bound(outcome: Outcome) -> dict[str, object]:
    return {"row": outcome.id, "at": outcome.at_ms, "error": outcome.error[:ERROR_CHARACTERS]}
