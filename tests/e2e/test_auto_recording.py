"""Automatic recording on a real server: who is recorded, into which files, and what the callbacks tell of it.

One story is played on one server, several rooms at once; each test looks at another room. The next stories have servers
of their own, since they kill them.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rtcloud.egress.recording.naming import encode_id
from rtcloud.recordings.folder import read_folder
from rtcloud.recordings.verifying import verify
from tests.kit import probes
from tests.kit.cloud import Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.robot import Robot, robot
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROBOT = "rtcloud_auto_recorder"
BUCKET = "lessons"
OLD, CALL, TWICE, DISMISSED, DELETED, RELAYED = range(40, 46)
WAIT_S = 8
BREAK_S = 2.0
PATIENCE_S = 40.0  # of a machine with other things to do
RED, BLUE = "#c02020", "#2020c0"


def turn_on(server: Server, mode: str, *options: str) -> None:
    server.admin("applications", "set", str(server.sdk_app_id), "--auto-recording", mode, *options)


@asynccontextmanager
async def talking(server: Server, room: int, user: str, color: str = RED, hz: float = 440) -> AsyncIterator[Robot]:
    async with robot(**await asyncio.to_thread(server.ticket, user, room)) as one:
        await one.publish(color, hz)
        yield one


async def talk(server: Server, room: int, user: str, seconds: float) -> None:
    async with talking(server, room, user):
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Story:
    server: Server
    received: list[Received]

    def events(self, room: int, *types: int) -> list[Received]:
        ours = [each for each in self.received if each.info["RoomId"] == room and each.body["EventGroupId"] == 3]
        return [each for each in ours if not types or each.type in types]

    def tasks(self, room: int) -> list[str]:
        return list(dict.fromkeys(each.info["TaskId"] for each in self.events(room)))

    def files(self, task_id: str) -> list[Path]:
        return sorted((self.server.data / "files" / BUCKET / task_id).glob("*"))


@pytest.fixture(scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    data = tmp_path_factory.mktemp("auto") / "data"
    with Server(data, "--mixing-cores", "0") as server, Receiver() as receiver:
        server.set_callbacks(receiver.url, receiver.key)
        try:
            async with talking(server, OLD, "early"):
                turn_on(server, "single", "--auto-recording-wait", str(WAIT_S), "--auto-recording-bucket", BUCKET)
                for plays in ((_interrupted, _twice), (_dismissed, _deleted, _relayed)):
                    async with asyncio.TaskGroup() as rooms:
                        for play in plays:
                            rooms.create_task(play(server, receiver))
                async with talking(server, OLD, "late"):
                    await asyncio.sleep(3)  # longer than the poll
            yield Story(server, list(receiver.received))
        except BaseException:
            print(server.tail())
            raise


def of(room: int) -> Any:
    return lambda each: each.info["RoomId"] == room


async def _interrupted(server: Server, receiver: Receiver) -> None:
    """Two people; all leave for less than the wait, one comes back."""
    async with talking(server, CALL, "alice"), talking(server, CALL, "bob", BLUE, 700):
        task_id = (await receiver.expect(301, of(CALL), PATIENCE_S)).info["TaskId"]
        spool = server.data / "spool" / task_id / "0"
        await eventually(lambda: _true(len([*spool.glob("*.ts")]) >= 2), "both are written", PATIENCE_S)
        await asyncio.sleep(3)
    await asyncio.sleep(BREAK_S)
    await talk(server, CALL, "alice", 3)
    await receiver.expect(
        311, lambda each: each.info["RoomId"] == CALL and "bob" in str(each.payload), within=PATIENCE_S
    )
    await receiver.expect(
        311, lambda each: each.info["RoomId"] == CALL and "alice" in str(each.payload), within=PATIENCE_S
    )


async def _twice(server: Server, receiver: Receiver) -> None:
    """The break is longer than the wait, and somebody who only listens keeps the room open."""
    async with robot(**await asyncio.to_thread(server.ticket, "listener", TWICE)):
        async with talking(server, TWICE, "alice"):
            await receiver.expect(301, of(TWICE), PATIENCE_S)
            await asyncio.sleep(1.5)
        await receiver.expect(302, of(TWICE), within=PATIENCE_S)
        async with talking(server, TWICE, "alice"):
            await eventually(lambda: _true(len(receiver.of(301, of(TWICE))) == 2), "a second task", PATIENCE_S)
            await asyncio.sleep(1.5)
    await eventually(lambda: _true(len(receiver.of(311, of(TWICE))) == 2), "both files", within=PATIENCE_S)


async def _dismissed(server: Server, receiver: Receiver) -> None:
    async with talking(server, DISMISSED, "alice"):
        await receiver.expect(301, of(DISMISSED), PATIENCE_S)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(Cloud(server).dismiss_room, DISMISSED)
        await receiver.expect(311, of(DISMISSED), within=PATIENCE_S)


async def _deleted(server: Server, receiver: Receiver) -> None:
    """By the API, to which the callbacks told the TaskId; nobody records this life of the room again."""
    cloud = Cloud(server)
    async with talking(server, DELETED, "alice"):
        task_id = (await receiver.expect(301, of(DELETED), PATIENCE_S)).info["TaskId"]
        described = await asyncio.to_thread(cloud.describe_recording, task_id)
        assert described["Status"] == "InProgress"
        listed = json.loads(server.admin("tasks", "--json"))
        assert {line["by"] for line in listed if line["task_id"] == task_id} == {"auto"}
        await asyncio.to_thread(cloud.stop_recording, task_id)
        await receiver.expect(302, of(DELETED), PATIENCE_S)
        await asyncio.sleep(3)  # longer than the poll
        for taken in (ROBOT, "alice"):
            with pytest.raises(TencentCloudSDKException) as refused:
                await asyncio.to_thread(cloud.start_recording, DELETED, robot=taken)
            assert refused.value.code == "InvalidParameter"


async def _relayed(server: Server, receiver: Receiver) -> None:
    """UniRecord 2: the relay's files are as those of automatic recordings."""
    cloud = Cloud(server)
    feedback = {"RoomId": "echo", "RoomIdType": 1, "UserId": "echo", "UserSig": server.user_sig("echo")}
    async with talking(server, RELAYED, "alice"):
        task_id = await asyncio.to_thread(
            cloud.start_relay, RELAYED, FeedBackRoomParams=[feedback], RecordParams={"UniRecord": 2}
        )
        await receiver.expect(301, lambda each: each.info["TaskId"] == task_id, PATIENCE_S)
        await receiver.expect(301, lambda each: of(RELAYED)(each) and each.user_id == ROBOT, PATIENCE_S)
        await asyncio.sleep(3)
        await asyncio.to_thread(cloud.stop_relay, task_id)
    await receiver.expect(310, lambda each: each.info["TaskId"] == task_id, within=PATIENCE_S)


