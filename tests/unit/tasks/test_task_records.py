"""The rows of tasks against a database in memory: applied once, fenced, ended with the last upload."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, insert, select

from rtcloud.egress.recording.events import RecordingKind
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import files, leases, records
from rtcloud.tasks.attempts import is_sound
from rtcloud.tasks.protocol import AnyJobEvent, Ended, FileClosed, FileOpened, Heartbeat, Left, Started
from rtcloud.tasks.task import Change, NewTask, TaskOutput

SEALER, KIND = Sealer(bytes(32)), RecordingKind()
REQUEST = {
    "SdkAppId": 1400,
    "RoomId": "77",
    "UserId": "robot",
    "RecordParams": {"RecordMode": 2, "OutputFormat": 0},
    "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b", "SecretKey": "topsecret"}},
}


class Rows:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sequence = 0

    def event(self, event: AnyJobEvent, *, worker: str = "w1", attempt: int = 0) -> AnyJobEvent:
        if not event.sequence:
            self.sequence += 1
            event.sequence = self.sequence
        records.apply_event(self.connection, SEALER, KIND, "T", worker, attempt, event, 1000)
        return event

    def closed(self, name: str, kind: str = "segment") -> AnyJobEvent:
        return self.event(FileClosed(at_ms=1, name=name, kind=kind, begin_ms=0, end_ms=1, size=1))

    @property
    def task(self) -> Any:
        return self.connection.execute(select(tables.tasks)).one()

    @property
    def told(self) -> list[int]:
        return list(self.connection.execute(select(tables.callbacks.c.event_type)).scalars())

    def pending(self) -> list[str]:
        return [file.name for file in files.pending(self.connection, "T", limit=10)]


@pytest.fixture
def rows() -> Iterator[Rows]:
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(
            insert(tables.callback_targets).values(sdk_app_id=1400, event_group=3, url="", key_sealed=b"")
        )
        params = json.dumps(REQUEST).encode()
        records.accept(
            connection, SEALER, NewTask("T", "recording", RoomRef(1400, True, "77"), "robot", params, 10**12, 5)
        )
        leases.renew_lease(connection, "w1", pid=1, boot_id="b", until_ms=10_000)
        leases.claim(connection, "w1", [], 1000)
        records.begin_attempt(connection, "T", "w1")
        yield Rows(connection)
    engine.dispose()


def test_a_report_read_twice_changes_nothing(rows: Rows) -> None:
    started, closed = rows.event(Started(at_ms=1)), rows.closed("a.ts")
    (file,) = files.pending(rows.connection, "T", limit=10)
    records.mark_uploaded(rows.connection, SEALER, KIND, file, "w1", 1000)
    rows.event(started)
    rows.event(closed)
    assert rows.told == [301, 303]
    assert rows.pending() == []


def test_a_worker_that_lost_the_task_can_write_nothing(rows: Rows) -> None:
    leases.renew_lease(rows.connection, "w2", pid=2, boot_id="b", until_ms=30_000)
    assert leases.claim(rows.connection, "w2", [], 9_999) == []
    assert leases.claim(rows.connection, "w2", [], 10_001) == ["T"]
    with pytest.raises(records.LeaseLostError):
        rows.event(Started(at_ms=1))
    with pytest.raises(records.LeaseLostError):
        records.begin_attempt(rows.connection, "T", "w1")
    assert rows.told == []


def test_the_tasks_of_a_dead_worker_are_free_before_its_lease_ends(rows: Rows) -> None:
    leases.renew_lease(rows.connection, "w2", pid=2, boot_id="b", until_ms=30_000)
    assert leases.claim(rows.connection, "w2", ["w1"], 2_000) == ["T"]
    assert leases.other_workers(rows.connection, "w2") == []


def test_a_file_rewritten_while_it_went_up_goes_again(rows: Rows) -> None:
    rows.closed("a.m3u8", "index")
    (old,) = files.pending(rows.connection, "T", limit=10)
    rows.closed("a.m3u8", "index")
    assert not records.mark_uploaded(rows.connection, SEALER, KIND, old, "w1", 1000)
    (new,) = files.pending(rows.connection, "T", limit=10)
    assert records.mark_uploaded(rows.connection, SEALER, KIND, new, "w1", 1000)
    assert rows.pending() == []


def test_files_go_up_in_the_order_of_their_closing(rows: Rows) -> None:
    for name, kind in (("z.ts", "segment"), ("a.m3u8", "index"), ("b.ts", "segment"), ("a.m3u8", "index")):
        rows.closed(name, kind)
    assert rows.pending() == ["z.ts", "b.ts", "a.m3u8"]
    assert files.pending_tasks(rows.connection, "w1", limit=10, without=["T"]) == []


def test_the_last_upload_after_the_end_ends_the_task(rows: Rows) -> None:
    rows.event(Started(at_ms=1))
    rows.event(FileOpened(at_ms=1, name="a.ts", kind="segment", begin_ms=0))
    assert rows.pending() == []
    rows.closed("a.ts")
    rows.closed("a.m3u8", "index")
    records.stop(rows.connection, "T", 0, 5_000)
    rows.event(Left(at_ms=1, leave_code=0))
    rows.event(Ended(at_ms=1))
    assert (rows.task.state, rows.task.leave_code) == ("uploading", 0)
    assert records.count_open(rows.connection, 1400, "recording") == 0
    for file in files.pending(rows.connection, "T", limit=10):
        records.mark_uploaded(rows.connection, SEALER, KIND, file, "w1", 2000)
    assert (rows.task.state, rows.task.ended_ms, rows.task.worker) == ("ended", 2000, None)
    assert rows.told == [301, 303, 307, 302, 304, 305]
    assert rows.connection.execute(select(tables.task_events)).all() == []


def test_a_file_gone_from_the_spool_does_not_hold_the_task_back(rows: Rows) -> None:
    rows.closed("a.ts")
    (file,) = files.pending(rows.connection, "T", limit=10)
    records.stop(rows.connection, "T", 0, 5_000)
    rows.event(Left(at_ms=1, leave_code=0))
    rows.event(Ended(at_ms=1))
    records.mark_lost(rows.connection, SEALER, KIND, file, "w1", 2000)
    assert rows.task.state == "ended"


def test_what_is_still_open_when_no_job_is_left_is_forgotten(rows: Rows) -> None:
    rows.event(FileOpened(at_ms=1, name="a.ts", kind="segment", begin_ms=0))
    records.leave(rows.connection, SEALER, KIND, "T", "w1", 3, 2000)
    records.close_files(rows.connection, SEALER, KIND, "T", "w1", 2000)
    assert rows.task.state == "ended"
    assert files.count(rows.connection, "T") == {}


def test_a_stop_code_is_kept_from_the_first_stop(rows: Rows) -> None:
    records.stop(rows.connection, "T", 2, 5_000)
    records.stop(rows.connection, "T", 0, 5_000)
    assert records.load_mine(rows.connection, SEALER, "T", "w1").stop_code == 2


def test_a_view_is_of_the_application_and_shows_whole_files(rows: Rows) -> None:
    rows.event(FileOpened(at_ms=1, name="b.m3u8", kind="index", begin_ms=0))
    rows.closed("a.m3u8", "index")
    assert records.view(rows.connection, "T", 1401, ["index"]) is None
    view = records.view(rows.connection, "T", 1400, ["index"])
    assert view is not None
    assert [file.name for file in view.files] == ["a.m3u8"]


def test_the_request_is_sealed(rows: Rows) -> None:
    assert b"topsecret" not in rows.task.params_sealed
    assert b"topsecret" in records.load_mine(rows.connection, SEALER, "T", "w1").params


def closed(**changes: Any) -> FileClosed:
    given: dict[str, Any] = {
        "sequence": 1,
        "at_ms": 1,
        "name": "a.ts",
        "kind": "segment",
        "begin_ms": 0,
        "end_ms": 1,
        "size": 1,
    }
    return FileClosed(**(given | changes))


@pytest.mark.parametrize(
    "event",
    [
        Heartbeat(at_ms=1),
        Started(sequence=-1, at_ms=1),
        Started(sequence=1, at_ms=1 << 60),
        closed(name=""),
        closed(name="../a"),
        closed(name=".."),
        closed(name="/etc/passwd"),
        closed(name="a/b"),
        closed(name=".hidden"),
        closed(name="job.lock"),
        closed(name="job.pid"),
        closed(name="nul\0"),
        closed(name="x" * 300),
        closed(size=-1),
        closed(end_ms=1 << 62),
        closed(kind="k" * 100),
        closed(user_id="line\nbreak"),
        closed(media_id="m" * 20),
    ],
)
def test_reports_that_no_job_of_ours_makes_are_not_believed(event: AnyJobEvent) -> None:
    assert not is_sound(event)


def test_usual_reports_are() -> None:
    assert is_sound(closed(name="ha1_1400_YWJj.._20330531094551825.ts", user_id="用户", end_ms=1_700_000_000_000))


def revise(rows: Rows, change: Change, *, app: int = 1400) -> bytes | None:
    return records.revise(rows.connection, SEALER, "T", app, change, 2_000)


def outputs(rows: Rows) -> list[tuple[int, str, int]]:
    made = tables.task_outputs.c
    found = rows.connection.execute(select(made.started_ms, made.codec, made.width).order_by(made.id))
    return [tuple(row) for row in found]


def test_a_request_is_changed_sealed_and_numbered(rows: Rows) -> None:
    small, large = TaskOutput("h264", 640, 360), TaskOutput("h264", 1280, 720)
    assert revise(rows, lambda params: (params + b" ", small, 300)) == json.dumps(REQUEST).encode() + b" "
    assert revise(rows, lambda params: (params, small, 300)) is not None
    assert revise(rows, lambda params: (params, None, 300)) is not None
    assert revise(rows, lambda params: (b"changed", large, 500)) == b"changed"
    assert (rows.task.revision, rows.task.load) == (4, 500)
    assert records.used(rows.connection) == 500
    assert records.params(rows.connection, SEALER, "T", 1400) == b"changed"
    assert records.params(rows.connection, SEALER, "T", 1401) is None
    assert b"changed" not in rows.task.params_sealed
    assert outputs(rows) == [(2_000, "h264", 640), (2_000, "h264", 1280)]


def test_a_robot_is_known_until_its_task_is_stopped(rows: Rows) -> None:
    room, robot = RoomRef(1400, True, "77"), "robot"
    assert records.has_robot(rows.connection, room, robot)
    assert not records.has_robot(rows.connection, room, "other")
    assert not records.has_robot(rows.connection, RoomRef(room.sdk_app_id, not room.numeric, room.room_id), robot)
    assert not records.has_leaving(rows.connection, 1400)
    kind = rows.task.kind
    assert len(records.running_params(rows.connection, SEALER, 1400, kind)) == 1
    assert records.running_params(rows.connection, SEALER, 1401, kind) == []
    records.stop(rows.connection, "T", 0, 1_500)
    assert records.running_params(rows.connection, SEALER, 1400, kind) == []
    assert not records.has_robot(rows.connection, room, robot)
    assert records.has_leaving(rows.connection, 1400)
    assert not records.has_leaving(rows.connection, 1401)


def test_a_change_that_is_refused_changes_nothing(rows: Rows) -> None:
    def refuse(params: bytes) -> tuple[bytes, None, int]:
        raise ValueError("stale")

    with pytest.raises(ValueError, match="stale"):
        revise(rows, refuse)
    assert rows.task.revision == 0


def test_only_a_running_task_of_the_application_can_be_changed(rows: Rows) -> None:
    def never(params: bytes) -> tuple[bytes, None, int]:
        raise AssertionError

    assert revise(rows, never, app=1401) is None
    records.stop(rows.connection, "T", 0, 1_500)
    assert revise(rows, never) is None
    rows.event(Left(at_ms=1, leave_code=0))
    assert revise(rows, never) is None


def test_running_tasks_count_what_they_cost_until_they_leave(rows: Rows) -> None:
    ref = RoomRef(1401, False, "other")
    records.accept(rows.connection, SEALER, NewTask("U", "relay", ref, "robot", b"{}", 10**12, 5, None, 750))
    records.accept(rows.connection, SEALER, NewTask("V", "relay", ref, "robot", b"{}", 10**12, 5, None, 50))
    assert records.used(rows.connection) == 800
    rows.connection.execute(tables.tasks.update().where(tables.tasks.c.task_id == "U").values(state="ending"))
    assert records.used(rows.connection) == 50


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        ([], 0),
        ([("a", 1500)], 1500),
        ([("a", 1500), ("a", 1500), ("b", 3000)], 4500),
        ([("a", 1500), ("b", 0)], 0),
    ],
)
def test_workers_of_one_machine_share_its_cores(rows: Rows, machines: list[tuple[str, int]], expected: int) -> None:
    rows.connection.execute(tables.workers.delete())
    for number, (boot, capacity) in enumerate(machines):
        name = f"w{number}"
        leases.renew_lease(rows.connection, name, pid=1, boot_id=boot, until_ms=10_000, capacity=capacity)
    leases.renew_lease(rows.connection, "gone", pid=1, boot_id="c", until_ms=1_000, capacity=9_000)
    assert leases.capacity(rows.connection, 5_000) == expected


def test_an_attempt_that_was_let_go_is_not_spent(rows: Rows) -> None:
    assert (rows.task.attempts, rows.task.spent) == (1, 1)
    leases.release(rows.connection, "T", "w1", let_go=True)
    assert (rows.task.attempts, rows.task.spent) == (1, 0)
    leases.claim(rows.connection, "w1", [], 1000)
    records.begin_attempt(rows.connection, "T", "w1")
    leases.release(rows.connection, "T", "w1")
    assert (rows.task.attempts, rows.task.spent) == (2, 1)


def test_an_attempt_that_does_well_forgets_the_ones_before(rows: Rows) -> None:
    for _ in range(4):
        records.begin_attempt(rows.connection, "T", "w1")
    records.forget_restarts(rows.connection, "T", "w2")
    assert rows.task.spent == 5
    records.forget_restarts(rows.connection, "T", "w1")
    assert (rows.task.attempts, rows.task.spent) == (5, 1)


def test_an_upload_costs_the_same_however_many_segments_there_were(rows: Rows) -> None:
    plans: list[str] = []

    def explain(
        connection: Connection, _cursor: object, statement: str, parameters: tuple[object, ...], *_: object
    ) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        plans.append(str([row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]))

    event.listen(rows.connection, "before_cursor_execute", explain)
    files.pending_tasks(rows.connection, "w1", limit=10)
    files.pending(rows.connection, "T", limit=10)
    assert all("task_files_pending" in plan for plan in plans)
    plans.clear()
    files.of_task(rows.connection, "T", kinds=sorted(KIND.products))
    assert "task_files_made" in plans[0]
