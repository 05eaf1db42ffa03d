"""The memory of calls in a real SQLite file: written, found by index, deleted in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, event, func, insert, select, update
from sqlalchemy.exc import OperationalError

from rtcloud.rooms.ids import RoomRef
from rtcloud.stats import reading, retention, store, task_reading
from rtcloud.stats.counting import Received
from rtcloud.stats.events import EventId, RefusedEntry, StreamType, UserEvent
from rtcloud.stats.recorder import Recorder
from rtcloud.stats.samples import MINUTE_MS, Minute, Sample
from rtcloud.store import tables
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import records
from rtcloud.tasks.task import NewTask, TaskOutput

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

APP = 1400000001
DAY_MS = 24 * 3_600_000
NOW = 28_333_333 * MINUTE_MS
T = TypeVar("T")


@dataclass
class HandClock:
    ms: int = NOW

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = open_database(tmp_path / "rtcloud.db")
    yield opened
    await opened.close()


def room(connection: Connection, sid: str, created_ms: int, destroyed_ms: int | None = None, *, app: int = APP) -> None:
    connection.execute(
        insert(tables.rooms).values(
            id=sid,
            sdk_app_id=app,
            numeric=True,
            room_id=sid[-1],
            created_ms=created_ms,
            destroyed_ms=destroyed_ms,
        )
    )


def stay(
    connection: Connection, presence: str, sid: str, user_id: str, joined_ms: int, left_ms: int | None = None
) -> None:
    connection.execute(
        insert(tables.presences).values(
            id=presence,
            room=sid,
            user_id=user_id,
            role=20,
            user_type=1,
            terminal_type=4,
            client_address="192.0.2.7",
            joined_ms=joined_ms,
            left_ms=left_ms,
            leave_reason=None if left_ms is None else 1,
        )
    )


def sends(connection: Connection, presence: str, kind: str, started_ms: int, stopped_ms: int | None) -> None:
    connection.execute(
        insert(tables.publications).values(presence=presence, kind=kind, started_ms=started_ms, stopped_ms=stopped_ms)
    )


def receives(
    connection: Connection,
    presence: str,
    publisher: str,
    kind: str,
    started_ms: int,
    stopped_ms: int | None,
    size: tuple[int, int] = (0, 0),
) -> None:
    connection.execute(
        insert(tables.subscriptions).values(
            presence=presence,
            publisher=publisher,
            kind=kind,
            width=size[0],
            height=size[1],
            started_ms=started_ms,
            stopped_ms=stopped_ms,
        )
    )


def call(connection: Connection) -> None:
    """Alice and Bob in room 1; Alice's camera is muted for a while, Bob sees it in two sizes."""
    room(connection, "RM_1", NOW, NOW + 60_000)
    stay(connection, "PA_a", "RM_1", "alice", NOW, NOW + 60_000)
    stay(connection, "PA_b", "RM_1", "bob", NOW + 1000, NOW + 50_000)
    sends(connection, "PA_a", "video", NOW + 2000, NOW + 20_000)
    sends(connection, "PA_a", "video", NOW + 30_000, NOW + 60_000)
    receives(connection, "PA_b", "alice", "video", NOW + 3000, NOW + 10_000, (320, 180))
    receives(connection, "PA_b", "alice", "video", NOW + 10_000, NOW + 20_000, (1280, 720))
    receives(connection, "PA_b", "alice", "audio", NOW + 3000, NOW + 50_000)
    store.write_events(
        connection,
        [
            UserEvent("PA_a", NOW + 20_000, EventId.VIDEO_MUTED, stream=StreamType.MAIN),
            UserEvent("PA_a", NOW + 30_000, EventId.VIDEO_UNMUTED, stream=StreamType.MAIN),
            UserEvent("PA_b", NOW + 40_000, EventId.MEDIA_DOWN),
        ],
    )


