"""Actions of pulled streams: what is accepted, what is refused with which code and field, what is answered when."""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from rtcloud.accounts.usersig import make_user_sig
from rtcloud.actions import ingest, weighing
from rtcloud.errors import ServiceError
from rtcloud.ingest.pull.request import KIND, IngestRequest, decode
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.tasks.task import NewTask
from tests.kit import actions
from tests.kit.actions import NOW_MS, find, open_world
from tests.kit.api import FakeRooms, FakeTasks
from tests.kit.relay_calls import EXAMPLES

URL = "https://media.example/films/one.mp4?key=k"


class World:
    def __init__(self, world: actions.World) -> None:
        self.world = world
        rooms, tasks = world.services.rooms, world.services.tasks
        assert isinstance(rooms, FakeRooms)
        assert isinstance(tasks, FakeTasks)
        self.rooms, self.tasks = rooms, tasks
        self.app = world.app.sdk_app_id

    def sig(self, user_id: str) -> str:
        return make_user_sig(self.app, self.world.app.secret_key, user_id, now_ms=NOW_MS)

    async def start(self, **changes: Any) -> str:
        """The TaskId."""
        user = changes.get("UserId", "film")
        given = {"SdkAppId": self.app, "RoomId": "77", "RoomIdType": 1, "UserId": user, "StreamUrl": URL}
        wanted = {"UserSig": self.sig(user)} | changes
        named = {name: value for name, value in (given | wanted).items() if value is not None}
        (task_id,) = (await self.world.call("StartStreamIngest", **named)).values()
        return str(task_id)

    async def refused(self, **changes: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            await self.start(**changes)
        return caught.value

    async def of_task(self, action: str, task_id: str, **members: Any) -> dict[str, Any]:
        return await self.world.call(action, SdkAppId=self.app, TaskId=task_id, **members)

    async def code(self, action: str, task_id: str, **members: Any) -> str:
        return await self.world.refusal(action, SdkAppId=self.app, TaskId=task_id, **members)

    def request(self, task_id: str) -> IngestRequest:
        return decode(self.tasks.accepted[task_id].params)


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        async with open_world() as world:
            await scenario(World(world))

    asyncio.run(opened())


# what is accepted -------------------------------------------------------------------------------------------------


def test_a_started_pull_is_what_was_asked_for() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start(
            RoomId="007",
            SeekSecond=12,
            RepeatNum=-1,
            MaxDuration=90,
            Volume=150,
            SourceUrl=["https://ignored.example/"],
        )
        task = world.tasks.accepted[task_id]
        assert (task.kind, task.ref, task.user_id) == (KIND, RoomRef(world.app, True, "7"), "film")
        assert task.load == weighing.COPIED
        assert world.request(task_id) == IngestRequest(
            sdk_app_id=world.app,
            room_id="7",
            room_id_type=1,
            user_id="film",
            stream_url=URL,
            seek_second=12,
            repeat_num=-1,
            max_duration=90,
            volume=150,
        )
        assert b"UserSig" not in task.params
        text = await world.start(RoomId="lobby 7", RoomIdType=0, MaxDuration=90)
        assert world.tasks.accepted[text].ref == RoomRef(world.app, False, "lobby 7")
        assert world.request(text).max_duration == 0  # it is for endless ones
        assert (world.request(text).repeat_num, world.request(text).volume) == (1, 100)

    run(scenario)


def test_defaults_equal_those_of_the_extras() -> None:
    _, action = find("StartStreamIngest")
    plain = IngestRequest(sdk_app_id=1, room_id="7", user_id="u", stream_url=URL)
    for name, value in (
        ("RoomIdType", plain.room_id_type),
        ("SeekSecond", plain.seek_second),
        ("RepeatNum", plain.repeat_num),
        ("Volume", plain.volume),
    ):
        assert action.input[name].default == value, name


@pytest.mark.parametrize("scheme", ["http", "https", "rtmp", "rtmps", "rtsp", "rtsps"])
def test_sources_may_be_of_these_protocols(scheme: str) -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start(StreamUrl=f"{scheme}://media.example:9000/live/one?a=b")
        assert world.request(task_id).stream_url.startswith(scheme)

    run(scenario)


def test_documented_examples() -> None:
    """The one that starts names a numeric room by a text: it is refused as every such room is, and accepted as soon as
    its room is what its type says."""

    async def scenario(world: World) -> None:
        examples = {one["action"]: one["parameters"] for one in EXAMPLES if one["action"].endswith("StreamIngest")}
        assert len(examples) == 4
        start = examples["StartStreamIngest"] | {"SdkAppId": world.app, "UserSig": world.sig("robot123")}
        del start["PrivateMapKey"]
        assert await world.world.refusal("StartStreamIngest", **start) == "InvalidParameter.RoomId"
        for room in ({"RoomIdType": 0}, {"RoomId": "123"}):
            (task_id,) = (await world.world.call("StartStreamIngest", **start | room)).values()
            named = {"SdkAppId": world.app, "TaskId": task_id}
            update = examples["UpdateStreamIngest"] | named
            assert await world.world.call("UpdateStreamIngest", **update) == {"Status": "InProgress"}
            describe = examples["DescribeStreamIngest"] | named
            assert await world.world.call("DescribeStreamIngest", **describe) == {"Status": "InProgress"}
            assert await world.world.call("StopStreamIngest", **examples["StopStreamIngest"] | named) == {}

    run(scenario)


# what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"RoomId": "lobby"}, "InvalidParameter.RoomId", "RoomId must be a decimal number: RoomIdType is 1"),
        ({"RoomId": "0"}, "InvalidParameter.RoomId", "RoomId must be from 1 to 4294967294"),
        ({"RoomId": "a/b", "RoomIdType": 0}, "InvalidParameter.StrRoomId", "RoomId must be 1 to 64 of the documented"),
        ({"RoomId": "十", "RoomIdType": 0}, "InvalidParameter.StrRoomId", "RoomId must be 1 to 64 of the documented"),
        ({"RoomIdType": 2}, "InvalidParameterValue", "RoomIdType"),
        ({"StreamUrl": None}, "MissingParameter", "StreamUrl is required"),
        ({"StreamUrl": ""}, "MissingParameter", "StreamUrl is required"),
        ({"StreamUrl": "file:///etc/passwd"}, "InvalidParameter.StreamUrl", "StreamUrl must be a URL"),
        ({"StreamUrl": "https:///one.mp4"}, "InvalidParameter.StreamUrl", "StreamUrl must be a URL"),
        ({"StreamUrl": "concat:http://a/b|http://c/d"}, "InvalidParameter.StreamUrl", "StreamUrl must be a URL"),
        ({"StreamUrl": "https://a.example/one\r\nHost: b"}, "InvalidParameter.StreamUrl", "StreamUrl must be a URL"),
        ({"StreamUrl": "http://127.0.0.1/one.mp4"}, "InvalidParameter.StreamUrl", "private network"),
        ({"StreamUrl": "rtmp://10.0.0.9/live/a"}, "InvalidParameter.StreamUrl", "private network"),
        ({"StreamUrl": "http://user@[::1]:8080/a"}, "InvalidParameter.StreamUrl", "private network"),
        ({"StreamUrl": "http://[::ffff:169.254.169.254]/"}, "InvalidParameter.StreamUrl", "private network"),
        ({"RepeatNum": 0}, "InvalidParameterValue", "RepeatNum"),
        ({"RepeatNum": 1001}, "InvalidParameterValue", "RepeatNum"),
        ({"MaxDuration": 0}, "InvalidParameterValue", "MaxDuration"),
        ({"Volume": 201}, "InvalidParameterValue", "Volume"),
        ({"SeekSecond": -1}, "InvalidParameterValue", "SeekSecond"),
        ({"AutoPush": True}, "FailedOperation.NotAllowed", "AutoPush"),
        ({"UserSig": "x"}, "InvalidParameter.UserSig", "UserSig is not valid"),
        ({"PrivateMapKey": "x"}, "InvalidParameter", "PrivateMapKey is not valid"),
        ({"UserId": AUTO_RECORDER}, "InvalidParameter", "UserId is the name of automatic recordings' robot"),
    ],
)
def test_refused_requests_start_nothing(changes: dict[str, Any], code: str, text: str) -> None:
    async def scenario(world: World) -> None:
        error = await world.refused(**changes)
        assert (error.code, text in error.message) == (code, True), error.message
        assert world.tasks.accepted == {}

    run(scenario)