async def check(folder: Path) -> None:
    """The product's own look at every frame."""
    report = await asyncio.to_thread(verify, read_folder(folder), None, is_running=False, told=lambda _: None)
    assert report.is_good, report


async def _true(value: bool) -> bool:
    return value


async def test_rooms_of_before_are_left_alone(story: Story) -> None:
    assert story.events(OLD) == []


async def test_a_break_shorter_than_the_wait_is_a_gap_in_one_file_of_each_person(story: Story) -> None:
    (task,) = story.tasks(CALL)
    assert {each.user_id for each in story.events(CALL)} == {ROBOT}
    alice, bob = (
        f"{story.server.sdk_app_id}_{CALL}__UserId_s_{encode_id(user)}__UserId_e_main.mp4" for user in ("alice", "bob")
    )
    told = [each.payload for each in story.events(CALL, 311)]
    assert {(each["Status"], each["TencentVod"]["CacheFile"]) for each in told} == {(0, alice), (0, bob)}
    files = {path.name: path for path in story.files(task)}
    assert set(files) == {alice, bob}
    for path in files.values():
        assert set(probes.codecs(path)) == {"audio", "video"}
    await check(path.parent)
    shown = [at for at, _ in probes.pictures(files[alice])]
    gaps = [(before, after) for before, after in zip(shown, shown[1:], strict=False) if after - before > BREAK_S - 0.2]
    assert len(gaps) == 1
    before, after = gaps[0]
    assert after - before < WAIT_S + 1, "the way in and out of the room comes to it"
    assert shown[-1] - after > 2


