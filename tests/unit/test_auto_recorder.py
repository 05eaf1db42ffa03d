"""Automatic recording against real rows: which rooms get a task, and that none gets two, whatever dies in between."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select, update

from rtcloud.accounts.entities import ApplicationSettings, AutoRecording
from rtcloud.accounts.store import Accounts
from rtcloud.actions.context import Services
from rtcloud.auto_recorder import AutoRecorder
from rtcloud.callbacks.events import Origin, Storage
from rtcloud.egress.recording.automatic import request_of
from rtcloud.egress.recording.request import decode
from rtcloud.media.fake import FakeNode
from rtcloud.robots.entering import IDLE
from rtcloud.rooms import facts
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.rooms.participant import Device, Role, Track
from rtcloud.rooms.service import RoomService
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import tasks
from rtcloud.tasks.store import TaskStore
from tests.kit.clock import StillClock
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

SEALER = Sealer(bytes(32))
SINGLE = AutoRecording(mode="single", bucket="b")


class World:
    """One life of the server; the database outlives it."""

    def __init__(self, database: SqliteDatabase, accounts: Accounts, clock: StillClock) -> None:
        self.clock = clock
        self.accounts = accounts
        self.app = accounts.applications()[0].sdk_app_id
        self.database = database
        self.is_stopping = False
        self.bus = LocalBus()
        ids = itertools.count()
        self.rooms = RoomService(
            database, FakeNode(), self.bus, clock, lambda prefix: f"{prefix}_{clock.ms}_{next(ids)}"
        )
        unused: Any = None
        services = Services(
            rooms=self.rooms,
            tasks=TaskStore(database, SEALER, self.bus, clock),
            clock=clock,
            accounts=accounts,
            sessions=unused,
            watermarks=unused,
            images=unused,
            is_stopping=lambda: self.is_stopping,
        )
        self.services = services
        self.auto = AutoRecorder(services, self.rooms, database, self.bus, clock)

    def room(self, number: int = 7) -> RoomRef:
        return RoomRef(self.app, True, str(number))

    async def set(self, auto: AutoRecording | None, **settings: Any) -> None:
        await self.accounts.update_application(self.app, settings=ApplicationSettings(auto_recording=auto, **settings))

    async def enter(self, user_id: str, number: int = 7, *, robot: bool = False) -> str:
        session = f"PA_{self.clock.ms}_{user_id}_{number}"
        fact = facts.Entered(session, user_id, Role.ANCHOR, Device(), True, robot=robot)
        await self.rooms.enter(self.room(number), "rtc", fact, lambda _: None)
        return session

    async def send(self, user_id: str = "alice", number: int = 7, *, robot: bool = False) -> str:
        """Enter and publish a camera, whose media comes."""
        session = await self.enter(user_id, number, robot=robot)
        track = f"TR_{session}"
        self.rooms.post(session, facts.TrackAdded(session, Track(track, "c", "video", "camera")))
        self.rooms.post(session, facts.MediaStarted(session, track, "h264"))
        await self.rooms.remove_users(self.room(number), ["nobody"])  # passes through the same queue
        return session

    async def tasks(self) -> list[Any]:
        def read(connection: Connection) -> list[Any]:
            return list(connection.execute(select(tasks).order_by(tasks.c.created_ms, tasks.c.task_id)))

        return await self.database.read(read)

    async def end(self, leave_code: int) -> None:
        """The last task's robot left."""
        last = (await self.tasks())[-1].task_id
        values = {"state": "ended", "desired_state": "stopped", "leave_code": leave_code}
        await self.database.write(lambda c: c.execute(update(tasks).where(tasks.c.task_id == last).values(values)))


@asynccontextmanager
async def life(path: Path, clock: StillClock) -> AsyncIterator[World]:
    database = open_database(path)
    accounts = await Accounts.load(database, SEALER, clock)
    await accounts.ensure_first(clock.now_ms())
    world = World(database, accounts, clock)
    await world.rooms.start()
    try:
        yield world
    finally:
        await world.rooms.close()
        await database.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with life(tmp_path / "db", StillClock()) as opened:
        yield opened


async def test_a_room_is_recorded_once_a_person_sends_and_only_once(world: World) -> None:
    await world.set(SINGLE)
    await world.enter("alice", 7)
    await world.send("feedback", 8, robot=True)
    await world.auto.look()
    assert await world.tasks() == []
    await world.send("bob", 7)
    for _ in range(3):
        await world.auto.look()
    (task,) = await world.tasks()
    assert (task.room_id, task.user_id, task.kind) == ("7", AUTO_RECORDER, "recording")
    params = await world.services.tasks.params(task.task_id, world.app)
    assert params is not None
    assert decode(params) == request_of(SINGLE, world.room(7))


async def test_somebody_who_begins_to_send_is_recorded_at_once(world: World) -> None:
    await world.set(SINGLE)
    running = asyncio.create_task(world.auto.run())
    await asyncio.sleep(0)
    await world.send()
    await eventually(world.tasks, "a task", within=1.0)  # the poll comes later
    running.cancel()


async def test_rooms_of_before_it_was_turned_on_are_left_alone(world: World) -> None:
    await world.send("alice", 7)
    world.clock.ms += 1
    await world.set(SINGLE)
    await world.send("alice", 8)
    await world.send("bob", 7)
    await world.auto.look()
    assert [task.room_id for task in await world.tasks()] == ["8"]


