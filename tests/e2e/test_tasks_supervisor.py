"""Tasks with real processes: a small script in place of the recorder, everything else as in the server."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from rtcloud.callbacks.targets import set_targets
from rtcloud.clock import SystemClock
from rtcloud.egress.publishing.events import RelayKind
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.egress.storage import Storages
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.objects import LocalObjects, StorageError
from rtcloud.store.sealing import Sealer
from rtcloud.tasks.context import Timing
from rtcloud.tasks.journal import Journal
from rtcloud.tasks.protocol import FileClosed
from rtcloud.tasks.store import TaskStore
from rtcloud.tasks.supervisor import Supervisor
from rtcloud.tasks.task import NewTask

pytestmark = pytest.mark.e2e

APP = 1400
TASK = "task-1.."
JOB = (sys.executable, str(Path(__file__).with_name("job_script.py")))
QUICK = Timing(silence=2.0, first_line=15.0, exit=3.0, closing=3.0, orphan=1.0, token=0.2, again=0.1)
SEALER = Sealer(bytes(32))


@dataclass
class House:
    """One data directory; servers on it come and go."""

    path: Path
    database: SqliteDatabase
    tasks: TaskStore
    bus: LocalBus

    @property
    def files(self) -> Path:
        return self.path / "files" / "bucket" / "pre" / TASK

    def supervisor(self, script: str, **options: Any) -> Supervisor:
        given: dict[str, Any] = {
            "directory": self.path,
            "database": self.database,
            "sealer": SEALER,
            "bus": self.bus,
            "clock": SystemClock(),
            "kinds": [RecordingKind()],
            "stores": Storages(LocalObjects(self.path / "files")),
            "make_robot_token": lambda task: f"token of {task.user_id}",
            "command": JOB,
            "environment": os.environ | {"JOB_SCRIPT": script},
            "timing": QUICK,
        }
        return Supervisor(**(given | options))

    async def accept(self, *, output_format: int = 1) -> None:
        request = {
            "SdkAppId": APP,
            "RoomId": "77",
            "UserId": "robot",
            "RecordParams": {"RecordMode": 2, "OutputFormat": output_format},
            "StorageParams": {
                "CloudStorage": {
                    "Vendor": 0,
                    "Region": "r",
                    "Bucket": "bucket",
                    "AccessKey": "key",
                    "SecretKey": "topsecret",
                    "FileNamePrefix": ["pre"],
                }
            },
        }
        now_ms = SystemClock().now_ms()
        params = json.dumps(request).encode()
        ref = RoomRef(APP, True, "77")
        new = NewTask(TASK, "recording", ref, "robot", params, now_ms + 10**8, now_ms)
        await self.tasks.accept(new)

    async def accept_relay(self) -> None:
        somebody = {"UserInfo": {"UserId": "somebody", "RoomId": "other", "RoomIdType": 1}}
        request = {
            "SdkAppId": APP,
            "RoomId": "77",
            "AgentParams": {"UserId": "robot"},
            "AudioParams": {"SubscribeAudioList": [somebody]},
            "PublishCdnParams": [{"PublishCdnUrl": "rtmp://cdn/live/x"}],
            "FeedBackRoomParams": [{"RoomId": "88", "UserId": "feeder"}],
        }
        now_ms, params = SystemClock().now_ms(), json.dumps(request).encode()
        ref = RoomRef(APP, True, "77")
        await self.tasks.accept(NewTask(TASK, "relay", ref, "robot", params, now_ms + 10**8, now_ms, load=250))

    async def told(self) -> list[tuple[int, dict[str, Any]]]:
        def work(connection: Connection) -> list[tuple[int, dict[str, Any]]]:
            columns = (tables.callbacks.c.event_type, tables.callbacks.c.event_info)
            rows = connection.execute(select(*columns).order_by(tables.callbacks.c.id))
            return [(kind, json.loads(info)["Payload"]) for kind, info in rows]

        return await self.database.read(work)

    async def types(self) -> list[int]:
        return [kind for kind, _ in await self.told()]

    async def row(self) -> Any:
        return await self.database.read(lambda connection: connection.execute(select(tables.tasks)).one())

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(25):
            while not await condition():
                await asyncio.sleep(0.02)

    async def until_told(self, event_type: int, *, times: int = 1) -> None:
        async def is_told() -> bool:
            return (await self.types()).count(event_type) >= times

        await self.until(is_told)

    async def until_ended(self) -> None:
        async def has_ended() -> bool:
            return bool((await self.row()).state == "ended")

        await self.until(has_ended)

    def job_pid(self, attempt: int) -> int:
        return int((self.path / "spool" / TASK / str(attempt) / "job.pid").read_text().split()[0])


@contextlib.asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[Supervisor]:
    run = asyncio.ensure_future(supervisor.run())
    try:
        yield supervisor
        await supervisor.drain()
        await run
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def is_alive(pid: int) -> bool:
    """A dead process that nobody has waited for is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def play(tmp_path: Path, scenario: Callable[[House], Awaitable[None]]) -> None:
    async def opened() -> None:
        database, bus = open_database(tmp_path / "rtcloud.db"), LocalBus()
        door = socket.create_server(("127.0.0.1", 0))  # in place of a room server

        def fill(connection: Connection) -> None:
            connection.execute(insert(tables.accounts).values(uin="1", created_ms=1))
            values = {"account_uin": "1", "name": "", "secret_key_sealed": b"", "settings": "{}", "created_ms": 1}
            connection.execute(insert(tables.applications).values(sdk_app_id=APP, **values))
            set_targets(connection, SEALER, APP, url="http://127.0.0.1:9/")
            url = f"http://127.0.0.1:{door.getsockname()[1]}"
            connection.execute(insert(tables.nodes).values(id="n", signal_url=url, started_ms=1))

        await database.write(fill)
        try:
            await scenario(House(tmp_path, database, TaskStore(database, SEALER, bus, SystemClock()), bus))
        finally:
            door.close()
            await database.close()

    asyncio.run(opened())