async def test_the_robot_waits_for_anchors_and_then_leaves_with_code_99(story: Story) -> None:
    (left,) = story.events(CALL, 302)
    assert left.payload == {"LeaveCode": 99}
    gone = [each for each in story.received if each.info["RoomId"] == CALL and each.type == 104]
    last = max(each.info["EventMsTs"] for each in gone if each.user_id == "alice")
    assert WAIT_S * 1000 <= left.info["EventMsTs"] - last < WAIT_S * 1000 + 4000
    closed = next(each for each in story.received if each.info["RoomId"] == CALL and each.type == 102)
    assert closed.info["EventMsTs"] >= last + WAIT_S * 1000, "the room stays open as long as the robot is in it"


async def test_a_longer_break_is_the_end_of_a_task_and_the_next_one_begins(story: Story) -> None:
    assert [each.payload["LeaveCode"] for each in story.events(TWICE, 302)] == [99, 99]
    assert len(story.tasks(TWICE)) == 2
    for task in story.tasks(TWICE):
        (path,) = story.files(task)
        assert 1 < probes.duration(path) < WAIT_S + PATIENCE_S


async def test_a_dismissed_room_ends_its_recording_with_code_2(story: Story) -> None:
    assert [each.payload["LeaveCode"] for each in story.events(DISMISSED, 302)] == [2]


async def test_a_task_that_the_api_deleted_is_not_begun_again(story: Story) -> None:
    assert len(story.tasks(DELETED)) == 1
    assert [each.payload["LeaveCode"] for each in story.events(DELETED, 302)] == [0]


async def test_events_are_those_of_automatic_recording_to_a_bucket(story: Story) -> None:
    told = {each.type for room in (CALL, TWICE, DISMISSED) for each in story.events(room)}
    assert told == {301, 302, 303, 311}  # 305 is about HLS; 304, 307, 310 are for recordings that the API asked for


async def test_a_relay_is_recorded_as_the_setting_says(story: Story) -> None:
    relayed = next(each for each in story.events(RELAYED, 310))
    (path,) = story.files(relayed.info["TaskId"])
    assert path.suffix == ".mp4"
    await check(path.parent)
    automatic = [each.info["TaskId"] for each in story.events(RELAYED, 301) if each.user_id == ROBOT]
    assert len(automatic) == 1, "the room itself is recorded, too"


async def test_a_server_killed_right_after_somebody_began_to_send_records_once(tmp_path: Path) -> None:
    """Into the media library."""
    with Server(tmp_path / "data") as server, Receiver() as receiver:
        await _killed(server, receiver, {50: 0.0, 51: 0.15, 52: 1.0})
        for room in (50, 51, 52):
            (committed,) = receiver.of(311, of(room))
            assert committed.payload["TencentVod"]["VideoUrl"]
        told = {each.type for each in receiver.received if each.body["EventGroupId"] == 3}
        assert told <= {301, 302, 306, 311, 312}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
async def test_whenever_the_server_is_killed_each_room_is_recorded_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Server(tmp_path / "data") as server, Receiver() as receiver:
        for first in range(100, 140, 10):
            await _killed(server, receiver, {first + n: chance.uniform(0, 3) for n in range(3)})


async def _killed(server: Server, receiver: Receiver, ages: Mapping[int, float]) -> None:
    """``ages``: room → for how many seconds somebody sends in it when the server is killed. They all come back, and in
    the end each room has had one task, which was told to its end."""
    server.set_callbacks(receiver.url, receiver.key)
    turn_on(server, "mixed", "--auto-recording-wait", str(WAIT_S), "--auto-recording-content", "audio")
    async with contextlib.AsyncExitStack() as people:
        tickets = {room: await asyncio.to_thread(server.ticket, "alice", room) for room in ages}
        waiting = {room: await people.enter_async_context(robot(**ticket)) for room, ticket in tickets.items()}
        oldest_first = sorted(ages, key=lambda room: -ages[room])
        for room, then in zip(oldest_first, [*oldest_first[1:], None], strict=True):
            await waiting[room].publish(RED, 440)
            await asyncio.sleep(ages[room] - (ages[then] if then is not None else 0))
        await asyncio.to_thread(server.restart_killed)
    async with contextlib.AsyncExitStack() as people:
        for room in ages:
            await people.enter_async_context(talking(server, room, "alice"))
        for room in ages:
            await receiver.expect(301, of(room), within=PATIENCE_S)
        await asyncio.sleep(2)
    for room in ages:
        finished = await receiver.expect(312, of(room), within=PATIENCE_S)
        tasks = {each.info["TaskId"] for each in receiver.received if each.type == 301 and of(room)(each)}
        assert tasks == {finished.info["TaskId"]}
