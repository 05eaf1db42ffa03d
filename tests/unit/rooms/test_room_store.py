"""What a room's records become in a real database: rows, callbacks, and what a restarted server finds."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Table, create_engine, select

from rtcloud.callbacks.targets import set_targets
from rtcloud.rooms import facts, store
from rtcloud.rooms.commands import UserBlocked
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Role, TerminalType, UserType
from rtcloud.rooms.room import Room
from rtcloud.rooms.scenes import LIVE
from rtcloud.store import migrating, tables
from rtcloud.store.sealing import Sealer
from tests.kit.rooms import Script, callbacks, entered, records, track

REF = RoomRef(1400000000, True, "77")
PHONE = Device(UserType.NATIVE_SDK, TerminalType.ANDROID, "Phone", "1.2", "10.0.0.9")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    path = tmp_path / "rtcloud.db"
    migrating.migrate(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.execute(tables.accounts.insert().values(uin="1", created_ms=0))
        application = {"sdk_app_id": REF.sdk_app_id, "account_uin": "1", "name": "a", "settings": "{}"}
        connection.execute(tables.applications.insert().values(**application, secret_key_sealed=b"", created_ms=0))
        set_targets(connection, Sealer(bytes(32)), REF.sdk_app_id, url="http://127.0.0.1:9/")
        yield connection
    engine.dispose()


class Recorded(Script):
    """A room that is written down as it goes."""

    def __init__(self, connection: Connection, scene: str = "live", ref: RoomRef = REF, sid: str = "RM_1") -> None:
        super().__init__(scene)
        self.connection, self.scene, self.ref, self.sid = connection, scene, ref, sid

    def do(self, fact: facts.Fact) -> list[Any]:
        said = super().do(fact)
        for record in records(said):
            store.apply(self.connection, self.ref, self.sid, self.scene, record, self.now_ms)
        return said


def rows(connection: Connection, table: Table, *columns: str) -> list[tuple[Any, ...]]:
    order = list(table.primary_key.columns)
    return [tuple(row) for row in connection.execute(select(*(table.c[name] for name in columns)).order_by(*order))]


def events(connection: Connection) -> list[tuple[int, dict[str, Any]]]:
    found = rows(connection, tables.callbacks, "event_type", "event_info")
    return [(event_type, json.loads(info)) for event_type, info in found]


def test_a_room_and_its_end(connection: Connection) -> None:
    script = Recorded(connection)
    script.enter("alice")
    begin = script.now_ms
    columns = ("id", "sdk_app_id", "numeric", "room_id", "scene", "metadata", "created_ms", "destroyed_ms")
    assert rows(connection, tables.rooms, *columns) == [("RM_1", REF.sdk_app_id, True, "77", "live", "", begin, None)]
    script.wait(5000)
    script.leave("alice")
    assert rows(connection, tables.rooms, "destroyed_ms") == [(begin + 5000,)]
    assert store.load_open(connection) == []
    assert [event_type for event_type, _ in events(connection)] == [101, 103, 104, 102]
    assert events(connection)[-1] == (102, {"RoomId": 77, "EventTs": 1005, "EventMsTs": begin + 5000})


def test_a_stay_with_its_device_and_reason(connection: Connection) -> None:
    script = Recorded(connection)
    script.do(facts.Entered("PA", "alice", Role.AUDIENCE, PHONE, True))
    columns = ("id", "room", "user_id", "role", "user_type", "terminal_type", "device_type", "sdk_version")
    assert rows(connection, tables.presences, *columns) == [("PA", "RM_1", "alice", 21, 3, 2, "Phone", "1.2")]
    script.do(facts.UsersRemoved(("alice",)))
    ended = rows(connection, tables.presences, "client_address", "joined_ms", "left_ms", "leave_reason")
    assert ended == [("10.0.0.9", script.now_ms, script.now_ms, 3)]
    moment = {"RoomId": 77, "EventTs": 1000, "EventMsTs": script.now_ms, "UserId": "alice", "Role": 21}
    assert events(connection)[1:] == [
        (103, moment | {"TerminalType": 2, "UserType": 3, "Reason": 1}),
        (104, moment | {"Reason": 3}),
    ]


def test_a_role_and_a_device_that_change(connection: Connection) -> None:
    script = Recorded(connection)
    script.enter("alice")
    script.switch("alice", Role.AUDIENCE)
    assert rows(connection, tables.presences, "role") == [(21,)]
    event_type, info = events(connection)[-1]
    assert (event_type, info["UserId"], info["Role"]) == (105, "alice", 21)
    script.do(facts.Entered("PA", "alice", Role.AUDIENCE, PHONE, True))
    assert rows(connection, tables.presences, "id", "device_type", "left_ms") == [("alice", "Phone", None)]


def test_publications_begin_and_end_with_their_callbacks(connection: Connection) -> None:
    script = Recorded(connection)
    script.enter("alice")
    for source in ("camera", "microphone", "screen_share"):
        script.publish("alice", source)
    script.wait(1000)
    script.mute("alice", "alice-microphone")
    script.do(facts.TrackRemoved("alice", "alice-screen_share"))
    begin, now = script.now_ms - 1000, script.now_ms
    columns = ("presence", "kind", "started_ms", "stopped_ms")
    assert rows(connection, tables.publications, *columns) == [
        ("alice", "video", begin, None),
        ("alice", "audio", begin, now),
        ("alice", "aux", begin, now),
    ]
    assert [event_type for event_type, _ in events(connection)] == [101, 103, 201, 203, 205, 204, 206]
    assert events(connection)[-1][1]["Reason"] == 0
    script.wait(1000)
    script.leave("alice")
    assert rows(connection, tables.publications, "stopped_ms")[0] == (script.now_ms,)
    assert [event_type for event_type, _ in events(connection)][-2:] == [104, 102]


def test_what_was_received_and_how_large(connection: Connection) -> None:
    script = Recorded(connection)
    script.enter("alice")
    script.audience("bob")
    script.publish("alice", "microphone")
    script.publish("alice", "camera")
    for width, height in ((640, 360), (1280, 720), (0, 0)):
        script.wait(1000)
        script.do(facts.Receiving("bob", "alice-camera", width, height))
    script.wait(1000)
    script.leave("alice")
    columns = ("presence", "publisher", "kind", "width", "height", "started_ms", "stopped_ms")
    begin = script.now_ms - 4000
    assert rows(connection, tables.subscriptions, *columns) == [
        ("bob", "alice", "audio", 0, 0, begin, begin + 4000),
        ("bob", "alice", "video", 640, 360, begin + 1000, begin + 2000),
        ("bob", "alice", "video", 1280, 720, begin + 2000, begin + 3000),
    ]


def test_a_restarted_server_finds_who_was_there_and_what_was_set(connection: Connection) -> None:
    script = Recorded(connection)
    script.enter("alice")
    script.wait(10)
    script.do(facts.Entered("PA", "bob", Role.AUDIENCE, PHONE, True))
    script.switch("alice", Role.AUDIENCE)
    script.switch("alice", Role.ANCHOR)
    script.publish("alice", "camera")
    script.publish("alice", "microphone")
    script.do(facts.RoomMetadataSet("title"))
    script.block("alice", "audio")
    script.block("bob", "audio", "video")
    script.enter("carol")
    script.block("carol", "video")
    script.leave("carol")
    script.block("bob", "audio")
    script.block("bob")
    [found] = store.load_open(connection)
    assert (found.sid, found.ref, found.scene, found.metadata) == ("RM_1", REF, "live", "title")
    assert found.created_ms == script.room.created_ms
    assert found.blocked == {"alice": {"audio"}, "carol": {"video"}}
    people = [(p.presence, p.participant_id, p.user_id, p.role, p.device, p.sending) for p in found.participants]
    assert people == [
        ("alice", "", "alice", Role.ANCHOR, Device(), {"video"}),
        ("PA", "", "bob", Role.AUDIENCE, PHONE, set()),
    ]
    assert [p.joined_ms for p in found.participants] == [script.now_ms - 10, script.now_ms]

    room = Room(found.sid, found.created_ms, LIVE)
    room.restore(found.participants, script.now_ms, blocked=found.blocked, metadata=found.metadata)
    assert room.participants["alice"].blocked == {"audio"}
    back = room.handle(entered("PA_2", "alice"), script.now_ms)
    assert callbacks(back) == []
    for fact in (facts.TrackAdded("PA_2", track("m", "microphone")), facts.MediaStarted("PA_2", "m", "opus")):
        assert callbacks(room.handle(fact, script.now_ms)) == []


def test_rooms_of_one_name_are_kept_apart(connection: Connection) -> None:
    number, text = Recorded(connection), Recorded(connection, "rtc", RoomRef(REF.sdk_app_id, False, "77"), "RM_2")
    number.enter("alice")
    text.do(entered("PA_2", "alice"))
    number.block("alice", "video")
    assert {found.sid: (found.ref.numeric, found.scene, found.blocked) for found in store.load_open(connection)} == {
        "RM_1": (True, "live", {"alice": frozenset({"video"})}),
        "RM_2": (False, "rtc", {}),
    }
    assert [info["RoomId"] for _, info in events(connection)] == [77, 77, "77", "77"]


def test_the_blocks_of_a_life_of_a_room_end_with_it(connection: Connection) -> None:
    script = Recorded(connection)
    script.enter("alice")
    script.block("alice", "audio")
    script.leave("alice")
    again = Recorded(connection, sid="RM_2")
    again.do(entered("PA_2", "alice"))
    assert [found.blocked for found in store.load_open(connection)] == [{}]


def test_rooms_of_before_the_upgrade_are_found_open(tmp_path: Path) -> None:
    path = tmp_path / "rtcloud.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrating.SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    old = sqlite3.connect(path)
    with old:
        old.execute(
            "INSERT INTO rooms (id, sdk_app_id, numeric, room_id, scene, created_ms)"
            " VALUES ('RM', 14, 1, '7', 'rtc', 5)"
        )
        old.execute(
            "INSERT INTO presences (id, room, user_id, role, user_type, terminal_type, device_type, sdk_version,"
            " client_address, joined_ms) VALUES ('PA', 'RM', 'alice', 20, 3, 4, '', '', '', 6)"
        )
    old.close()

    migrating.migrate(path)
    with engine.connect() as connection:
        [found] = store.load_open(connection)
        assert (found.ref, found.metadata, found.blocked) == (RoomRef(14, True, "7"), "", {})
        assert [participant.user_id for participant in found.participants] == ["alice"]
        store.apply(connection, found.ref, "RM", "rtc", UserBlocked("alice", frozenset({"audio"})), 9)
        assert store.load_open(connection)[0].blocked == {"alice": {"audio"}}
    engine.dispose()