async def test_rooms_of_an_application_are_found_by_time(database: SqliteDatabase) -> None:
    def work(connection: Connection) -> None:
        room(connection, "RM_1", NOW, NOW + 10)
        room(connection, "RM_2", NOW + 5)
        room(connection, "RM_3", NOW + 20, NOW + 30)
        room(connection, "RM_4", NOW, NOW + 10, app=APP + 1)
        stay(connection, "PA_late", "RM_1", "late", NOW + 6)
        stay(connection, "PA_first", "RM_1", "first", NOW + 5)

    await database.write(work)
    total, found = await database.read(lambda c: reading.rooms_of(c, APP, NOW + 10, NOW + 19))
    assert (total, [one.sid for one in found]) == (2, ["RM_2", "RM_1"])
    assert found[1] == reading.RoomLife("RM_1", RoomRef(APP, True, "1"), "rtc", NOW, NOW + 10, "first")
    assert found[0].creator == ""
    total, page = await database.read(lambda c: reading.rooms_of(c, APP, NOW, NOW + 99, limit=1, offset=1))
    assert (total, [one.sid for one in page]) == (3, ["RM_2"])
    total, named = await database.read(lambda c: reading.rooms_of(c, APP, NOW, NOW + 99, room_id="3"))
    assert (total, [one.sid for one in named]) == (1, ["RM_3"])


