"""What tasks recorded, as the operator sees it: their files as the records know them, without anybody's params."""

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from rtcloud.rooms.ids import RoomRef
from rtcloud.store.tables import task_files, tasks
from rtcloud.tasks.lifecycle import LIVE_STATES, State
from rtcloud.tasks.listing import MOST_LISTED


@dataclass(frozen=True, slots=True)
class Recording:
    """A task with files. Only those count that are meant for the store."""

    task_id: str
    kind: str
    ref: RoomRef
    state: State
    begin_ms: int
    end_ms: int
    users: int  # recorded singly; 0 of a mix
    files: int
    waiting: int  # files that are not in the store yet
    size: int
    progress: str  # the kind's own


@dataclass(frozen=True, slots=True)
class KnownFile:
    name: str
    kind: str  # segment, index, mp4 (an AAC file, too)
    user_id: str
    track_type: str
    media_id: str
    begin_ms: int
    end_ms: int | None  # None: it is being written
    size: int
    is_stored: bool


def recordings(connection: Connection, *, ended: bool = True, sdk_app_id: int | None = None) -> list[Recording]:
    """The newest last, at most ``MOST_LISTED``."""
    count = func.count()
    statement = (
        select(
            *(tasks.c[name] for name in ("task_id", "kind", "sdk_app_id", "numeric", "room_id", "state", "progress")),
            func.min(task_files.c.begin_ms).label("begin_ms"),
            func.max(func.coalesce(task_files.c.end_ms, task_files.c.begin_ms)).label("end_ms"),
            func.count(func.distinct(func.nullif(task_files.c.user_id, ""))).label("users"),
            count.label("files"),
            func.sum(case((task_files.c.uploaded_ms.is_(None), 1), else_=0)).label("waiting"),
            func.sum(task_files.c.size).label("size"),
        )
        .join(task_files, task_files.c.task_id == tasks.c.task_id)
        .where(task_files.c.wanted)
        .group_by(tasks.c.task_id)
        .order_by(tasks.c.created_ms.desc(), tasks.c.task_id)
        .limit(MOST_LISTED)
    )
    if not ended:
        statement = statement.where(tasks.c.state.in_(LIVE_STATES))
    if sdk_app_id is not None:
        statement = statement.where(tasks.c.sdk_app_id == sdk_app_id)
    return [
        Recording(
            task_id=row.task_id,
            kind=row.kind,
            ref=RoomRef(row.sdk_app_id, row.numeric, row.room_id),
            state=State(row.state),
            begin_ms=row.begin_ms,
            end_ms=row.end_ms,
            users=row.users,
            files=row.files,
            waiting=row.waiting,
            size=row.size,
            progress=row.progress,
        )
        for row in connection.execute(statement)
    ][::-1]


def progress(connection: Connection, task_id: str) -> str:
    return str(connection.execute(select(tasks.c.progress).where(tasks.c.task_id == task_id)).scalar_one())


def files(connection: Connection, task_id: str) -> list[KnownFile]:
    """In the order of their beginnings."""
    statement = select(task_files).where(task_files.c.task_id == task_id, task_files.c.wanted)
    return [
        KnownFile(
            name=row.name,
            kind=row.kind,
            user_id=row.user_id,
            track_type=row.track_type,
            media_id=row.media_id,
            begin_ms=row.begin_ms,
            end_ms=row.end_ms,
            size=row.size,
            is_stored=row.uploaded_ms is not None,
        )
        for row in connection.execute(statement.order_by(task_files.c.begin_ms, task_files.c.name))
    ]
