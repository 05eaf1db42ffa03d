"""The rows of tasks' files: each function is part of a transaction of ``records``, or reads in one.

A file is open until its job reports it closed; one that is ``wanted`` is then pending until it is in the store.
"""

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from rtcloud.store.tables import task_files, tasks
from rtcloud.tasks.lifecycle import LIVE_STATES, TaskFile
from rtcloud.tasks.protocol import FileClosed, FileOpened

_COLUMNS = [task_files.c[name] for name in TaskFile.__dataclass_fields__]


def of_task(connection: Connection, task_id: str, *, kinds: Sequence[str] | None = None) -> list[TaskFile]:
    statement = select(*_COLUMNS).where(task_files.c.task_id == task_id)
    if kinds is not None:
        statement = statement.where(task_files.c.kind.in_(kinds))
        if "segment" not in kinds:
            statement = statement.where(task_files.c.kind != literal_column("'segment'"))  # as the index has it
    return [TaskFile(**row._mapping) for row in connection.execute(statement.order_by("attempt", "begin_ms", "name"))]


@functools.cache
def viewed(kinds: tuple[str, ...]) -> Select[Any]:
    """What callers see of the files of ``task_id``, a parameter: closed ones that go to the store, in the order of
    ``of_task``."""
    columns = [task_files.c[name] for name in ("name", "kind", "user_id", "track_type", "begin_ms")]
    chosen = or_(*[task_files.c.kind == kind for kind in kinds])
    statement = select(*columns).where(task_files.c.task_id == bindparam("task_id"), chosen)
    ordered = statement.order_by(task_files.c.attempt, task_files.c.begin_ms, task_files.c.name)
    return ordered.where(task_files.c.end_ms.is_not(None), task_files.c.wanted)


def count(connection: Connection, task_id: str) -> dict[str, int]:
    """By kind."""
    return _count(connection, task_files.c.task_id == task_id)


def count_pending(connection: Connection, task_id: str) -> dict[str, int]:
    return _count(connection, (task_files.c.task_id == task_id) & _is_pending())


def pending_tasks(connection: Connection, worker: str, *, limit: int, without: Sequence[str] = ()) -> list[str]:
    """Tasks of ``worker`` with files to upload: the one that waits longest first; not those ``without``."""
    wanted = (
        select(task_files.c.task_id)
        .join(tasks, tasks.c.task_id == task_files.c.task_id)
        .where(tasks.c.worker == worker, tasks.c.state.in_(LIVE_STATES), _is_pending())
        .where(tasks.c.task_id.not_in(list(without)))
        .group_by(task_files.c.task_id)
        .order_by(func.min(task_files.c.end_ms), task_files.c.task_id)
        .limit(limit)
    )
    return list(connection.execute(wanted).scalars())


def pending(connection: Connection, task_id: str, *, limit: int) -> list[TaskFile]:
    """What is to be uploaded of a task, in the order of closing."""
    wanted = (
        select(*_COLUMNS)
        .where(task_files.c.task_id == task_id, _is_pending())
        .order_by(task_files.c.attempt, task_files.c.sequence, task_files.c.name)
        .limit(limit)
    )
    return [TaskFile(**row._mapping) for row in connection.execute(wanted)]


def write(connection: Connection, task_id: str, attempt: int, event: FileOpened | FileClosed, *, wanted: bool) -> None:
    """As the job reports it; one that is reported again is pending again."""
    values: dict[str, Any] = {
        "kind": event.kind,
        "attempt": attempt,
        "sequence": event.sequence,
        "user_id": event.user_id,
        "track_type": event.track_type,
        "begin_ms": event.begin_ms,
        "wanted": wanted,
    }
    key = {"task_id": task_id, "name": event.name}
    statement = upsert(task_files).values(**key, **values)
    if isinstance(event, FileOpened):
        connection.execute(statement.on_conflict_do_nothing())
        return
    closed = values | {"media_id": event.media_id, "end_ms": event.end_ms, "size": event.size, "uploaded_ms": None}
    statement = upsert(task_files).values(**key, **closed)
    connection.execute(statement.on_conflict_do_update(index_elements=["task_id", "name"], set_=closed))


def store(connection: Connection, file: TaskFile, now_ms: int) -> bool:
    """It is in its place. False when it was rewritten meanwhile."""
    same = and_(
        task_files.c.task_id == file.task_id,
        task_files.c.name == file.name,
        task_files.c.attempt == file.attempt,
        task_files.c.sequence == file.sequence,
    )
    return bool(connection.execute(update(task_files).where(same).values(uploaded_ms=now_ms)).rowcount)


def drop(connection: Connection, file: TaskFile) -> None:
    same = (task_files.c.task_id == file.task_id) & (task_files.c.name == file.name)
    connection.execute(delete(task_files).where(same, task_files.c.sequence == file.sequence))


def drop_open(connection: Connection, task_id: str) -> None:
    is_open = (task_files.c.task_id == task_id) & task_files.c.end_ms.is_(None)
    connection.execute(delete(task_files).where(is_open))


def _count(connection: Connection, condition: ColumnElement[bool]) -> dict[str, int]:
    statement = select(task_files.c.kind, func.count()).where(condition).group_by(task_files.c.kind)
    return {kind: number for kind, number in connection.execute(statement)}


def _is_pending() -> ColumnElement[bool]:
    return and_(task_files.c.wanted, task_files.c.end_ms.is_not(None), task_files.c.uploaded_ms.is_(None))
