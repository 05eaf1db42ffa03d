"""The uploader when nothing can be written any more: a full disk refuses the file and the note of the refusal."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, insert
from sqlalchemy.exc import OperationalError

from rtcloud.clock import SystemClock
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import Database, open_database
from rtcloud.store.objects import StorageError
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import records
from rtcloud.tasks.context import WorkerContext
from rtcloud.tasks.task import NewTask
from rtcloud.tasks.uploader import Uploader

pytestmark = pytest.mark.anyio

T = TypeVar("T")
SEALER = Sealer(bytes(32))
REQUEST = {
    "SdkAppId": 1400,
    "RoomId": "77",
    "UserId": "robot",
    "RecordParams": {"RecordMode": 2},
    "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "bucket"}},
}


class FullDisk:
    """A database that can be read only, and a store that takes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.refusals = 0
        self.refused = asyncio.Event()

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.refused.set()
        raise OperationalError("insert", None, Exception("database or disk is full"))

    async def close(self) -> None: ...

    async def put(self, key: Sequence[str], source: Path) -> None:
        self.refusals += 1
        raise StorageError("Generic", "no space left on device")


async def test_a_full_disk_does_not_end_the_uploader(tmp_path: Path) -> None:
    database = open_database(None)

    def fill(connection: Connection) -> None:
        ref = RoomRef(1400, True, "77")
        records.accept(
            connection, SEALER, NewTask("t", "recording", ref, "robot", json.dumps(REQUEST).encode(), 2**50, 1)
        )
        connection.execute(tables.tasks.update().values(worker="w"))
        values = {"kind": "segment", "attempt": 0, "track_type": "audio_video", "begin_ms": 1, "end_ms": 2}
        connection.execute(insert(tables.task_files).values(task_id="t", name="a.ts", **values))

    await database.write(fill)
    disk = FullDisk(database)
    context = WorkerContext(
        worker="w",
        database=disk,
        sealer=SEALER,
        bus=LocalBus(),
        clock=SystemClock(),
        kinds={"recording": RecordingKind()},
        spool=tmp_path,
        command=(),
        make_robot_token=lambda task: "",
        environment={},
    )
    (tmp_path / "t" / "0").mkdir(parents=True)
    (tmp_path / "t" / "0" / "a.ts").write_bytes(b"x")
    uploading = asyncio.ensure_future(Uploader(context, disk).run())
    try:
        await asyncio.wait_for(disk.refused.wait(), 10)
        done, _ = await asyncio.wait([uploading], timeout=0.05)
        assert not done
        assert disk.refusals == 1
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)
        await database.close()
