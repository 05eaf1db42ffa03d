"""``rtcloud admin ingest``, and ``rtcloud ingest``: what comes into rooms, pushed by RTMP or WHIP, or pulled.

Addresses that are pulled from may carry keys, so only their scheme and host are shown.
"""

import asyncio
from typing import Annotated, ClassVar

from sqlalchemy import Connection

from rtcloud.admin import naming, tasks
from rtcloud.admin.command import AdminError, Command, Flag, Site, iso
from rtcloud.ingest.pull import request as pulling
from rtcloud.ingest.push import request as pushing
from rtcloud.store.sealing import Sealer, SealError
from rtcloud.tasks import listing, records
from rtcloud.tasks.listing import TaskRow
from rtcloud.tasks.protocol import Figures
from rtcloud.whip.sessions import Publisher

KINDS = (pushing.KIND, pulling.KIND)


class IngestList(Command, tag="ingest.list", kw_only=True):
    """What comes in now, oldest first: who, into which room, from where, and what becomes of it."""

    example: ClassVar[str] = "ingest"
    app: Annotated[str | None, Flag("SDKAPPID", "of this application only")] = None

    async def run(self, site: Site) -> object:
        app = None if self.app is None else naming.application(site, self.app).sdk_app_id
        found = await site.database.read(lambda c: listing.rows(c, sdk_app_id=app, kinds=KINDS))
        places = await site.database.read(lambda c: [_place(c, site.sealer, row) for row in found])
        said = await asyncio.to_thread(lambda: [tasks.figures(site, row) for row in found])
        publishers = [one for one in site.publishers() if app in (None, one.ref.sdk_app_id)]
        return [*(_line(*each) for each in zip(found, places, said, strict=True)), *map(_session, publishers)]


class IngestStop(Command, tag="ingest.stop", kw_only=True):
    """Stop a pull as its API's stop does, or send a client that pushes away."""

    example: ClassVar[str] = "ingest stop 3f9a"
    task: tasks.TaskWord

    async def run(self, site: Site) -> object:
        row = await tasks.find(site, self.task)
        if row.kind not in KINDS:
            raise AdminError(f"task {row.task_id} is a {row.kind}: rtcloud task stop")
        return await tasks.stop(site, row)


def _place(connection: Connection, sealer: Sealer | None, row: TaskRow) -> str:
    if row.kind == pushing.KIND:
        return "rtmp push"
    if sealer is None:
        return ""
    try:
        task = records.load(connection, sealer, row.task_id)
    except SealError:
        return ""
    return "" if task is None else pulling.place(pulling.decode(task.params).stream_url)


def _line(row: TaskRow, place: str, said: Figures | None) -> dict[str, object]:
    shown = tasks.line(row, said)
    streams = {} if said is None else said.streams
    return {
        **{name: shown[name] for name in ("task_id", "kind", "application", "room")},
        "user": row.user_id,
        "from": place,
        "state": shown["state"],
        "since": iso(row.created_ms),
        "video": streams.get("video", ""),
        "audio": streams.get("audio", ""),
        **{name: shown[name] for name in ("fps", "kbit/s", "delay ms", "cpu")},
    }


def _session(publisher: Publisher) -> dict[str, object]:
    """No task: its media goes on as it comes."""
    handled = {kind: "as it comes" if kind in publisher.kinds else "" for kind in ("video", "audio")}
    return {
        "task_id": "",
        "kind": "whip",
        "application": publisher.ref.sdk_app_id,
        "room": publisher.ref.room_id,
        "user": publisher.user_id,
        "from": "whip",
        "state": "running" if publisher.is_connected else "connecting",
        "since": iso(publisher.since_ms),
        **handled,
        **dict.fromkeys(("fps", "kbit/s", "delay ms", "cpu")),
    }


COMMANDS = (IngestList, IngestStop)
