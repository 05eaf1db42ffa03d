"""People who lose their network: a browser and a native client in a namespace whose link is cut.

For 20 s nobody else notices; after 90 s they have left, with the documented reason, and may come again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rtcloud.client.types import ParticipantLeft
from tests.kit.browser import RED, Caller, PageFiles, chromium, chromium_path
from tests.kit.crowd import Crowd, Member, Order, ticket
from tests.kit.namespaces import Namespace
from tests.kit.receiver import Receiver
from tests.kit.robot import Robot, robot
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.anyio]

ROOM = 9101
SHORT_S = 20.0
LONG_S = 100.0
#: After the network is back.
RESUMED_WITHIN_S = 20.0
TIMED_OUT = 2  # callback 104's reason


@pytest.fixture
def away() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
def server(tmp_path: Path, away: Namespace, receiver: Receiver) -> Iterator[Server]:
    """On the link's end outside, media too."""
    with Server(tmp_path / "data", host=away.outside) as started:
        started.set_callbacks(receiver.url, receiver.key)
        yield started
        assert started.alive, "the server died"


@pytest.fixture
async def alice(away: Namespace, server: Server, tmp_path: Path) -> AsyncIterator[Caller]:
    """In a browser in the namespace; she speaks and shows red."""
    files = PageFiles(away.outside)
    try:
        async with chromium(away.wrapper(tmp_path, chromium_path()), files.trusting()) as browser:
            caller = await Caller.open(browser, files.url, "alice")
            yield caller
    finally:
        files.close()


async def flows(listener: Robot, *users: str, within: float) -> None:
    """New frames of each of these people, of what they send."""

    def received() -> dict[str, int]:
        return {user: listener.frames[user, "video"] + listener.frames[user, "audio"] for user in users}

    before = received()

    async def more() -> bool:
        return all(count > before[user] + 10 for user, count in received().items())

    await eventually(more, f"bob receives {users}", within, received)


async def still(listener: Robot) -> bool:
    """Whether nothing comes for a second."""
    before = listener.frames.total()
    await asyncio.sleep(1)
    return listener.frames.total() == before


def left(listener: Robot) -> list[str]:
    """Who is gone, as the others were told."""
    return [event.user_id for event in listener.happened if isinstance(event, ParticipantLeft)]


async def test_who_is_without_a_network_for_twenty_seconds_is_not_missed(
    away: Namespace, server: Server, alice: Caller, receiver: Receiver
) -> None:
    talks = Order(
        kind="callers",
        url=server.url,
        members=[Member(user_id="carol", token=ticket(server, "carol", ROOM), at=0.0, turn=0)],
        turns=[1.0],
        turn_s=50.0,
        ends=52.0,
    )
    async with robot(**server.ticket("bob", ROOM)) as bob, robot(**server.ticket("dave", ROOM)) as dave:
        await bob.publish("#204080", 440)
        await alice.join(server, ROOM)
        await alice.publish(color=RED, hz=300, codec="h264")
        with Crowd([talks], tuple(away.command())) as carol:
            carol.begin()
            await alice.sees("bob")
            await flows(bob, "alice", "carol", within=20)
            assert sorted(await alice.call("participants")) == ["bob", "carol", "dave"]
            told = len(receiver.received)
            away.cut()
            await eventually(lambda: still(bob), "nothing comes through")
            await dave.room.leave()
            await asyncio.sleep(SHORT_S - 1)
            away.mend()
            await flows(bob, "alice", "carol", within=RESUMED_WITHIN_S)
            decoded = (await alice.received("bob", "video"))["framesDecoded"]
            await alice.sees("bob", frames=decoded + 30)
            await alice.saw_event("reconnected", within=RESUMED_WITHIN_S)
            assert not await alice.events("disconnected")
            assert sorted(await alice.call("participants")) == ["bob", "carol"], "who left meanwhile is gone"
            assert left(bob) == ["dave"]
            noticed = [(each.type, each.user_id) for each in receiver.received[told:] if each.user_id != "dave"]
            assert noticed == []
            (account,) = await asyncio.to_thread(carol.accounts)
        assert account.faults == ["Reconnecting()", "Reconnected(full=False)"]


@pytest.mark.long
async def test_who_is_without_a_network_for_long_has_left_and_comes_again(
    away: Namespace, server: Server, alice: Caller, receiver: Receiver
) -> None:
    async with robot(**server.ticket("bob", ROOM)) as bob:
        await alice.join(server, ROOM)
        await alice.publish(color=RED, hz=300, codec="h264")
        await flows(bob, "alice", within=20)
        away.cut()
        cut_at = asyncio.get_running_loop().time()
        gone = await receiver.expect(104, lambda each: each.user_id == "alice", within=LONG_S)
        assert gone.info["Reason"] == TIMED_OUT
        assert 80 < asyncio.get_running_loop().time() - cut_at < 95
        await asyncio.sleep(max(0.0, cut_at + LONG_S - asyncio.get_running_loop().time()))
        assert left(bob) == ["alice"]
        away.mend()
        await alice.saw_event("disconnected")
        await alice.join(server, ROOM)
        await alice.publish(color=RED, hz=300, codec="h264")
        await flows(bob, "alice", within=20)
    assert len(receiver.of(103, lambda each: each.user_id == "alice")) == 2
