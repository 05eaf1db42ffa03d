"""A recorder job that dies in the middle: the recording goes on in a new process, and what was there stays."""

import asyncio
import time

import pytest

from tests.kit import probes
from tests.kit.browser import BLUE, RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Receiver
from tests.kit.robot import robot
from tests.kit.server import Server, end_by_signal
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 4101
BEFORE_S = 12.0
AFTER_S = 8.0
ALLOWED_LOSS_S = 2.0


async def pause(seconds: float, why: str) -> None:
    until = time.monotonic() + seconds

    async def over() -> bool:
        return time.monotonic() >= until

    await eventually(over, why, within=seconds + 5)


async def test_a_killed_recorder_goes_on_in_a_new_process(server: Server, receiver: Receiver) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    cloud = Cloud(server)
    async with robot(**server.ticket("alice", ROOM)) as alice, robot(**server.ticket("bob", ROOM)) as bob:
        await alice.publish(RED, 440)
        await bob.publish(BLUE, 700)
        task_id = await asyncio.to_thread(cloud.start_recording, ROOM, width=640, height=360)
        began_ms = int((await receiver.expect(307)).payload["BeginTimeStamp"])
        await pause(BEFORE_S, "the first job records")

        (job,) = server.jobs().values()
        killed_ms = time.time_ns() // 1_000_000
        end_by_signal(job)
        moved = await receiver.expect(306, within=5)
        assert moved.payload == {"Status": 0}
        assert moved.info["TaskId"] == task_id
        (successor,) = server.jobs().values()
        assert successor != job

        await pause(AFTER_S, "the second job records")
        assert (await asyncio.to_thread(cloud.describe_recording, task_id))["Status"] == "InProgress"
        await asyncio.to_thread(cloud.stop_recording, task_id)
        await receiver.expect(310, within=40)

    assert (await receiver.expect(302)).payload == {"LeaveCode": 0}
    folder = server.data / "files/recordings/calls" / task_id
    stem = f"{server.sdk_app_id}_{ROOM}"
    first, second = folder / f"{stem}.m3u8", folder / f"ha1_{stem}.m3u8"
    assert first.exists()
    assert second.exists()
    assert sorted(folder.glob(f"{stem}_*.ts"))
    assert sorted(folder.glob(f"ha1_{stem}_*.ts"))

    # What had reached the first job is there, but for at most two seconds; and it plays.
    for segment in folder.glob(f"{stem}_*.ts"):
        assert probes.codecs(segment) == {"video": "h264", "audio": "aac"}
    kept_s = probes.duration(first)
    assert (killed_ms - began_ms) / 1000 - kept_s <= ALLOWED_LOSS_S
    assert probes.duration(second) >= AFTER_S - ALLOWED_LOSS_S
    (mp4,) = folder.glob("*.mp4")
    assert probes.duration(mp4) >= kept_s + AFTER_S - ALLOWED_LOSS_S
    for at in (1.0, kept_s - 1, probes.duration(mp4) - 1):
        picture = probes.picture_at(mp4, at)
        left = probes.mean_color(picture, probes.Region(0.1, 0.3, 0.4, 0.7))
        right = probes.mean_color(picture, probes.Region(0.6, 0.3, 0.9, 0.7))
        assert left[0] > 150 > left[2], (at, left)
        assert right[2] > 150 > right[0], (at, right)


async def test_a_stopped_server_goes_on_recording_when_it_is_back(server: Server, receiver: Receiver) -> None:
    """SIGTERM: files are closed, the task stays accepted; the next start goes on with it."""
    server.set_callbacks(receiver.url, receiver.key)
    cloud = Cloud(server)
    async with robot(**server.ticket("alice", ROOM)) as alice:
        await alice.publish(RED, 440)
        task_id = await asyncio.to_thread(cloud.start_recording, ROOM, width=640, height=360)
        await receiver.expect(307)
        await pause(3, "the first server records")
        assert await asyncio.to_thread(server.stop) == 0
    folder = server.data / "files/recordings/calls" / task_id
    server.start()
    async with robot(**server.ticket("alice", ROOM)) as alice:
        await alice.publish(RED, 440)
        await receiver.expect(306, within=20)

        async def goes_on() -> bool:
            return any(folder.glob("ha1_*.m3u8"))

        await eventually(goes_on, "the recording goes on", within=20)
        await asyncio.to_thread(cloud.stop_recording, task_id)
        await receiver.expect(310, within=40)
    for index in folder.glob("*.m3u8"):
        assert probes.decode_all(index) == ""
