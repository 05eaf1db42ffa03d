"""What is older than it is kept for goes, in steps so small that joins do not wait for them.

A row goes when what it tells of ended before the limit. Publications and subscriptions have no index of their end:
their ids grow with time, so they are walked from the oldest on. A stay goes after its parts, and a room after its
stays. Of tasks only those go that brought media in: they have no files, and with every connection of a client that
pushes there is another one. Pages that become free are used again; the file does not shrink.
"""

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection, Table, delete, exists, select, tuple_

from rtcloud.stats.samples import minute_of
from rtcloud.store import tables
from rtcloud.store.database import Database

AT_ONCE = 500  # rows of one transaction
PAUSE_SECONDS = 0.1

_INCOMING = ("ingest", "push")  # kinds of tasks
_ROWS_OF_TASK = 4

Step = Callable[[Connection, int], int]


async def forget(database: Database, before_ms: int, *, pause_seconds: float = PAUSE_SECONDS) -> dict[str, int]:
    """How many rows went, by table."""
    deleted = {}
    for name, step in _SIMPLE.items():
        deleted[name] = await _repeat(database, step, before_ms, pause_seconds)
    for table in (tables.subscriptions, tables.publications):
        deleted[table.name] = await _walk(database, table, before_ms, pause_seconds)
    for name, step in (("presences", _presences), ("rooms", _rooms)):
        deleted[name] = await _repeat(database, step, before_ms, pause_seconds)
    return deleted


async def _repeat(database: Database, step: Step, before_ms: int, pause_seconds: float) -> int:
    """Until a step finds nothing more."""
    count = 0
    while gone := await database.write(lambda connection: step(connection, before_ms)):
        count += gone
        await asyncio.sleep(pause_seconds)
    return count


async def _walk(database: Database, table: Table, before_ms: int, pause_seconds: float) -> int:
    count, last = 0, 0
    while last >= 0:
        gone, last = await database.write(lambda connection: _stretches(connection, table, before_ms, last))  # noqa: B023
        count += gone
        if last >= 0:
            await asyncio.sleep(pause_seconds)
    return count


def _stretches(connection: Connection, table: Table, before_ms: int, after: int) -> tuple[int, int]:
    """How many went, and where to go on; -1: what follows began within the limit."""
    found = select(table.c.id, table.c.started_ms, table.c.stopped_ms).where(table.c.id > after)
    rows = connection.execute(found.order_by(table.c.id).limit(AT_ONCE)).all()
    old = [row.id for row in rows if row.stopped_ms is not None and row.stopped_ms < before_ms]
    if old:
        connection.execute(delete(table).where(table.c.id.in_(old)))
    ends = len(rows) < AT_ONCE or rows[-1].started_ms >= before_ms
    return len(old), -1 if ends else rows[-1].id


def _events(connection: Connection, before_ms: int) -> int:
    """Written in the order of time, but for a second."""
    table = tables.user_events
    oldest = select(table.c.id, table.c.at_ms).order_by(table.c.id).limit(AT_ONCE)
    old = [row.id for row in connection.execute(oldest) if row.at_ms < before_ms]
    return connection.execute(delete(table).where(table.c.id.in_(old))).rowcount if old else 0


def _refused(connection: Connection, before_ms: int) -> int:
    table = tables.refused_entries
    oldest = select(table.c.id, table.c.at_ms).order_by(table.c.id).limit(AT_ONCE)
    old = [row.id for row in connection.execute(oldest) if row.at_ms < before_ms]
    return connection.execute(delete(table).where(table.c.id.in_(old))).rowcount if old else 0


def _minutes(connection: Connection, before_ms: int) -> int:
    table = tables.quality_minutes
    key = tuple_(table.c.minute, table.c.presence, table.c.peer)
    old = select(table.c.minute, table.c.presence, table.c.peer).where(table.c.minute < minute_of(before_ms))
    rows = connection.execute(old.order_by(*key.clauses).limit(AT_ONCE)).all()
    return connection.execute(delete(table).where(key <= tuple(rows[-1]))).rowcount if rows else 0


def _presences(connection: Connection, before_ms: int) -> int:
    presences, publications, subscriptions = tables.presences, tables.publications, tables.subscriptions
    ended = select(presences.c.id).where(presences.c.left_ms < before_ms)
    for part in (publications, subscriptions):
        ended = ended.where(~exists().where(part.c.presence == presences.c.id))
    old = list(connection.scalars(ended.order_by(presences.c.left_ms).limit(AT_ONCE)))
    return connection.execute(delete(presences).where(presences.c.id.in_(old))).rowcount if old else 0


def _rooms(connection: Connection, before_ms: int) -> int:
    rooms, presences, blocks = tables.rooms, tables.presences, tables.room_blocks
    ended = select(rooms.c.id).where(rooms.c.destroyed_ms < before_ms)
    ended = ended.where(~exists().where(presences.c.room == rooms.c.id))
    old = list(connection.scalars(ended.order_by(rooms.c.destroyed_ms).limit(AT_ONCE)))
    if not old:
        return 0
    connection.execute(delete(blocks).where(blocks.c.room.in_(old)))
    return connection.execute(delete(rooms).where(rooms.c.id.in_(old))).rowcount


def _tasks(connection: Connection, before_ms: int) -> int:
    """With what belongs to them."""
    tasks = tables.tasks
    ended = select(tasks.c.task_id).where(tasks.c.state == "ended", tasks.c.kind.in_(_INCOMING))
    wanted = ended.where(tasks.c.ended_ms < before_ms).order_by(tasks.c.ended_ms).limit(AT_ONCE // _ROWS_OF_TASK)
    old = list(connection.scalars(wanted))
    if not old:
        return 0
    for part in (tables.task_outputs, tables.task_rooms, tables.task_events):
        connection.execute(delete(part).where(part.c.task_id.in_(old)))
    return connection.execute(delete(tasks).where(tasks.c.task_id.in_(old))).rowcount


_SIMPLE: dict[str, Step] = {
    "user_events": _events,
    "refused_entries": _refused,
    "quality_minutes": _minutes,
    "tasks": _tasks,
}