def test_where_private_networks_are_allowed_their_addresses_are() -> None:
    async def scenario(world: World) -> None:
        world.world.services = replace(world.world.services, allow_private=True)
        await world.start(StreamUrl="http://127.0.0.1:8000/one.mp4")

    run(scenario)


def test_a_private_map_key_is_of_the_room_and_the_user() -> None:
    async def scenario(world: World) -> None:
        def key(user_id: str) -> str:
            head = struct.pack(">BH", 0, len(user_id)) + user_id.encode()
            userbuf = head + struct.pack(">IIIII", world.app, 77, NOW_MS // 1000 + 60, 255, 0)
            secret = world.world.app.secret_key
            return make_user_sig(world.app, secret, user_id, now_ms=NOW_MS, userbuf=userbuf)

        await world.start(PrivateMapKey=key("film"))
        assert (await world.refused(UserId="other", PrivateMapKey=key("film"))).code == "InvalidParameter"

    run(scenario)


def test_a_user_is_once_in_a_room() -> None:
    async def scenario(world: World) -> None:
        room = RoomRef(world.app, True, "77")
        world.rooms.open[room] = {"alice"}
        error = await world.refused(UserId="alice")
        assert (error.code, error.message.startswith("UserId is in room 77 already")) == ("InvalidParameter", True)
        task_id = await world.start()
        error = await world.refused()
        assert (error.code, error.message) == ("FailedOperation.TaskExist", "UserId is of another task in room 77")
        await world.start(RoomId="78")
        relay = NewTask("R", "recording", room, "keeper", b"{}", expires_ms=0, now_ms=NOW_MS)
        await world.tasks.accept(relay)
        assert (await world.refused(UserId="keeper")).code == "FailedOperation.TaskExist"
        await world.of_task("StopStreamIngest", task_id)
        await world.start()

    run(scenario)


def test_a_user_that_is_just_leaving_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "LEAVES_WITHIN_S", 2.0)

    async def scenario(world: World) -> None:
        room = RoomRef(world.app, True, "77")
        task_id = await world.start()
        world.rooms.open[room] = {"film"}
        await world.of_task("StopStreamIngest", task_id)
        starting = asyncio.create_task(world.start())
        await asyncio.sleep(0.25)
        assert not starting.done()
        world.rooms.open[room] = set()
        world.tasks.move(task_id, "ended")
        await starting

    run(scenario)


