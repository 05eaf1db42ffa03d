"""The outbox: callbacks as rows, written by the same transaction as the change that causes them.

Every function takes the connection of a ``Database.write`` or ``read`` work. A row exists only when the application
has a target for the event's group, and chose its type, at that moment. ``id`` is the delivery order within one
``ordering`` (a room); the oldest pending row of each is its ``head``, and only heads are tried. Whatever changes a
``state`` keeps that true, so looking for what is due costs what is due, however much waits behind it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, func, select

from rtcloud.callbacks import statements
from rtcloud.callbacks.events import CallbackEvent
from rtcloud.callbacks.statements import IS_DELIVERED, IS_HEAD, IS_PARKED, IS_PENDING
from rtcloud.store.tables import callbacks

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


def enqueue(connection: Connection, event: CallbackEvent, now_ms: int) -> None:
    """Add ``event`` to the outbox, unless nobody wants it."""
    values = {
        "app": event.ref.sdk_app_id,
        "room": event.ref.ordering,
        "group": event.group,
        "type": event.type,
        "info": event.info_json,
        "now": now_ms,
        "chosen": f",{event.type},",
    }
    connection.execute(statements.ENQUEUE, values)


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
    for target in connection.execute(statements.WAITING_TARGETS, {"now": now_ms}).all():
        address = Address(target.url, target.trusted)
        free = min(left.setdefault(address, limit if otherwise is None else otherwise), limit - len(found))
        if free <= 0:
            continue
        wanted = {"app": target.sdk_app_id, "group": target.event_group, "now": now_ms, "most": free + len(busy)}
        rows = connection.execute(statements.DUE, wanted).all()
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
    if delivered:
        connection.execute(statements.DELIVERED, [_bound(outcome) for outcome in delivered])
    if retried:
        connection.execute(statements.RETRIED, [_bound(outcome) | {"next": outcome.next_ms} for outcome in retried])
    if parked:
        connection.execute(statements.PARKED, [_bound(outcome) for outcome in parked])
    if freed := {outcome.ordering for outcome in (*delivered, *parked)}:
        connection.execute(statements.PROMOTED, [{"room": ordering} for ordering in freed])


# Keeping house --------------------------------------------------------------------------------------------------------


def has_delivered(connection: Connection, before_ms: int) -> bool:
    old = select(callbacks.c.id).where(IS_DELIVERED, callbacks.c.delivered_ms < before_ms)
    return connection.execute(old.limit(1)).first() is not None


def forget_delivered(connection: Connection, before_ms: int, limit: int) -> int:
    """Delete at most ``limit`` of those delivered before ``before_ms``. How many there were."""
    old = (
        select(callbacks.c.id)
        .where(IS_DELIVERED, callbacks.c.delivered_ms < before_ms)
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


def _bound(outcome: Outcome) -> dict[str, object]:
    return {"row": outcome.id, "at": outcome.at_ms, "error": outcome.error[:ERROR_CHARACTERS]}
