"""Entries and the events that tell of them are one change, in the rows of tasks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, select

from rtcloud.egress.recording.events import RecordingKind
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import files, leases, records
from rtcloud.tasks.protocol import AnyJobEvent, Ended, FileClosed, Left, Started
from rtcloud.tasks.task import NewTask
from rtcloud.vod import store

SEALER, KIND = Sealer(bytes(32)), RecordingKind()
TENCENT_VOD = {"MediaType": 3, "ExpireTime": 2**64 - 1, "ClassId": 2**64 - 1, "SubAppId": 2**64 - 1}
REQUEST = {
    "SdkAppId": 1400,
    "RoomId": "77",
    "UserId": "robot",
    "RecordParams": {"RecordMode": 2},
    "StorageParams": {"CloudVod": {"TencentVod": TENCENT_VOD}},
}


class Rows:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sequence = 0

    def event(self, event: AnyJobEvent) -> None:
        self.sequence += 1
        event.sequence = self.sequence
        records.apply_event(self.connection, SEALER, KIND, "T", "w1", 0, event, 1000)

    def closed(self, name: str, kind: str) -> None:
        self.event(FileClosed(at_ms=1, name=name, kind=kind, begin_ms=0, end_ms=1, size=100))

    def upload(self) -> None:
        """The file whose turn it is."""
        file = files.pending(self.connection, "T", limit=1)[0]
        records.mark_uploaded(self.connection, SEALER, KIND, file, "w1", 2000)

    @property
    def told(self) -> list[int]:
        return list(self.connection.execute(select(tables.callbacks.c.event_type)).scalars())

    @property
    def entries(self) -> list[tuple[str, int, Any]]:
        return [(entry.name, entry.size, entry.expires_ms) for entry in store.entries(self.connection)]


@pytest.fixture
def rows() -> Iterator[Rows]:
    """Of a task whose job has ended; a segment, the index and an MP4 wait for their place."""
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.connect() as connection:
        target = {"sdk_app_id": 1400, "event_group": 3, "url": "", "key_sealed": b""}
        connection.execute(insert(tables.callback_targets).values(**target))
        ref, params = RoomRef(1400, True, "77"), json.dumps(REQUEST).encode()
        records.accept(
            connection, SEALER, NewTask("T", "recording", ref, "robot", params, 10**12, 5, lists_files=False)
        )
        leases.renew_lease(connection, "w1", pid=1, boot_id="b", until_ms=10_000)
        leases.claim(connection, "w1", [], 1000)
        records.begin_attempt(connection, "T", "w1")
        made = Rows(connection)
        made.event(Started(at_ms=1))
        made.closed("1400_77_20260102030405678.ts", "segment")
        made.closed("1400_77.m3u8", "index")
        records.stop(connection, "T", 0, 5_000)
        made.event(Left(at_ms=1, leave_code=0))
        made.closed("1400_77.mp4", "mp4")
        made.event(Ended(at_ms=1))
        yield made
    engine.dispose()


def test_files_become_entries_as_they_are_told_and_the_task_ends_with_312(rows: Rows) -> None:
    rows.upload()
    assert (rows.told, rows.entries) == ([301, 302], [])
    rows.upload()
    assert rows.told == [301, 302, 311]
    rows.upload()
    assert rows.told == [301, 302, 311, 311, 312]
    assert sorted(rows.entries) == [("1400_77.m3u8", 200, 2**53), ("1400_77.mp4", 100, 2**53)]
    assert rows.connection.execute(select(tables.tasks.c.state)).scalar_one() == "ended"
    entry = store.entries(rows.connection)[0]
    assert (entry.details["ClassId"], entry.details["SubAppId"]) == (2**64 - 1, 2**64 - 1)


def test_a_change_that_was_not_committed_told_nothing_and_comes_again(rows: Rows) -> None:
    rows.upload()
    rows.connection.commit()
    rows.upload()
    before = store.entries(rows.connection)
    rows.connection.rollback()
    assert (rows.told, rows.entries) == ([301, 302], [])
    rows.upload()
    assert rows.told == [301, 302, 311]
    assert [entry.file_id for entry in store.entries(rows.connection)] == [entry.file_id for entry in before]


def test_the_api_lists_no_files_of_such_a_task(rows: Rows) -> None:
    view = records.view(rows.connection, "T", 1400, ("index", "mp4"))
    assert view is not None
    assert (view.state, view.files) == ("uploading", ())
