"""A server that is stopped while it records: the recording goes on when it is back (test_recording_killed: killed)."""

import asyncio
import time

import pytest

from tests.kit import probes
from tests.kit.browser import RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Receiver
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 4101


async def pause(seconds: float, why: str) -> None:
    until = time.monotonic() + seconds

    async def over() -> bool:
        return time.monotonic() >= until

    await eventually(over, why, within=seconds + 5)


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