ALL = "start segment index stop? left mp4 end"


def test_a_whole_recording_is_told_in_order(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        async with running(house.supervisor(ALL)) as supervisor:
            await house.until_told(304)
            view = await house.tasks.find(TASK, APP)
            assert view is not None
            assert (view.state, [file.name for file in view.files]) == ("running", ["a.m3u8"])
            assert await house.tasks.count_open(APP, "recording") == 1
            await house.tasks.stop(TASK)
            await house.until_ended()
            assert supervisor.context.counters.jobs_started == 1
        assert await house.told() == [
            (301, {"Status": 0}),
            (303, {"Status": 0}),
            (307, {"FileName": "a.m3u8", "UserId": "", "TrackType": "audio_video", "BeginTimeStamp": "1000"}),
            (304, {"FileList": "a.m3u8"}),
            (302, {"LeaveCode": 0}),
            (305, {"LeaveCode": 0, "Status": 0}),
            (
                310,
                {
                    "Status": 0,
                    "FileList": ["a.mp4"],
                    "FileMessage": [
                        {
                            "FileName": "a.mp4",
                            "UserId": "",
                            "TrackType": "audio_video",
                            "MediaId": "mix",
                            "StartTimeStamp": 1000,
                            "EndTimeStamp": 2000,
                        }
                    ],
                },
            ),
        ]
        assert sorted(path.name for path in house.files.iterdir()) == ["a.m3u8", "a.mp4", "a.ts"]
        assert not (house.path / "spool" / TASK).exists()
        assert await house.tasks.count_open(APP, "recording") == 0

    play(tmp_path, scenario)


def test_what_jobs_write_is_for_nobody_else(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        spool = house.path / "spool"
        spool.mkdir(mode=0o755)  # as an older version made it
        await house.accept()
        async with running(house.supervisor(ALL)):
            await house.until_told(304)
            assert spool.stat().st_mode & 0o777 == 0o700
            await house.tasks.stop(TASK)
            await house.until_ended()

    play(tmp_path, scenario)


def test_a_killed_job_goes_on_in_the_next_attempt(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        async with running(house.supervisor(ALL)):
            await house.until_told(304)
            os.killpg(house.job_pid(0), signal.SIGKILL)
            await house.until_told(304, times=2)
            await house.tasks.stop(TASK)
            await house.until_ended()
        assert await house.types() == [301, 303, 307, 304, 306, 307, 304, 302, 305, 310]
        names = ["a.m3u8", "a.mp4", "a.ts", "ha1_a.m3u8", "ha1_a.ts"]
        assert sorted(path.name for path in house.files.iterdir()) == names

    play(tmp_path, scenario)


@pytest.mark.parametrize("fault", ["die", "silent", "garbage", "long", "escape", "grandchild 0:die"])
def test_a_job_that_misbehaves_is_killed_and_restarted(tmp_path: Path, fault: str) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = f"start segment index 0:{fault} stop? left end"
        async with running(house.supervisor(script)) as supervisor:
            await house.until_told(306)
            await house.tasks.stop(TASK)
            await house.until_ended()
            assert supervisor.context.counters.jobs_restarted == 1
        types = await house.types()
        assert (types[-1], types.count(302), types.count(306)) == (305, 1, 1)
        assert all(file.name in ("a.ts", "a.m3u8", "ha1_a.ts", "ha1_a.m3u8") for file in await house.tasks.files(TASK))

    play(tmp_path, scenario)


def test_after_three_restarts_the_task_ends_and_says_so(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        async with running(house.supervisor("start segment index die mp4 end")):
            await house.until_ended()
        told = await house.told()
        assert [kind for kind, _ in told].count(306) == 3
        assert (302, {"LeaveCode": 3}) in told
        assert told[-2][1] == {"LeaveCode": 0, "Status": 0}
        assert (told[-1][0], told[-1][1]["Status"], told[-1][1]["FileList"]) == (310, 0, ["a.mp4"])
        assert (await house.row()).attempts == 5

    play(tmp_path, scenario)


def test_whatever_dies_while_a_file_is_made_it_ends_and_says_what_is_missing(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        async with running(house.supervisor("start segment index kicked")):  # and no word for who is to finish
            await house.until_ended()
        told = await house.told()
        assert told[-2:] == [
            (305, {"LeaveCode": 0, "Status": 0}),
            (310, {"Status": 2, "FileList": [], "FileMessage": []}),
        ]

    play(tmp_path, scenario)


def test_what_no_file_could_be_made_of_stays_where_it_was_recorded(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=3)
        async with running(house.supervisor("start segment index kicked")):
            await house.until_ended()
        assert (await house.told())[-1] == (310, {"Status": 2, "FileList": [], "FileMessage": []})
        async with running(house.supervisor("")):  # which looks for what was left behind
            await asyncio.sleep(1)
        assert (house.path / "spool" / TASK / "0" / "a.ts").read_text() == "segment 0"

    play(tmp_path, scenario)


def test_a_task_that_never_starts_fails_with_its_events(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        async with running(house.supervisor("die")):
            await house.until_ended()
        assert await house.told() == [(301, {"Status": 1}), (302, {"LeaveCode": 3})]

    play(tmp_path, scenario)


def test_what_was_only_in_the_journal_is_applied_and_uploaded(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        async with running(house.supervisor("start segment 0:hidden 0:die index stop? left end")):
            await house.until_told(306)
            await house.tasks.stop(TASK)
            await house.until_ended()
        assert (house.files / "hidden.ts").read_text() == "segment 0"

    play(tmp_path, scenario)


def test_a_job_that_dies_while_finishing_is_finished_by_another(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        async with running(house.supervisor("start segment index stop? left 0:die mp4 end")):
            await house.until_told(304)
            await house.tasks.stop(TASK)
            await house.until_ended()
        types = await house.types()
        assert types == [301, 303, 307, 304, 302, 305, 310]
        assert (house.files / "a.mp4").read_text() == "mp4 1"

    play(tmp_path, scenario)


def test_a_robot_thrown_out_ends_the_task_with_its_code(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        async with running(house.supervisor("start kicked end")):
            await house.until_ended()
        assert await house.told() == [(301, {"Status": 0}), (302, {"LeaveCode": 1})]
        view = await house.tasks.find(TASK, APP)
        assert view is not None
        assert (view.state, view.desired_state) == ("ended", "stopped")

    play(tmp_path, scenario)


def test_a_task_stopped_before_any_job_ran_ends_with_302(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept()
        await house.tasks.stop(TASK)
        async with running(house.supervisor(ALL)) as supervisor:
            await house.until_ended()
            assert supervisor.context.counters.jobs_started == 0
        assert await house.told() == [(302, {"LeaveCode": 0})]

    play(tmp_path, scenario)


def test_draining_closes_files_and_the_next_worker_goes_on(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = "start segment index stop? left end"
        async with running(house.supervisor(script)):
            await house.until_told(304)
        row = await house.row()
        assert (row.state, row.worker, row.desired_state) == ("accepted", None, "running")
        async with running(house.supervisor(script)):
            await house.until_told(306)
            await house.tasks.stop(TASK)
            await house.until_ended()
        types = await house.types()
        assert (types[-1], types.count(301), types.count(306), types.count(302)) == (305, 1, 1, 1)
        assert (house.files / "last.ts").read_text() == "segment 0"

    play(tmp_path, scenario)


def test_orderly_restarts_use_up_no_attempt(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = "start segment index stop? left end"
        for number in range(6):
            async with running(house.supervisor(script)):
                await house.until_told(304, times=number + 1)
        row = await house.row()
        assert (row.state, row.attempts, row.spent) == ("accepted", 6, 0)
        async with running(house.supervisor("start segment index die")):
            await house.until_ended()
        row = await house.row()
        assert (row.leave_code, row.attempts) == (3, 10)
        names = {path.name for path in house.files.iterdir()}
        assert {"a.ts", "ha1_a.ts", "ha9_a.ts"} <= names

    play(tmp_path, scenario)


def test_a_job_that_cannot_be_started_uses_up_no_attempt(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        command = [str(tmp_path / "job"), str(tmp_path / "job_script.py")]
        async with running(house.supervisor("start segment index stop? left end", command=command)):
            await asyncio.sleep(0.5)  # several tries
            assert (await house.row()).attempts == 0
            command[:] = JOB
            await house.until_told(301)
            assert (await house.row()).attempts == 1

    play(tmp_path, scenario)


def test_a_relay_goes_on_however_often_its_job_dies_and_tells_of_each_address(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept_relay()
        dying = " ".join(f"{attempt}:die" for attempt in range(5))
        timing = replace(QUICK, steady=0.0)  # each does well enough to be forgotten
        script = f"start order connecting pushing {dying} stop? left end"
        async with running(house.supervisor(script, timing=timing, kinds=[RelayKind()])):
            await house.until_told(401, times=12)
            assert await house.tasks.load() == (250, 0)
            orders = [house.path / "spool" / TASK / str(number) / "order.json" for number in (0, 5)]
            for order in orders:
                passes = [(one["room_id"], one["user_id"]) for one in json.loads(order.read_text())["passes"]]
                assert passes == [("other", "robot"), ("88", "feeder")]
            await house.tasks.stop(TASK)
            await house.until_ended()
            assert await house.tasks.load() == (0, 0)

            async def is_clean() -> bool:
                return not (house.path / "spool" / TASK).exists()

            await house.until(is_clean)
        statuses = [payload["Status"] for _, payload in await house.told()]
        assert statuses == [1, 2, *[3, 2] * 5, 5, 0]
        assert set(await house.types()) == {401}

    play(tmp_path, scenario)


def test_a_changed_request_reaches_the_job_with_passes_for_its_new_rooms(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept_relay()
        async with running(house.supervisor("start connecting stop? left end", kinds=[RelayKind()])):
            await house.until_told(401)

            def change(params: bytes) -> tuple[bytes, None, int]:
                return params.replace(b'"other"', b'"third"'), None, 300

            assert await house.tasks.update(TASK, APP, change) is not None
            update = house.path / "spool" / TASK / "0" / "update.json"

            async def is_told() -> bool:
                return update.exists()

            await house.until(is_told)
            told = json.loads(update.read_text())
            assert (told["revision"], [one["room_id"] for one in told["passes"]]) == (1, ["third", "88"])
            assert b"topsecret" not in update.read_bytes()
        assert await house.tasks.load() == (300, 0)

    play(tmp_path, scenario)


def test_a_job_that_does_not_let_go_is_killed(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        async with running(house.supervisor("start segment index deaf")):
            await house.until_told(304)
            pid = house.job_pid(0)
        assert not is_alive(pid)
        assert (await house.row()).state == "accepted"

    play(tmp_path, scenario)


def test_the_deaf_job_of_a_killed_worker_process_is_ended_before_the_next_attempt(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = "start segment index 0:deaf stop? left end"
        await house.database.close()
        environment = os.environ | {"JOB_SCRIPT": script, "PYTHONPATH": os.pathsep.join(sys.path)}
        worker = await asyncio.create_subprocess_exec(sys.executable, __file__, str(tmp_path), env=environment)
        house.database = open_database(tmp_path / "rtcloud.db")
        house.tasks = TaskStore(house.database, SEALER, house.bus, SystemClock())
        try:
            await house.until_told(304)
            pid = house.job_pid(0)
            worker.kill()
            await worker.wait()
            assert is_alive(pid)  # it did not notice
            async with running(house.supervisor(script)):
                await house.until_told(306)
                assert not is_alive(pid)
                await house.tasks.stop(TASK)
                await house.until_ended()
        finally:
            await house.database.close()

    play(tmp_path, scenario)


def test_the_tasks_of_a_dead_worker_are_taken_over_at_once(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = "start segment index stop? left end"
        first = house.supervisor(script)
        run = asyncio.ensure_future(first.run())
        await house.until_told(304)
        pid = house.job_pid(0)
        run.cancel()  # like a crash: no hand-over, the row still names the first worker
        await asyncio.gather(run, return_exceptions=True)
        assert (await house.row()).worker == first.context.worker
        async with running(house.supervisor(script)):
            await house.until_told(306)
            assert (await house.row()).worker != first.context.worker
            assert not is_alive(pid)
            await house.tasks.stop(TASK)
            await house.until_ended()

    play(tmp_path, scenario)


def test_the_spool_that_a_dead_worker_had_no_time_to_remove_is_removed_by_another(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = "start segment index stop? left end"
        first = house.supervisor(script)
        run = asyncio.ensure_future(first.run())
        await house.until_told(304)
        await house.tasks.stop(TASK)
        await house.until_ended()

        async def is_removed() -> bool:
            return not (house.path / "spool" / TASK).exists()

        await house.until(is_removed)
        left = house.path / "spool" / TASK / "0"
        left.mkdir(parents=True)
        async with running(house.supervisor(script)):
            await house.until(is_removed)  # at the start
            left.mkdir(parents=True)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            await house.until(is_removed)

    play(tmp_path, scenario)


def test_a_worker_without_lease_writes_nothing_and_its_job_is_killed(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        script = "start segment index stop? left end"
        async with running(house.supervisor(script)):
            await house.until_told(304)
            async with asyncio.timeout(20):
                second = house.supervisor(script)
                await house.database.write(
                    lambda connection: connection.execute(tables.tasks.update().values(worker=second.context.worker))
                )
                run = asyncio.ensure_future(second.run())
                await house.until_told(306)
            await house.tasks.stop(TASK)
            await house.until_ended()
            await second.drain()
            await run
        assert (await house.types()).count(302) == 1

    play(tmp_path, scenario)


def test_a_refusing_store_is_told_once_and_asked_again(tmp_path: Path) -> None:
    class Refusing(LocalObjects):
        refusals = 2

        async def put(self, key: Any, source: Path) -> None:
            if self.refusals:
                self.refusals -= 1
                raise StorageError("AccessDenied", "no such key")
            await super().put(key, source)

    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        objects = Refusing(house.path / "files")
        async with running(house.supervisor("start segment index stop? left end", stores=Storages(objects))):
            await house.until_told(308)
            await house.tasks.stop(TASK)
            await house.until_ended()
        told = await house.told()
        assert (308, {"Code": "AccessDenied", "Message": "no such key"}) in told
        assert [kind for kind, _ in told].count(308) == 1
        assert told[-1] == (305, {"LeaveCode": 0, "Status": 0})

    play(tmp_path, scenario)


class FullDisk(RecordingKind):
    """Has no room for the ends of a dead job's files until it is asked for the third time."""

    def __init__(self) -> None:
        self.asked = 0

    def recover(self, directory: Path, now_ms: int) -> None:
        self.asked += 1
        if self.asked < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.asked == 3:
            (directory / "rest.ts").write_bytes(b"rest")
            with Journal(directory) as journal:
                journal.append(
                    FileClosed(at_ms=now_ms, name="rest.ts", kind="segment", begin_ms=2000, end_ms=3000, size=4)
                )


def test_what_a_full_disk_keeps_from_being_completed_is_completed_when_there_is_room(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        kind = FullDisk()
        async with running(house.supervisor("start segment index 0:die stop? left end", kinds=[kind])):
            await house.until_told(306)
            assert kind.asked == 3
            await house.tasks.stop(TASK)
            await house.until_ended()
        told = await house.told()
        assert [payload["Code"] for event_type, payload in told if event_type == 308] == ["DiskFull"]
        assert (house.files / "rest.ts").read_bytes() == b"rest"

    play(tmp_path, scenario)


def test_mp4_only_uploads_no_hls(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=3)
        async with running(house.supervisor(ALL)):
            await house.until_told(301)
            await house.tasks.stop(TASK)
            await house.until_ended()
        assert await house.types() == [301, 302, 303, 310]
        assert [path.name for path in house.files.iterdir()] == ["a.mp4"]

    play(tmp_path, scenario)


def test_jobs_never_see_storage_keys_and_get_fresh_tokens(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.accept(output_format=0)
        async with running(house.supervisor("start segment index stop? left end")):
            instructions = house.path / "spool" / TASK / "0" / "instructions"

            async def got_token() -> bool:
                return instructions.exists() and "token" in instructions.read_text()

            await house.until(got_token)
            command = Path(f"/proc/{house.job_pid(0)}/cmdline").read_bytes()
            assert b"topsecret" not in command
        assert b"topsecret" not in (house.path / "rtcloud.db").read_bytes()

    play(tmp_path, scenario)


async def _work(path: Path) -> None:
    """A worker process for the test above, with the script of its environment."""
    database, bus = open_database(path / "rtcloud.db"), LocalBus()
    house = House(path, database, TaskStore(database, SEALER, bus, SystemClock()), bus)
    await house.supervisor(os.environ["JOB_SCRIPT"]).run()


if __name__ == "__main__":
    asyncio.run(_work(Path(sys.argv[1])))


def test_while_no_room_server_runs_no_attempt_is_spent(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        await house.database.write(
            lambda connection: (
                connection.execute(tables.nodes.update().values(signal_url=f"http://127.0.0.1:{port}")).rowcount
            )
        )
        await house.accept()
        async with running(house.supervisor(ALL)):

            async def is_held() -> bool:
                return (await house.row()).worker is not None

            await house.until(is_held)
            await asyncio.sleep(5 * QUICK.again)
            assert (await house.row()).attempts == 0
            with socket.create_server(("127.0.0.1", port)):
                await house.until_told(304)
            await house.tasks.stop(TASK)
            await house.until_ended()
        assert (await house.types()).count(306) == 0
