"""``rtcloud admin tasks``, and ``rtcloud task``: which tasks run, how they do, what they show.

Addresses that are pushed to carry keys in their path and query, so only their scheme and host are shown.
"""

import asyncio
import base64
from collections import Counter
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso
from rtcloud.ingest.push.request import KIND as PUSH
from rtcloud.rooms.ids import AUTO_RECORDER
from rtcloud.tasks import listing, records
from rtcloud.tasks.lifecycle import Desired
from rtcloud.tasks.listing import TaskRow
from rtcloud.tasks.protocol import Figures

#: Of callback 401.
STATUSES = {0: "ended", 1: "connecting", 2: "running", 3: "recovering", 4: "failed", 5: "disconnecting"}
SPOOL = "spool"

TaskWord = Annotated[str, Word("TASK", "its TaskId, or the beginning of it that only one task has")]


class TasksList(Command, tag="tasks.list", kw_only=True):
    """The tasks that have not ended, oldest first: recordings, relays, what comes in, and how they do."""

    example: ClassVar[str] = "tasks"
    all: Annotated[bool, Flag("", "ended ones too")] = False
    app: Annotated[str | None, Flag("SDKAPPID", "of this application only")] = None

    async def run(self, site: Site) -> object:
        app = None if self.app is None else naming.application(site, self.app).sdk_app_id
        found = await site.database.read(lambda c: listing.rows(c, ended=self.all, sdk_app_id=app))
        return await asyncio.to_thread(lambda: [line(row, figures(site, row)) for row in found])


class TasksShow(Command, tag="tasks.show", kw_only=True):
    """One task: where it is, how it does, what comes in, and the state of each of its outputs."""

    example: ClassVar[str] = "tasks show 3f9a"
    task: TaskWord

    async def run(self, site: Site) -> object:
        row = await find(site, self.task)
        said = await asyncio.to_thread(figures, site, row)
        return {
            **line(row, said),
            "outputs": [] if said is None else _outputs(said),
            "streams": [] if said is None else [{"kind": kind, "handling": it} for kind, it in said.streams.items()],
            "inputs": None if said is None else said.inputs,
            "ended": iso(row.ended_ms or 0),
            "leave_code": row.leave_code,
            "worker": row.worker,
            "spool": None if site.directory is None else str(row.attempt_directory(site.directory / SPOOL)),
        }


class TasksStop(Command, tag="tasks.stop", kw_only=True):
    """Stop a task as its API's stop does: it closes its outputs and files, and tells callbacks."""

    example: ClassVar[str] = "tasks stop 3f9a"
    task: TaskWord

    async def run(self, site: Site) -> object:
        return await stop(site, await find(site, self.task))


class TasksPreview(Command, tag="tasks.preview", kw_only=True):
    """The picture that a task makes, as it is now: a PNG in base64. ``rtcloud task preview`` writes it to a file."""

    example: ClassVar[str] = "tasks preview 3f9a"
    bare: ClassVar[str] = "picture"
    task: TaskWord

    async def run(self, site: Site) -> object:
        row = await find(site, self.task)
        if site.directory is None:
            raise AdminError("there is no data directory here")
        try:
            picture = await listing.preview(row, site.directory / SPOOL, site.clock)
        except listing.PreviewError as error:
            raise AdminError(str(error)) from error
        return {"task_id": row.task_id, "picture": base64.b64encode(picture).decode()}


async def stop(site: Site, row: TaskRow) -> dict[str, object]:
    if not row.is_live or row.leave_code is not None:
        raise AdminError(f"task {row.task_id} has ended")
    now_ms = site.clock.now_ms()
    await site.database.write(lambda connection: records.stop(connection, row.task_id, 0, now_ms))
    site.bus.publish(records.TOPIC, row.task_id)
    return {"task_id": row.task_id, "state": "stopping"}


async def find(site: Site, given: str) -> TaskRow:
    try:
        return await site.database.read(lambda connection: listing.find(connection, given))
    except listing.TaskChoiceError as error:
        raise AdminError(str(error)) from error


def figures(site: Site, row: TaskRow) -> Figures | None:
    if site.directory is None:
        return None
    return listing.figures(row, site.directory / SPOOL, site.clock.now_ms())


def line(row: TaskRow, said: Figures | None) -> dict[str, object]:
    stopping = row.is_live and row.leave_code is None and row.desired is Desired.STOPPED
    counted = Counter(map(_status, said.outputs.values())) if said is not None else {}
    return {
        "task_id": row.task_id,
        "kind": row.kind,
        "by": "auto" if row.user_id == AUTO_RECORDER else "client" if row.kind == PUSH else "api",
        "application": row.ref.sdk_app_id,
        "room": row.ref.room_id,
        "robot": row.user_id,
        "state": "stopping" if stopping else str(row.state),
        "since": iso(row.created_ms),
        "attempts": row.attempts,
        "cpu": None if said is None else round(said.cpu, 2),
        "fps": None if said is None or said.fps is None else round(said.fps, 1),
        "kbit/s": None if said is None or said.bitrate is None else round(said.bitrate / 1000),
        "delay ms": None if said is None else said.delay_ms,
        "streams": "" if said is None else "; ".join(said.streams.values()),
        "outputs": ", ".join(f"{number} {status}" for status, number in counted.items()),
    }


def _outputs(said: Figures) -> list[dict[str, object]]:
    return [{"to": _shown(address), "status": _status(status)} for address, status in said.outputs.items()]


def _status(status: int) -> str:
    return STATUSES.get(status, str(status))


def _shown(address: str) -> str:
    """Without what may be a key. Jobs leave it out, too; this is for those that forget."""
    if "://" not in address:
        return address
    try:
        parts = urlsplit(address)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return f"{parts.scheme}://{host}{'' if parts.port is None else f':{parts.port}'}/…"
    except ValueError:
        return address.partition("://")[0] + "://…"


COMMANDS = (TasksList, TasksShow, TasksStop, TasksPreview)
