"""A customer's callback server that is down for half a minute, and a server that is killed: nothing is lost."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from tests.kit.browser import BLUE, RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

WHOLE_STORY = {101, 103, 201, 203, 301, 303, 304, 307, 305, 302, 310, 104, 102}
DOWN_S = 30.0


async def hold_call(server: Server, room: int) -> str:
    """A recorded call of two programs, from the first to enter to the last to leave; the TaskId."""
    cloud = Cloud(server)
    async with robot(**server.ticket("alice", room)) as alice, robot(**server.ticket("bob", room)) as bob:
        await alice.publish(RED, 440)
        await bob.publish(BLUE, 700)
        task_id = await asyncio.to_thread(cloud.start_recording, room, width=640, height=360)
        folder = server.data / "files/recordings/calls" / task_id

        async def recorded() -> bool:
            return any(folder.glob("*.m3u8")) and alice.frames["bob", "video"] > 30

        await eventually(recorded, "the recording's index appears", within=30)
        await asyncio.to_thread(cloud.stop_recording, task_id)

        async def finished() -> bool:
            return any(folder.glob("*.mp4"))

        await eventually(finished, "the MP4 appears", within=30)
    return task_id


def in_order_of_happening(received: list[Received]) -> bool:
    times = [each.info["EventMsTs"] for each in received if each.type < 300]
    return times == sorted(times)


async def whole_story(receiver: Receiver) -> None:
    async def told() -> bool:
        return set(receiver.types()) >= WHOLE_STORY

    await eventually(told, "the whole story", within=75, seen=receiver.types)
    assert all(each.signed for each in receiver.received)
    assert in_order_of_happening(receiver.received)


async def test_all_is_told_after_the_receiver_was_down_for_half_a_minute(server: Server, receiver: Receiver) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    receiver.down()
    down_since = time.monotonic()
    await hold_call(server, 4001)
    assert receiver.received == []

    async def half_a_minute_passed() -> bool:
        return time.monotonic() - down_since >= DOWN_S

    await eventually(half_a_minute_passed, "the receiver stays down", within=DOWN_S + 5)
    receiver.up()
    await whole_story(receiver)


async def test_all_is_told_after_the_server_was_killed(tmp_path: Path, receiver: Receiver) -> None:
    with Server(tmp_path / "data") as server:
        server.set_callbacks(receiver.url, receiver.key)
        receiver.down()
        await hold_call(server, 4002)

        async def room_is_closed() -> bool:
            return json.loads(await asyncio.to_thread(server.admin, "rooms", "--json")) == []

        await eventually(room_is_closed, "the room is closed")
        server.kill()
        receiver.up()
        server.start()
        await whole_story(receiver)


async def test_a_killed_server_ends_the_stay_of_who_does_not_return(tmp_path: Path, receiver: Receiver) -> None:
    """Everybody in the room when the server died gets 90 s to come back; the room is then closed."""
    with Server(tmp_path / "data") as server:
        server.set_callbacks(receiver.url, receiver.key)
        async with robot(**server.ticket("alice", 4003)), robot(**server.ticket("bob", 4003)):
            await receiver.expect(103, lambda each: each.user_id == "bob")
            server.kill()
        server.start()
        async with robot(**server.ticket("alice", 4003)):
            left = await receiver.expect(104, lambda each: each.user_id == "bob", within=120)
            assert left.info["Reason"] == 2
            assert not receiver.of(104, lambda each: each.user_id == "alice")
            assert len(receiver.of(103, lambda each: each.user_id == "alice")) == 1
        await receiver.expect(102)