async def test_a_room_is_found_by_the_second_of_its_creation(database: SqliteDatabase) -> None:
    await database.write(lambda c: room(c, "RM_1", NOW + 999, NOW + 5000))
    await database.write(lambda c: room(c, "RM_21", NOW + 6000))
    found = await database.read(lambda c: reading.find_room(c, APP, "1", NOW // 1000))
    assert found is not None
    assert found.sid == "RM_1"
    assert await database.read(lambda c: reading.find_room(c, APP, "1", NOW // 1000 + 1)) is None


async def test_users_of_a_room_come_in_the_order_of_entry(database: SqliteDatabase) -> None:
    await database.write(call)
    total, stays = await database.read(lambda c: reading.users_of(c, "RM_1", NOW, NOW + 99_000))
    assert (total, [one.user_id for one in stays]) == (2, ["alice", "bob"])
    assert stays[0].client_address == "192.0.2.7"
    total, _ = await database.read(lambda c: reading.users_of(c, "RM_1", NOW + 55_000, NOW + 99_000))
    assert total == 1
    total, stays = await database.read(lambda c: reading.users_of(c, "RM_1", NOW, NOW + 99_000, user_ids=["bob"]))
    assert (total, [one.presence for one in stays]) == (1, ["PA_b"])


async def test_events_of_a_user_are_told_once_and_in_order(database: SqliteDatabase) -> None:
    await database.write(call)
    alice = await database.read(lambda c: reading.events_of(c, "RM_1", "alice", NOW, NOW + 99_000))
    assert [(one.at_ms - NOW, one.event_id) for one in alice] == [
        (0, EventId.ENTERED),
        (2000, EventId.VIDEO_ON),
        (20_000, EventId.VIDEO_MUTED),
        (30_000, EventId.VIDEO_UNMUTED),
        (60_000, EventId.VIDEO_OFF),
        (60_000, EventId.LEFT),
    ]
    bob = await database.read(lambda c: reading.events_of(c, "RM_1", "bob", NOW + 1001, NOW + 45_000))
    assert [(one.at_ms - NOW, one.event_id, one.param1, one.peer) for one in bob] == [
        (3000, EventId.AUDIO_SUBSCRIBED, -1, "alice"),
        (3000, EventId.VIDEO_SUBSCRIBED, -1, "alice"),
        (3000, EventId.RESOLUTION, 320, "alice"),
        (10_000, EventId.RESOLUTION, 1280, "alice"),
        (20_000, EventId.VIDEO_UNSUBSCRIBED, -1, "alice"),
        (40_000, EventId.MEDIA_DOWN, -1, ""),
    ]


async def test_samples_are_read_by_presence_and_time(database: SqliteDatabase) -> None:
    clock = HandClock()
    recorder = Recorder(database, clock)
    for second in range(0, 180, 2):
        clock.ms = NOW + second * 1000
        recorder.sample("PA_a", Sample(clock.ms, rtt_ms=second))
        recorder.sample("PA_a", Sample(clock.ms, video_bitrate=100_000), "bob")
        recorder.sample("PA_z", Sample(clock.ms, rtt_ms=1))
        await recorder.write()
    await recorder.write(everything=True)
    found = await database.read(lambda c: reading.samples_of(c, ["PA_a"], NOW + 58_000, NOW + 122_000))
    assert set(found) == {("PA_a", ""), ("PA_a", "bob")}
    assert [one.rtt_ms for one in found["PA_a", ""]] == list(range(58, 124, 2))
    (kept, *_) = found["PA_a", "bob"]
    assert kept.video_bitrate == pytest.approx(100_000, rel=0.01)
    rows = await database.read(lambda c: c.scalar(select(func.count()).select_from(tables.quality_minutes)))
    assert rows == 9
    assert recorder.counters.samples == 270
    with pytest.raises(ValueError, match="day"):
        await database.read(lambda c: reading.samples_of(c, ["PA_a"], NOW, NOW + 2 * DAY_MS))


async def test_scale_counts_rooms_users_and_entries(database: SqliteDatabase) -> None:
    def work(connection: Connection) -> None:
        call(connection)
        stay(connection, "PA_b2", "RM_1", "bob", NOW + 52_000)
        room(connection, "RM_2", NOW, None, app=APP + 1)
        stay(connection, "PA_x", "RM_2", "bob", NOW)

    await database.write(work)
    counted = await database.read(lambda c: reading.entries_of(c, APP, NOW, NOW + 99_000))
    assert counted == reading.Entries(rooms=1, users=2, entries=3)
    stays = await database.read(lambda c: reading.stays_of(c, APP, NOW + 51_000, NOW + 51_500))
    assert [one.presence for one in stays] == ["PA_a"]


async def test_who_was_refused_is_kept(database: SqliteDatabase) -> None:
    recorder = Recorder(database, HandClock())
    entry = RefusedEntry(APP, True, "7", "mallory", NOW, 70003)
    recorder.refused(entry)
    recorder.refused(entry)
    await recorder.write(everything=True)
    (found,) = await database.read(lambda c: reading.refused_of(c, APP, NOW, NOW))
    assert (found.user_id, found.code, found.count) == ("mallory", 70003, 2)


async def test_a_task_tells_what_went_in_and_out(database: SqliteDatabase) -> None:
    ref = RoomRef(APP, True, "1")
    output = TaskOutput("h264", 1280, 720)
    task = NewTask("T1", "recording", ref, "robot", b"{}", NOW + DAY_MS, NOW, output)

    def work(connection: Connection) -> None:
        records.accept(connection, Sealer(bytes(32)), task)
        call(connection)
        stay(connection, "PA_r", "RM_1", "robot", NOW + 1000, NOW + 60_000)
        receives(connection, "PA_r", "alice", "audio", NOW + 2000, NOW + 60_000)
        receives(connection, "PA_r", "alice", "video", NOW + 2000, NOW + 20_000, (1280, 720))
        receives(connection, "PA_r", "bob", "video", NOW + 5000, NOW + 20_000, (640, 480))

    await database.write(work)
    assert await database.read(lambda c: task_reading.inputs_of_task(c, "T1")) == [
        Received(NOW + 2000, NOW + 5000, 1280 * 720, True),
        Received(NOW + 5000, NOW + 20_000, 1280 * 720 + 640 * 480, True),
        Received(NOW + 20_000, NOW + 60_000, 0, True),
    ]
    assert await database.read(lambda c: task_reading.inputs_of_task(c, "T2")) == []
    made = await database.read(lambda c: task_reading.outputs_of_task(c, "T1"))
    assert made == [task_reading.TaskOutputStretch(NOW, None, "h264", 1280, 720, True)]


async def test_what_a_mix_takes_from_other_rooms_went_in_too(database: SqliteDatabase) -> None:
    other = RoomRef(APP, False, "other")
    task = NewTask("T1", "relay", RoomRef(APP, True, "1"), "robot", b"{}", NOW + DAY_MS, NOW)

    def work(connection: Connection) -> None:
        records.accept(connection, Sealer(bytes(32)), task)
        call(connection)
        for number, ref in (("2", other), ("3", RoomRef(APP, False, "unrelated"))):
            values = {"sdk_app_id": APP, "numeric": False, "room_id": ref.room_id, "created_ms": NOW}
            connection.execute(tables.rooms.insert().values(id=f"RM_{number}", **values))
            stay(connection, f"PA_{number}", f"RM_{number}", "robot", NOW + 1000, NOW + 60_000)
            receives(connection, f"PA_{number}", "carol", "audio", NOW + 2000, NOW + 6_000)
        for _ in range(2):
            records.note_rooms(connection, "T1", [task.ref, other])

    await database.write(work)
    received = [Received(NOW + 2000, NOW + 6000, 0, True)]
    assert await database.read(lambda c: task_reading.inputs_of_task(c, "T1")) == received


@pytest.mark.parametrize(
    ("query", "tables_searched"),
    [
        (lambda c: reading.rooms_of(c, APP, NOW, NOW), {"rooms", "presences"}),
        (lambda c: reading.find_room(c, APP, "1", NOW // 1000), {"rooms", "presences"}),
        (lambda c: reading.users_of(c, "RM_1", NOW, NOW), {"presences"}),
        (
            lambda c: reading.events_of(c, "RM_1", "bob", NOW, NOW),
            {"presences", "publications", "subscriptions", "user_events"},
        ),
        (lambda c: reading.samples_of(c, ["PA_1", "PA_2"], NOW, NOW + 600_000), {"quality_minutes"}),
        (lambda c: reading.stays_of(c, APP, NOW, NOW), {"rooms", "presences"}),
        (lambda c: reading.entries_of(c, APP, NOW, NOW), {"rooms", "presences"}),
        (lambda c: reading.refused_of(c, APP, NOW, NOW), {"refused_entries"}),
        (lambda c: task_reading.inputs_of_task(c, "T1"), {"tasks", "rooms", "presences", "subscriptions"}),
        (lambda c: task_reading.outputs_of_task(c, "T1"), {"task_outputs", "tasks"}),
    ],
)
async def test_every_reader_searches_indexes(
    database: SqliteDatabase, query: Callable[[Connection], object], tables_searched: set[str]
) -> None:
    """No table is read through: ``EXPLAIN QUERY PLAN`` says SEARCH for each of them."""

    def plans(connection: Connection) -> list[str]:
        told: list[str] = []

        def explain(_c: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
            if statement.startswith(("SELECT", "WITH")):
                driver = connection.connection.driver_connection
                assert driver is not None
                told.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        event.listen(connection, "before_cursor_execute", explain)
        try:
            query(connection)
        finally:
            event.remove(connection, "before_cursor_execute", explain)
        return told

    def work(connection: Connection) -> list[str]:
        call(connection)
        task = NewTask("T1", "recording", RoomRef(APP, True, "1"), "bob", b"{}", NOW, NOW, TaskOutput())
        records.accept(connection, Sealer(bytes(32)), task)
        return plans(connection)

    told = await database.write(work)
    searched = {step.split()[1] for step in told if step.startswith("SEARCH")}
    assert tables_searched <= searched, told
    scanned = {step.split()[1] for step in told if step.startswith("SCAN")}
    assert not scanned & set(tables.metadata.tables), told


async def test_looking_for_what_is_too_old_searches_indexes(database: SqliteDatabase) -> None:
    told: list[str] = []

    def explain(connection: Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        if statement.startswith(("SELECT", "DELETE")):
            told.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    await database.write(call)
    event.listen(database._writer_engine, "before_cursor_execute", explain)
    await retention.forget(database, NOW + DAY_MS, pause_seconds=0)
    scanned = {step for step in told if step.startswith("SCAN") and "callbacks" not in step}
    # in the order of their ids, from the oldest on, and no further than a batch
    assert scanned <= {"SCAN user_events", "SCAN refused_entries"}, told


async def test_a_crowded_room_has_no_scan_when_somebody_leaves(database: SqliteDatabase) -> None:
    """What ends the subscriptions of one presence looks at those alone."""

    def plan(connection: Connection) -> list[str]:
        statement = (
            "EXPLAIN QUERY PLAN UPDATE subscriptions SET stopped_ms = 1 WHERE presence = ? AND stopped_ms IS NULL"
        )
        return [row[3] for row in connection.exec_driver_sql(statement, ("PA_1",))]

    assert all("USING INDEX subscriptions_open" in step for step in await database.read(plan))


async def counts(database: SqliteDatabase) -> dict[str, int]:
    names = ("rooms", "presences", "publications", "subscriptions", "user_events", "quality_minutes", "refused_entries")

    def work(connection: Connection) -> dict[str, int]:
        return {
            name: connection.scalar(select(func.count()).select_from(tables.metadata.tables[name])) or 0
            for name in names
        }

    return await database.read(work)


def sampled(connection: Connection, presence: str, at_ms: int) -> None:
    minute = Minute(at_ms // MINUTE_MS)
    minute.add(Sample(at_ms, rtt_ms=1))
    store.write_minutes(connection, [((minute.number, presence, ""), minute.pack())])


async def test_what_is_too_old_goes_and_what_is_not_stays(database: SqliteDatabase) -> None:
    limit = NOW + DAY_MS

    def work(connection: Connection) -> None:
        call(connection)
        sampled(connection, "PA_a", NOW)
        store.write_refusals(connection, [RefusedEntry(APP, True, "7", "u", NOW, 1)])
        room(connection, "RM_2", NOW)  # old and open, with an old stay, an open one, and one that ended later
        stay(connection, "PA_old", "RM_2", "old", NOW, limit - 1)
        stay(connection, "PA_open", "RM_2", "open", NOW)
        stay(connection, "PA_new", "RM_2", "new", NOW, limit)
        sends(connection, "PA_open", "audio", NOW, NOW + 1)
        sends(connection, "PA_open", "audio", NOW + 2, None)
        receives(connection, "PA_open", "old", "audio", NOW, limit - 1)
        receives(connection, "PA_new", "old", "audio", NOW, limit)
        room(connection, "RM_3", NOW, limit)
        connection.execute(insert(tables.room_blocks).values(room="RM_1", user_id="bob", kinds="audio"))
        sampled(connection, "PA_open", limit)
        store.write_events(connection, [UserEvent("PA_open", limit, EventId.SIGNAL_UP)])

    await database.write(work)
    deleted = await retention.forget(database, limit, pause_seconds=0)
    assert deleted == {
        "user_events": 3,
        "refused_entries": 1,
        "quality_minutes": 1,
        "tasks": 0,
        "subscriptions": 4,
        "publications": 3,
        "presences": 3,
        "rooms": 1,
    }
    assert await counts(database) == {
        "rooms": 2,
        "presences": 2,
        "publications": 1,
        "subscriptions": 1,
        "user_events": 1,
        "quality_minutes": 1,
        "refused_entries": 0,
    }


async def test_tasks_that_brought_media_in_go_and_others_stay(database: SqliteDatabase) -> None:
    def work(connection: Connection) -> None:
        for number in range(300):
            ended = None if number == 1 else NOW + (DAY_MS if number == 2 else 0)
            task(connection, f"push{number}", "push", ended)
        for kind in ("ingest", "recording", "relay"):
            task(connection, kind, kind, NOW)

    def task(connection: Connection, task_id: str, kind: str, ended_ms: int | None) -> None:
        ref = RoomRef(APP, True, "7")
        new = NewTask(task_id, kind, ref, "u", b"{}", expires_ms=0, now_ms=NOW, output=TaskOutput())
        records.accept(connection, Sealer(bytes(32)), new)
        records.note_rooms(connection, task_id, [ref])
        values = {"state": "running" if ended_ms is None else "ended", "ended_ms": ended_ms}
        connection.execute(update(tables.tasks).where(tables.tasks.c.task_id == task_id).values(values))

    await database.write(work)
    deleted = await retention.forget(database, NOW + DAY_MS, pause_seconds=0)
    assert deleted["tasks"] == 299
    for table in (tables.tasks, tables.task_outputs, tables.task_rooms):
        left = await database.read(lambda connection: set(connection.scalars(select(table.c.task_id))))  # noqa: B023
        assert left == {"push1", "push2", "recording", "relay"}, table.name


async def test_much_that_is_too_old_goes_in_small_steps(database: SqliteDatabase) -> None:
    many = 3 * retention.AT_ONCE + 7

    def work(connection: Connection) -> None:
        room(connection, "RM_1", NOW, NOW + 5)
        for n in range(many):
            stay(connection, f"PA_{n}", "RM_1", f"u{n}", NOW, NOW + 5)
        for n in range(many):
            receives(connection, f"PA_{n}", "x", "audio", NOW, NOW + 5)
            sampled(connection, f"PA_{n}", NOW)
        store.write_events(connection, [UserEvent(f"PA_{n}", NOW, EventId.SIGNAL_UP) for n in range(many)])

    await database.write(work)
    most = 0

    class Watched(SqliteDatabase):
        async def write(self, work: Callable[[Connection], T]) -> T:
            nonlocal most

            def counted(connection: Connection) -> T:
                nonlocal most
                before = _changes(connection)
                result = work(connection)
                most = max(most, _changes(connection) - before)
                return result

            return await super().write(counted)

    database.__class__ = Watched
    await retention.forget(database, NOW + DAY_MS, pause_seconds=0)
    assert set((await counts(database)).values()) == {0}
    assert most == retention.AT_ONCE


def _changes(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT total_changes()").scalar_one())


async def test_the_recorder_writes_by_itself_and_finishes_when_it_is_stopped(database: SqliteDatabase) -> None:
    recorder = Recorder(database, HandClock(), tick_seconds=0.01)
    running = asyncio.get_running_loop().create_task(recorder.run())
    recorder.event(UserEvent("PA_1", NOW, EventId.SIGNAL_DOWN))
    async with asyncio.timeout(10):
        while not recorder.counters.events:
            await asyncio.sleep(0.01)
    for n in range(450):
        recorder.event(UserEvent(f"PA_{n}", NOW, EventId.SIGNAL_UP))
    recorder.sample("PA_1", Sample(NOW, rtt_ms=3))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    found = await counts(database)
    assert (found["user_events"], found["quality_minutes"]) == (451, 1)
    assert recorder.waiting[0] == 0


async def test_what_cannot_be_written_is_kept_and_written_once(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, failures = store.write_events, 3

    def failing(connection: Connection, events: list[UserEvent]) -> None:
        nonlocal failures
        real(connection, events)
        if failures:
            failures -= 1
            raise OperationalError("disk", None, Exception("full"))

    monkeypatch.setattr(store, "write_events", failing)
    recorder = Recorder(database, HandClock(), tick_seconds=0.01)
    running = asyncio.get_running_loop().create_task(recorder.run())
    recorder.event(UserEvent("PA_1", NOW, EventId.SIGNAL_DOWN))
    async with asyncio.timeout(10):
        while not recorder.counters.events:
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await counts(database))["user_events"] == 1
    assert sum("cannot be written" in one.message for one in caplog.records) == 1
    assert not recorder.failing


async def test_what_can_never_be_written_does_not_hold_up_the_rest(
    database: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(database, HandClock())
    recorder.event(UserEvent("PA_1", NOW, EventId.SIGNAL_DOWN, detail="\ud800"))
    await recorder.write()
    recorder.event(UserEvent("PA_1", NOW, EventId.SIGNAL_UP))
    await recorder.write()
    assert (await counts(database))["user_events"] == 1
    assert (recorder.counters.events, recorder.counters.events_left_out) == (1, 1)
    assert "given up" in caplog.text


async def test_the_recorder_deletes_what_is_older_than_its_days(database: SqliteDatabase) -> None:
    await database.write(call)
    clock = HandClock(NOW + 14 * DAY_MS)
    recorder = Recorder(database, clock, keep_days=14, tick_seconds=0.01)
    await recorder.tidy()
    assert (await counts(database))["presences"] == 2
    clock.ms += 60_001
    await recorder.tidy()
    assert (await counts(database))["rooms"] == 0


async def test_keeping_for_ever_deletes_nothing(database: SqliteDatabase) -> None:
    await database.write(call)
    await Recorder(database, HandClock(NOW + 9999 * DAY_MS), keep_days=0).tidy()
    assert (await counts(database))["rooms"] == 1


async def test_a_closed_database_ends_the_recorder(tmp_path: Path) -> None:
    database = open_database(tmp_path / "rtcloud.db")
    recorder = Recorder(database, HandClock(), tick_seconds=0.01)
    await database.close()
    recorder.event(UserEvent("PA_1", NOW, EventId.SIGNAL_DOWN))
    async with asyncio.timeout(10):
        await recorder.run()
