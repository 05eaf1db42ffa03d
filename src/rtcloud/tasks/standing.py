"""How a room stands with a robot that tasks share by name: which of its tasks run, and how its last one ended."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, select

from rtcloud.rooms.ids import RoomRef
from rtcloud.store.tables import tasks
from rtcloud.tasks.lifecycle import Desired, State


@dataclass(frozen=True, slots=True)
class Standing:
    """The last task of a robot in a room. ``leave_code`` None: its robot has not left for good yet."""

    runs: bool
    leave_code: int | None


def running_rooms(connection: Connection, kind: str, user_id: str) -> frozenset[RoomRef]:
    """Where a task of that robot runs, or will."""
    statement = select(tasks.c.sdk_app_id, tasks.c.numeric, tasks.c.room_id)
    rows = connection.execute(statement.where(tasks.c.kind == kind, tasks.c.user_id == user_id, _runs()))
    return frozenset(RoomRef(*row) for row in rows)


def standing(connection: Connection, kind: str, room: RoomRef, user_id: str, since_ms: int) -> Standing | None:
    """Of the tasks that were accepted since then; an older one counts while it runs."""
    where = (tasks.c.sdk_app_id == room.sdk_app_id, tasks.c.numeric == room.numeric, tasks.c.room_id == room.room_id)
    statement = (
        select(_runs().label("runs"), tasks.c.leave_code)
        .where(*where, tasks.c.kind == kind, tasks.c.user_id == user_id)
        .where((tasks.c.created_ms >= since_ms) | _runs())
        .order_by(_runs().desc(), tasks.c.created_ms.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Standing(bool(row.runs), row.leave_code)


def _runs() -> ColumnElement[bool]:
    return tasks.c.state.in_((State.ACCEPTED, State.RUNNING)) & (tasks.c.desired_state == Desired.RUNNING)
