"""The uploader: whose turn it is, what a store's refusal does, what a restart finds."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import OperationalError

from rtcloud.callbacks.targets import set_targets
from rtcloud.clock import SystemClock
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import Database, SqliteDatabase, open_database
from rtcloud.store.objects import Bucket, Objects, StorageError
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import records, uploader
from rtcloud.tasks.context import WorkerContext
from rtcloud.tasks.process import JobProcess
from rtcloud.tasks.task import NewTask
from rtcloud.tasks.uploader import Uploader
from tests.kit.waiting import eventually as eventually_awaited

pytestmark = pytest.mark.anyio

T = TypeVar("T")
SEALER = Sealer(bytes(32))


def request_of(bucket: str) -> bytes:
    storage = {"Vendor": 0, "Region": "r", "Bucket": bucket, "AccessKey": "id", "SecretKey": "key"}
    members = {"SdkAppId": 1400, "RoomId": "77", "UserId": "robot", "RecordParams": {"RecordMode": 2}}
    return json.dumps(members | {"StorageParams": {"CloudStorage": storage}}).encode()


class FakeStore:
    """Takes everything unless it is told otherwise, and remembers what it was given."""

    is_remote = True

    def __init__(self, place: str) -> None:
        self.place = place
        self.keys: list[list[str]] = []
        self.probes: list[list[str]] = []
        self.refusal: StorageError | None = None
        self.unwanted: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = 0
        self.most_inside = 0

    async def put(self, key: Sequence[str], source: Path) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.gate.wait()
            if self.refusal is not None:
                raise self.refusal
            assert source.read_bytes() == b"x"
            if key[-1] in self.unwanted:
                raise StorageError("InvalidRequest", "not this one")
            self.keys.append([*key])
        finally:
            self.inside -= 1

    async def probe(self, folder: Sequence[str]) -> None:
        self.probes.append([*folder])
        if self.refusal is not None:
            raise self.refusal


async def no_job() -> JobProcess:
    raise AssertionError("an uploader starts no job")


class House:
    """One worker's rows and spool; ``stores`` by the bucket's name."""

    def __init__(self, database: Database, spool: Path) -> None:
        self.database = database
        self.stores: dict[str, FakeStore] = {}
        self.spool = spool

    def of(self, bucket: Bucket) -> Objects:
        return self.stores.setdefault(bucket.name, FakeStore(bucket.name))

    def uploader(self, database: Database | None = None) -> Uploader:
        return Uploader(self.context(database or self.database), self)

    def context(self, database: Database) -> WorkerContext:
        return WorkerContext(
            worker="w",
            database=database,
            sealer=SEALER,
            bus=LocalBus(),
            clock=SystemClock(),
            kinds={"recording": RecordingKind()},
            spool=self.spool,
            start_job=no_job,
            make_robot_token=lambda task: "",
        )

    async def add(self, task_id: str, bucket: str, *names: str, state: str = "running") -> None:
        folder = self.spool / task_id / "0"
        folder.mkdir(parents=True)

        def fill(connection: Connection) -> None:
            ref = RoomRef(1400, True, "77")
            records.accept(
                connection, SEALER, NewTask(task_id, "recording", ref, "robot", request_of(bucket), 2**50, 1)
            )
            mine = tables.tasks.update().where(tables.tasks.c.task_id == task_id)
            connection.execute(mine.values(worker="w", state=state))
            for sequence, name in enumerate(names):
                (folder / name).write_bytes(b"x")
                kind = "index" if name.endswith("m3u8") else "segment"
                values = {"kind": kind, "attempt": 0, "track_type": "audio_video", "begin_ms": 1, "end_ms": 2}
                connection.execute(
                    insert(tables.task_files).values(task_id=task_id, name=name, sequence=sequence, **values)
                )

        await self.database.write(fill)

    async def listen(self) -> None:
        def fill(connection: Connection) -> None:
            connection.execute(insert(tables.accounts).values(uin="1", created_ms=1))
            values = {"account_uin": "1", "name": "", "secret_key_sealed": b"", "settings": "{}", "created_ms": 1}
            connection.execute(insert(tables.applications).values(sdk_app_id=1400, **values))
            set_targets(connection, SEALER, 1400, url="http://127.0.0.1:9/")

        await self.database.write(fill)

    async def told(self) -> list[tuple[int, Any]]:
        columns = select(tables.callbacks.c.event_type, tables.callbacks.c.event_info).order_by(tables.callbacks.c.id)
        rows = await self.database.read(lambda connection: connection.execute(columns).all())
        return [(kind, json.loads(info)["Payload"]) for kind, info in rows]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database: SqliteDatabase = open_database(None)
    yield House(database, tmp_path)
    await database.close()


@contextlib.asynccontextmanager
async def running(one: Uploader) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(one.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_slow_store_holds_up_only_its_own_tasks(house: House) -> None:
    for number in range(uploader.PER_PLACE + 2):
        await house.add(f"a{number}", "slow", "one.ts")
    await house.add("b", "fast", "one.ts")
    slow = house.stores["slow"] = FakeStore("slow")
    slow.gate.clear()
    one = house.uploader()
    async with running(one):
        await eventually(lambda: bool(house.stores.get("fast") and house.stores["fast"].keys), "the other one is done")
        assert slow.inside == uploader.PER_PLACE
        await eventually(lambda: one.uploading == uploader.PER_PLACE, "and leaves the slow ones")
        slow.gate.set()
        await eventually(lambda: len(slow.keys) == uploader.PER_PLACE + 2, "the slow ones follow")
    assert slow.most_inside == uploader.PER_PLACE
    assert ["slow", "a0", "one.ts"] in slow.keys


async def test_many_files_of_one_task_let_others_through(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader, "TURN", 2)
    monkeypatch.setattr(uploader, "PER_PLACE", 1)
    await house.add("a", "films", *(f"{number}.ts" for number in range(6)))
    await house.add("b", "films", "one.ts")
    async with running(house.uploader()):
        await eventually(lambda: len(house.stores.get("films", FakeStore("")).keys) == 7, "all are there")
    names = [(key[1], key[2]) for key in house.stores["films"].keys]
    assert [name for task, name in names if task == "a"] == [f"{number}.ts" for number in range(6)]


async def test_a_restart_goes_on_with_what_was_not_confirmed(house: House) -> None:
    await house.add("a", "films", "1.ts", "2.ts")
    films = house.stores["films"] = FakeStore("films")
    async with running(house.uploader()):
        await eventually(lambda: len(films.keys) == 2, "both are there")
        await eventually(lambda: not list((house.spool / "a" / "0").iterdir()), "the spool is empty")
    await house.add("b", "films", "3.ts")
    films.refusal = StorageError("AccessDenied", "no")
    one = house.uploader()
    async with running(one):
        await eventually(lambda: one.counters.refused == 1, "the store refused")
    films.refusal = None
    async with running(house.uploader()):
        await eventually(lambda: len(films.keys) == 3, "the next start sends it at once", 1.5)
    assert [key[2] for key in films.keys] == ["1.ts", "2.ts", "3.ts"]


async def test_a_refusal_is_told_once_per_code_and_tried_again(house: House) -> None:
    await house.listen()
    await house.add("a", "films", "1.ts", state="accepted")
    films = house.stores["films"] = FakeStore("films")
    films.refusal = StorageError("AccessDenied", "no")
    one = house.uploader()
    async with running(one):
        await eventually(lambda: one.counters.refused == 2, "two refusals", 10)
        films.refusal = StorageError("Unreachable", "gone")
        await eventually(lambda: one.counters.refused == 3, "a third", 10)
        films.refusal = None
        await eventually(lambda: len(films.keys) == 1, "it is there in the end", 10)
    assert await house.told() == [
        (308, {"Code": "AccessDenied", "Message": "no"}),
        (308, {"Code": "Unreachable", "Message": "gone"}),
    ]


async def test_one_file_that_the_store_does_not_want_holds_up_no_other_but_its_index(house: House) -> None:
    await house.add("a", "films", "1.ts", "2.ts", "a.m3u8", "3.ts")
    films = house.stores["films"] = FakeStore("films")
    films.unwanted = {"1.ts"}
    one = house.uploader()
    async with running(one):
        await eventually(lambda: one.counters.refused == 2, "it was tried again", 10)
        assert [key[-1] for key in films.keys] == ["2.ts", "3.ts"]
        films.unwanted = set()
        await eventually(lambda: len(films.keys) == 4, "all are there", 10)
    assert [key[-1] for key in films.keys[2:]] == ["1.ts", "a.m3u8"]


async def test_keys_that_were_replaced_are_tried_at_once(house: House) -> None:
    await house.add("a", "films", "1.ts")
    films = house.stores["films"] = FakeStore("films")
    films.refusal = StorageError("AccessDenied", "no")
    one = house.uploader()
    async with running(one):
        await eventually(lambda: one.counters.refused == 3, "the pauses are long by now", 10)
        films.refusal = None
        one._context.bus.publish(records.KEYS_TOPIC, "a")
        await eventually(lambda: len(films.keys) == 1, "it goes", 2)


async def test_a_store_elsewhere_is_asked_when_the_job_is_at_work(house: House) -> None:
    await house.listen()
    await house.add("a", "films")
    await house.add("b", "films", state="accepted")
    local = house.stores["here"] = FakeStore("here")
    local.is_remote = False
    await house.add("c", "here")
    async with running(house.uploader()):
        await eventually_awaited(lambda: is_told(house, 1), "303 is told")
    assert house.stores["films"].probes == [["films", "a"]]
    assert local.probes == []
    assert await house.told() == [(303, {"Status": 0})]


async def test_wrong_keys_are_told_at_the_start(house: House) -> None:
    await house.listen()
    films = house.stores["films"] = FakeStore("films")
    films.refusal = StorageError("InvalidAccessKeyId", "unknown key")
    await house.add("a", "films")
    async with running(house.uploader()):
        await eventually_awaited(lambda: is_told(house, 2), "both are told")
    async with running(house.uploader()):
        await eventually(lambda: len(films.probes) == 2, "a restart asks again")
    assert await house.told() == [
        (303, {"Status": 1}),
        (308, {"Code": "InvalidAccessKeyId", "Message": "unknown key"}),
    ]


async def eventually(condition: Callable[[], bool], what: str, within: float = 10.0) -> None:
    async def is_so() -> bool:
        return condition()

    await eventually_awaited(is_so, what, within)


async def is_told(house: House, number: int) -> bool:
    return len(await house.told()) >= number


class FullDisk:
    """A database that can be read only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.refused = asyncio.Event()

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.refused.set()
        raise OperationalError("insert", None, Exception("database or disk is full"))

    async def close(self) -> None: ...


async def test_a_full_disk_does_not_end_the_uploader(house: House) -> None:
    """It refuses the file and the note of the refusal."""
    await house.add("t", "films", "a.ts", state="accepted")
    house.stores["films"] = FakeStore("films")
    house.stores["films"].refusal = StorageError("Generic", "no space left on device")
    disk = FullDisk(house.database)
    one = house.uploader(disk)
    async with running(one) as uploading:
        await asyncio.wait_for(disk.refused.wait(), 10)
        done, _ = await asyncio.wait([uploading], timeout=0.05)
        assert not done
        assert one.counters.refused == 1
