"""What a task took in and gave out, over time: by this mixing and recording are counted.

The input is what its robot received; the output is noted when the task is accepted and whenever it changes.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select

from rtcloud.stats.counting import Received, received_areas
from rtcloud.stats.reading import received
from rtcloud.store.tables import presences, rooms, task_outputs, task_rooms, tasks


@dataclass(frozen=True, slots=True)
class TaskOutputStretch:
    """``codec`` "" makes no picture. ``stopped_ms`` None: the task still runs."""

    started_ms: int
    stopped_ms: int | None
    codec: str
    width: int
    height: int
    audio: bool


def inputs_of_task(connection: Connection, task_id: str) -> list[Received]:
    """In the order of time, over all stays of its robot in each of the task's rooms; times between have no input."""
    task = connection.execute(select(tasks).where(tasks.c.task_id == task_id)).one_or_none()
    if task is None:
        return []
    elsewhere = connection.execute(
        select(task_rooms.c.numeric, task_rooms.c.room_id).where(task_rooms.c.task_id == task_id)
    )
    names = {(task.numeric, task.room_id), *((numeric, room_id) for numeric, room_id in elsewhere)}
    named = [and_(rooms.c.numeric == numeric, rooms.c.room_id == room_id) for numeric, room_id in sorted(names)]
    here = and_(rooms.c.sdk_app_id == task.sdk_app_id, or_(*named))
    stays = select(presences.c.id).join(rooms, rooms.c.id == presences.c.room).where(here)
    stays = stays.where(presences.c.user_id == task.user_id, presences.c.joined_ms >= task.created_ms)
    if task.ended_ms is not None:
        stays = stays.where(presences.c.joined_ms <= task.ended_ms)
    ids = list(connection.scalars(stays.order_by(presences.c.joined_ms)))
    return received_areas(received(connection, ids))


def outputs_of_task(connection: Connection, task_id: str) -> list[TaskOutputStretch]:
    made = task_outputs
    following = func.lead(made.c.started_ms).over(order_by=made.c.started_ms)
    found = (
        select(
            made.c.started_ms,
            func.coalesce(following, tasks.c.ended_ms),
            made.c.codec,
            made.c.width,
            made.c.height,
            made.c.audio,
        )
        .join(tasks, tasks.c.task_id == made.c.task_id)
        .where(made.c.task_id == task_id)
    )
    return [TaskOutputStretch(*row) for row in connection.execute(found.order_by(made.c.started_ms))]
