"""Tasks as the operator sees them: rows without their params, which hold secrets, and what a job says of itself.

A job's figures are a file in its attempt's directory (``protocol.FIGURES``); so is its picture, which is made when
``protocol.PREVIEW_REQUEST`` appears there.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Select, select

from rtcloud.clock import Clock
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.objects import safe_segment
from rtcloud.store.tables import tasks
from rtcloud.tasks.lifecycle import LIVE_STATES, Desired, State
from rtcloud.tasks.protocol import FIGURES, PREVIEW, PREVIEW_REQUEST, Figures

MOST_LISTED = 1000
FRESH_MS = 5_000  # figures are written each second
FIGURES_BYTES = 64 * 1024
PICTURE_BYTES = 32 << 20
PREVIEW_SECONDS = 5.0
_POLL_SECONDS = 0.02


class TaskChoiceError(ValueError):
    """No task, or several, may be meant."""


class PreviewError(ValueError):
    """There is no picture; the message says why."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    task_id: str
    kind: str
    ref: RoomRef
    user_id: str
    state: State
    desired: Desired
    attempts: int
    worker: str | None
    created_ms: int
    ended_ms: int | None
    leave_code: int | None

    @property
    def is_live(self) -> bool:
        return self.state in LIVE_STATES

    def attempt_directory(self, spool: Path) -> Path:
        """Of the last attempt; which may not have begun yet."""
        return spool / safe_segment(self.task_id) / str(max(0, self.attempts - 1))


def rows(
    connection: Connection, *, ended: bool = False, sdk_app_id: int | None = None, kinds: Sequence[str] = ()
) -> list[TaskRow]:
    """The newest last, at most ``MOST_LISTED``; those that have ended only on request. ``kinds`` empty: of every
    kind."""
    statement = _ROWS.order_by(tasks.c.created_ms.desc(), tasks.c.task_id).limit(MOST_LISTED)
    if not ended:
        statement = statement.where(tasks.c.state.in_(LIVE_STATES))
    if sdk_app_id is not None:
        statement = statement.where(tasks.c.sdk_app_id == sdk_app_id)
    if kinds:
        statement = statement.where(tasks.c.kind.in_(kinds))
    return _read(connection, statement)[::-1]


def find(connection: Connection, given: str) -> TaskRow:
    """By the whole id or by its beginning, of which only one task may have it; of two, the one that has not ended.
    Raises TaskChoiceError."""
    if exact := _read(connection, _ROWS.where(tasks.c.task_id == given)):
        return exact[0]
    begins = _ROWS.where(tasks.c.task_id.startswith(given, autoescape=True)).order_by(tasks.c.created_ms.desc())
    live = begins.where(tasks.c.state.in_(LIVE_STATES))
    for statement in (live, begins):
        found = [row for row in _read(connection, statement.limit(MOST_LISTED)) if row.task_id.startswith(given)]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(row.task_id[: len(given) + 8] + "…" for row in found[:5])
            raise TaskChoiceError(f"{len(found)} tasks begin with {given!r}: {some}")
    raise TaskChoiceError(f"there is no task {given!r}")


def figures(row: TaskRow, spool: Path, now_ms: int) -> Figures | None:
    """What its job said of itself last; None when it is not running or has been silent. Reads a file."""
    if row.state is not State.RUNNING:
        return None
    try:
        with (row.attempt_directory(spool) / FIGURES).open("rb") as file:
            said = msgspec.json.decode(file.read(FIGURES_BYTES + 1)[:FIGURES_BYTES], type=Figures)
    except (OSError, msgspec.DecodeError):
        return None
    return said if abs(now_ms - said.at_ms) <= FRESH_MS else None


async def preview(row: TaskRow, spool: Path, clock: Clock, *, seconds: float = PREVIEW_SECONDS) -> bytes:
    """The picture as it is now, a PNG. Raises PreviewError."""
    if row.state is not State.RUNNING:
        raise PreviewError(f"task {row.task_id} is not running ({row.state}): it has no picture now")
    directory = row.attempt_directory(spool)
    request, picture = directory / PREVIEW_REQUEST, directory / PREVIEW
    try:
        before = await asyncio.to_thread(_written_ns, picture)
        await asyncio.to_thread(request.touch)
    except OSError as error:
        raise PreviewError(f"task {row.task_id} has no directory here: {error.strerror or error}") from None
    deadline = clock.monotonic() + seconds
    try:
        while clock.monotonic() < deadline:
            if (content := await asyncio.to_thread(_new_picture, picture, before)) is not None:
                return content
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        # who gives up takes the request back; the job removes one that it answered
        with contextlib.suppress(OSError):
            await asyncio.to_thread(request.unlink, missing_ok=True)
    raise PreviewError(f"task {row.task_id} gave no picture within {seconds:.0f} s: it has none, or is only starting")


def _new_picture(path: Path, before_ns: int) -> bytes | None:
    if _written_ns(path) == before_ns:
        return None
    with path.open("rb") as file:
        content = file.read(PICTURE_BYTES + 1)
    if len(content) > PICTURE_BYTES:
        raise PreviewError(f"the picture has more than {PICTURE_BYTES} bytes")
    return content


def _written_ns(path: Path) -> int:
    """-1 when there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


_ROWS: Select[tuple[object, ...]] = select(
    tasks.c.task_id,
    tasks.c.kind,
    tasks.c.sdk_app_id,
    tasks.c.numeric,
    tasks.c.room_id,
    tasks.c.user_id,
    tasks.c.state,
    tasks.c.desired_state,
    tasks.c.attempts,
    tasks.c.worker,
    tasks.c.created_ms,
    tasks.c.ended_ms,
    tasks.c.leave_code,
)


def _read(connection: Connection, statement: Select[tuple[object, ...]]) -> list[TaskRow]:
    return [
        TaskRow(
            task_id=row.task_id,
            kind=row.kind,
            ref=RoomRef(row.sdk_app_id, row.numeric, row.room_id),
            user_id=row.user_id,
            state=State(row.state),
            desired=Desired(row.desired_state),
            attempts=row.attempts,
            worker=row.worker,
            created_ms=row.created_ms,
            ended_ms=row.ended_ms,
            leave_code=row.leave_code,
        )
        for row in connection.execute(statement)
    ]