async def test_turned_off_it_starts_nothing_and_ends_nothing(world: World) -> None:
    await world.set(SINGLE)
    await world.send("alice", 7)
    await world.auto.look()
    await world.set(None)
    await world.send("alice", 8)
    await world.auto.look()
    (task,) = await world.tasks()
    assert (task.room_id, task.desired_state) == ("7", "running")


async def test_who_is_muted_or_gone_is_no_reason_to_record(world: World) -> None:
    await world.set(SINGLE)
    alice = await world.send("alice", 7)
    world.rooms.post(alice, facts.TrackMuted(alice, f"TR_{alice}", True))
    bob = await world.send("bob", 8)
    world.rooms.post(bob, facts.LeftRoom(bob))
    await world.enter("carol", 8)
    await world.auto.look()
    assert await world.tasks() == []


@pytest.mark.parametrize(("leave_code", "goes_on"), [(IDLE, True), (0, False), (1, False), (3, False), (101, False)])
async def test_what_ended_because_nobody_came_is_begun_again_and_nothing_else(
    world: World, leave_code: int, goes_on: bool
) -> None:
    await world.set(SINGLE)
    await world.send()
    await world.auto.look()
    await world.end(leave_code)
    world.clock.ms += 1000
    for _ in range(3):
        await world.auto.look()
    assert len(await world.tasks()) == 1 + goes_on


async def test_a_new_life_of_a_room_is_recorded_whatever_was_before(world: World) -> None:
    await world.set(SINGLE)
    alice = await world.send()
    await world.auto.look()
    await world.services.tasks.stop((await world.tasks())[0].task_id)
    await world.auto.look()
    world.rooms.post(alice, facts.LeftRoom(alice))
    await world.end(0)
    world.clock.ms += 1000
    await world.send()
    await world.auto.look()
    assert len(await world.tasks()) == 2


async def test_no_place_is_told_once_and_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.set(SINGLE, concurrent_recordings=1)
    await world.send("alice", 7)
    await world.send("alice", 8)
    for _ in range(3):
        await world.auto.look()
    assert len(await world.tasks()) == 1
    assert [record.message for record in caplog.records].count("a room cannot be recorded automatically") == 1
    assert world.auto.figures()["auto_recordings_refused"][2] == 1
    await world.set(SINGLE, concurrent_recordings=2)
    await world.auto.look()
    assert len(await world.tasks()) == 2
    figures = world.auto.figures()
    assert (figures["auto_recordings_started"][2], figures["auto_recordings_refused"][2]) == (2, 0)


async def test_a_server_that_stops_begins_nothing(world: World) -> None:
    await world.set(SINGLE)
    await world.send()
    world.is_stopping = True
    await world.auto.look()
    assert await world.tasks() == []


async def test_after_a_crash_nobody_is_recorded_twice_and_nobody_is_forgotten(tmp_path: Path) -> None:
    """Room 7 had its task, room 8 not yet; the users of both come back and send again."""
    clock = StillClock()
    async with life(tmp_path / "db", clock) as before:
        await before.set(SINGLE)
        await before.send("alice", 7)
        await before.auto.look()
        await before.send("bob", 8)
    async with life(tmp_path / "db", clock) as after:
        await after.auto.look()
        assert [task.room_id for task in await after.tasks()] == ["7"], "nobody is back yet"
        clock.ms += 5000
        await after.send("alice", 7)
        await after.send("bob", 8)
        for _ in range(2):
            await after.auto.look()
        assert [task.room_id for task in await after.tasks()] == ["7", "8"]


async def test_without_the_setting_nothing_is_asked_of_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.send()

    async def asked(_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(world.database, "read", asked)
    await world.auto.look()
    world.clock.ms += 1
    await world.set(SINGLE)
    await world.auto.look()  # nobody sends in a room that is new


def test_the_setting_says_what_is_recorded_and_where_it_goes() -> None:
    ref = RoomRef(1400, False, "room")
    library = request_of(AutoRecording(format="aac", expire_s=60, class_id=7, procedure="cut"), ref)
    assert (library.filing.formats, library.filing.target) == (("aac",), Storage.VOD)
    assert library.filing.origin is Origin.AUTO
    assert (library.is_single, library.numeric, library.record_params.stream_type) == (False, False, 1)
    assert library.storage_params.cloud_vod is not None
    vod = library.storage_params.cloud_vod.tencent_vod
    assert (vod.expire_time, vod.class_id, vod.procedure) == (60, 7, "cut")
    setting = msgspec.structs.replace(
        SINGLE, content="video", format="hls", file_minutes=5, wait_s=9, vendor="aws", region="r", prefix=("a", "b")
    )
    bucket = request_of(setting, ref)
    assert (bucket.filing.formats, bucket.filing.target) == (("hls",), Storage.OBJECT)
    assert bucket.filing.folder("T") == ["b", "a", "b", "T"]
    assert (bucket.filing.bucket.vendor, bucket.filing.bucket.region) == ("aws", "r")
    record = bucket.record_params
    assert (record.stream_type, record.max_media_file_duration, record.max_idle_time) == (2, 5, 9)
