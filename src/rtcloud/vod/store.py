"""The library's rows: each function is a part of one transaction. A row is written together with the 311 that tells of
its file, when the file is in its place, and goes after the file."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Row, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from rtcloud.rooms.ids import RoomRef
from rtcloud.store.tables import library_files, task_files
from rtcloud.vod.entry import INDEX, Entry

MOST_LISTED = 1000
_COLUMNS = ("task_id", "name", "user_id", "media_id", "track_type", "begin_ms", "end_ms", "arrived_ms", "expires_ms")


def add(connection: Connection, entry: Entry) -> None:
    """Told of twice, it is the same entry."""
    values = {name: getattr(entry, name) for name in _COLUMNS}
    values |= {
        "file_id": entry.file_id,
        "sdk_app_id": entry.ref.sdk_app_id,
        "numeric": entry.ref.numeric,
        "room_id": entry.ref.room_id,
        "size": entry.size + (_segments_size(connection, entry) if entry.is_index else 0),
        "details": msgspec.json.encode(entry.details).decode(),
    }
    connection.execute(insert(library_files).values(values).on_conflict_do_nothing())


def find(connection: Connection, file_id: str) -> Entry | None:
    row = connection.execute(select(library_files).where(library_files.c.file_id == file_id)).one_or_none()
    return None if row is None else _entry(row)


def entries(connection: Connection, *, sdk_app_id: int | None = None, task: str = "") -> list[Entry]:
    """The newest last, at most ``MOST_LISTED``. ``task`` is the beginning of a task's id."""
    statement = select(library_files).order_by(library_files.c.arrived_ms.desc(), library_files.c.file_id)
    if sdk_app_id is not None:
        statement = statement.where(library_files.c.sdk_app_id == sdk_app_id)
    if task:
        statement = statement.where(library_files.c.task_id.startswith(task, autoescape=True))
    return [_entry(row) for row in connection.execute(statement.limit(MOST_LISTED))][::-1]


def expired(connection: Connection, now_ms: int, *, limit: int, after: str = "") -> list[Entry]:
    """In the order of their FileIds, those ``after`` one."""
    wanted = (library_files.c.expires_ms <= now_ms) & (library_files.c.file_id > after)
    statement = select(library_files).where(wanted).order_by(library_files.c.file_id).limit(limit)
    return [_entry(row) for row in connection.execute(statement)]


def remove(connection: Connection, file_ids: Sequence[str]) -> None:
    connection.execute(delete(library_files).where(library_files.c.file_id.in_(file_ids)))


def _segments_size(connection: Connection, entry: Entry) -> int:
    stem = entry.name.removesuffix(INDEX)
    is_segment = (task_files.c.task_id == entry.task_id) & (task_files.c.kind == "segment")
    statement = select(func.coalesce(func.sum(task_files.c.size), 0))
    named = (task_files.c.name > f"{stem}_") & (task_files.c.name < f"{stem}`")  # what comes after _: the key's order
    rest = func.length(task_files.c.name) == len(f"{stem}_20330531094551825.ts")
    return int(connection.execute(statement.where(is_segment, named, rest)).scalar_one())


def _entry(row: Row[tuple[object, ...]]) -> Entry:
    values = row._mapping
    return Entry(
        **{name: values[name] for name in (*_COLUMNS, "size")},
        ref=RoomRef(values["sdk_app_id"], values["numeric"], values["room_id"]),
        details=msgspec.json.decode(values["details"]),
    )
