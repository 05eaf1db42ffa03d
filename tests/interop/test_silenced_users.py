"""SetUserBlocked through the official SDK on a speaking browser: nobody receives what was taken, also after the user
reconnected or published again; the clients see it; IsMute 0 gives everything back."""

import asyncio

import pytest

from tests.conftest import Open
from tests.kit.browser import BLUE, RED, Caller
from tests.kit.cloud import Cloud
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.interop,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

NOTHING, ALL, SOUND, PICTURE = 0, 1, 2, 3


async def arrived(caller: Caller) -> dict[str, int]:
    """Packets of alice's so far."""
    counts = await caller.sources_of("alice", 0)
    return {source: counts.get(source, 0) for source in ("microphone", "camera")}


async def check(caller: Caller, *flowing: str) -> None:
    """These flow and the other does not, once what was under way has come."""
    await asyncio.sleep(0.3)
    before = await arrived(caller)
    await asyncio.sleep(0.6)
    after = await arrived(caller)
    grown = {source for source, count in after.items() if count > before[source]}
    assert grown == set(flowing), f"{before} {after}"


async def flows(caller: Caller, *sources: str) -> None:
    before = await arrived(caller)

    async def grown() -> bool:
        after = await arrived(caller)
        return all(after[source] > before[source] + 5 for source in sources)

    await eventually(grown, f"{sources} of alice at {caller.user_id}", within=15)


@pytest.mark.parametrize("room", [3001, "hall"], ids=["numeric", "string"])
async def test_a_silenced_browser_is_neither_heard_nor_seen_until_it_may_be(
    shared_server: Server, open_caller: Open, room: int | str
) -> None:
    cloud = Cloud(shared_server)
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, room)
    await bob.join(shared_server, room)
    await alice.publish(color=RED, hz=440, width=320, height=180)
    await flows(bob, "microphone", "camera")

    for is_mute, flowing, blocked in (
        (SOUND, ["camera"], "audio"),
        (PICTURE, ["microphone"], "video"),
        (ALL, [], "audio,video"),
    ):
        await asyncio.to_thread(cloud.silence, room, "alice", is_mute)
        await check(bob, *flowing)
        for caller, whose in ((alice, ""), (bob, "alice")):
            described = await caller.feature("describe", whose)
            assert described["attributes"]["trtc.blocked"] == blocked
            muted = {track["source"] for track in described["tracks"] if track["muted"]}
            # her own client is not told to mute: what she does about it is hers
            assert muted == (set() if caller is alice else {"microphone", "camera"} - set(flowing))

    await alice.call("setMuted", "audio", True)
    await alice.call("setMuted", "audio", False)
    await check(bob)
    for scenario in ("signal-reconnect", "full-reconnect"):
        await alice.call("lose", scenario)
        await came_back(alice)
        await check(bob)
    await alice.publish(color=BLUE, hz=700, width=320, height=180)
    await check(bob)

    await asyncio.to_thread(cloud.silence, room, "alice", NOTHING)
    await flows(bob, "microphone", "camera")
    assert "trtc.blocked" not in (await bob.feature("describe", "alice"))["attributes"]


async def came_back(caller: Caller) -> None:
    async def back() -> bool:
        events = {event["event"] for event in await caller.events()}
        return bool(events & {"reconnected", "signalReconnecting"}) and await caller.call("state") == "connected"

    await eventually(back, f"{caller.user_id} is back", within=20)
