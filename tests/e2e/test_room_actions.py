"""RemoveUser and DismissRoom through the official SDK, seen by browsers and told by callbacks."""

import asyncio

import pytest

from tests.conftest import Open
from tests.kit.cloud import Cloud
from tests.kit.receiver import Receiver
from tests.kit.server import Server

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]


@pytest.mark.parametrize("room", [2001, "lounge"], ids=["numeric", "string"])
async def test_a_removed_user_and_a_dismissed_room_are_seen_as_such(
    server: Server, cloud: Cloud, receiver: Receiver, open_caller: Open, room: int | str
) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    alice, bob, carol = [await open_caller(name) for name in ("alice", "bob", "carol")]
    for caller in (alice, bob, carol):
        await caller.join(server, room)

    await asyncio.to_thread(cloud.remove_users, room, "alice", "nobody")
    await alice.saw_event("disconnected", reason="PARTICIPANT_REMOVED")
    await bob.saw_event("participantDisconnected", userId="alice")
    removed = await receiver.expect(104, lambda each: each.user_id == "alice")
    assert (removed.info["RoomId"], removed.info["Reason"]) == (room, 3)
    assert await bob.call("state") == "connected"

    await asyncio.to_thread(cloud.dismiss_room, room)
    for caller in (bob, carol):
        await caller.saw_event("disconnected", reason="ROOM_DELETED")
    dismissed = await receiver.expect(102)
    assert dismissed.info["RoomId"] == room
    assert all(each.signed for each in receiver.received)