def test_a_machine_takes_what_it_has_room_for() -> None:
    async def scenario(world: World) -> None:
        world.tasks.capacity = 2 * weighing.COPIED
        started = await asyncio.gather(
            *(world.start(UserId=f"film{number}") for number in range(5)), return_exceptions=True
        )
        codes = sorted(one.code for one in started if isinstance(one, ServiceError))
        assert codes == ["FailedOperation.RestrictedConcurrency"] * 3
        world.world.services = replace(world.world.services, is_stopping=lambda: True)
        assert (await world.refused(UserId="late")).code == "ServiceUnavailable"

    run(scenario)


# a task that runs, and one that has ended -------------------------------------------------------------------------


def test_an_update_changes_what_it_names() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start(SeekSecond=5, Volume=40)
        first = world.request(task_id)
        assert await world.of_task("UpdateStreamIngest", task_id, Volume=0) == {"Status": "InProgress"}
        assert (world.request(task_id).volume, world.request(task_id).url_revision) == (0, 0)
        await world.of_task("UpdateStreamIngest", task_id, IsPause=True)
        paused = world.request(task_id)
        assert (paused.is_pause, paused.volume, paused.stream_url) == (True, 0, first.stream_url)
        await world.of_task("UpdateStreamIngest", task_id, StreamUrl="rtmp://live.example/app/x")
        second = world.request(task_id)
        assert (second.stream_url, second.url_revision, second.seek_second) == ("rtmp://live.example/app/x", 1, 0)
        assert (second.is_pause, second.volume) == (True, 0)
        await world.of_task("UpdateStreamIngest", task_id, StreamUrl="rtmp://live.example/app/x", IsPause=False)
        assert (world.request(task_id).url_revision, world.request(task_id).is_pause) == (2, False)
        await world.of_task("UpdateStreamIngest", task_id)
        assert world.tasks.accepted[task_id].load == weighing.COPIED
        for changes, code in (
            ({"StreamUrl": "http://192.168.0.1/"}, "InvalidParameter.StreamUrl"),
            ({"StreamUrl": "ftp://a.example/b"}, "InvalidParameter.StreamUrl"),
            ({"Volume": 201}, "InvalidParameterValue"),
        ):
            assert await world.code("UpdateStreamIngest", task_id, **changes) == code

    run(scenario)


def test_a_task_exists_until_it_has_ended() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start()
        for state in ("accepted", "running", "ending"):
            world.tasks.move(task_id, state)
            assert await world.of_task("DescribeStreamIngest", task_id) == {"Status": "InProgress"}
        world.tasks.move(task_id, "running")
        for _ in range(2):  # one that is stopping is stopped
            assert await world.of_task("StopStreamIngest", task_id) == {}
        assert world.tasks.views[task_id].desired_state == "stopped"
        assert await world.code("UpdateStreamIngest", task_id, Volume=1) == "FailedOperation.TaskNotExist"
        world.tasks.move(task_id, "ended")
        assert await world.of_task("DescribeStreamIngest", task_id) == {"Status": "NotExist"}
        assert await world.code("StopStreamIngest", task_id) == "FailedOperation.TaskFinished"
        assert await world.code("UpdateStreamIngest", task_id, Volume=1) == "FailedOperation.TaskNotExist"

    run(scenario)


def test_only_pulls_of_the_application_are_found() -> None:
    async def scenario(world: World) -> None:
        recording = NewTask("R", "recording", RoomRef(world.app, True, "7"), "u", b"{}", expires_ms=0, now_ms=NOW_MS)
        await world.tasks.accept(recording)
        theirs = replace(recording, task_id="O", kind=KIND, ref=RoomRef(world.app + 1, True, "7"))
        await world.tasks.accept(theirs)
        for task_id in ("R", "O", "unknown"):
            assert await world.of_task("DescribeStreamIngest", task_id) == {"Status": "NotExist"}
            assert await world.code("StopStreamIngest", task_id) == "InvalidParameter.TaskId"
            assert await world.code("UpdateStreamIngest", task_id) == "FailedOperation.TaskNotExist"
        assert world.tasks.views["R"].desired_state == "running"

    run(scenario)
