"""Chromium behind a bad network: what it sees follows what the network carries, and what it hears does not break."""

from typing import Any

import pytest

from tests.conftest import Open
from tests.kit.browser import Caller
from tests.kit.impaired import Conditions, impaired_path
from tests.kit.server import Server
from tests.kit.waiting import eventually

#: What passes a proxy of this process is late when the machine is busy, which the server takes for a full network.
pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.alone, pytest.mark.long]

OPEN = Conditions(delay_s=0.01)
SQUEEZED = Conditions(delay_s=0.01, rate=300_000)
SMALL, BIG = 320, 1280


async def width_is(caller: Caller, user_id: str, wanted: int, within: float) -> None:
    seen: dict[str, Any] = {}

    async def reached() -> bool:
        seen.update(await caller.received(user_id, "video"))
        return seen.get("frameWidth") == wanted

    what = f"{caller.user_id} gets {user_id}'s picture {wanted} wide"
    await eventually(reached, what, within, lambda: {key: seen.get(key) for key in ("frameWidth", "packetsLost")})


async def broken_share(caller: Caller, user_id: str, packets: int) -> float:
    """Of the sound of the next so many packets, the part that was made up by the listener."""

    async def heard() -> dict[str, Any]:
        return await caller.received(user_id, "audio")

    async def more() -> dict[str, Any]:
        stats = await heard()
        return stats if stats["packetsReceived"] >= before["packetsReceived"] + packets else {}

    def made_up(stats: dict[str, Any]) -> int:
        return int(stats["concealedSamples"]) - int(stats["silentConcealedSamples"])

    before = await heard()
    after = await eventually(more, f"{packets} packets of sound", packets / 50 * 3)
    return (made_up(after) - made_up(before)) / (after["totalSamplesReceived"] - before["totalSamplesReceived"])


async def test_pictures_shrink_and_grow_with_the_network_and_sound_goes_on(
    shared_server: Server, open_caller: Open
) -> None:
    async with impaired_path(shared_server.media_port, 1) as hers, impaired_path(shared_server.media_port, 2) as his:
        alice, bob = await open_caller("alice"), await open_caller("bob")
        for path, caller in ((hers, alice), (his, bob)):
            path.up.conditions = path.down.conditions = OPEN
            await path.redirect(caller.page)
            await caller.join(shared_server, 1100)
        await alice.publish(codec="vp8", simulcast=True, width=1280, height=720, fps=15, noise=True)
        await width_is(bob, "alice", BIG, 20)
        assert min(hers.up.passed, his.down.passed) > 50, "media takes the proxies"

        his.down.conditions = SQUEEZED
        await width_is(bob, "alice", SMALL, 10)
        assert await broken_share(bob, "alice", 200) < 0.05
        frames = (await bob.received("alice", "video"))["framesDecoded"]

        his.down.conditions = OPEN
        await width_is(bob, "alice", BIG, 20)
        assert (await bob.received("alice", "video"))["framesDecoded"] > frames

        hers.up.conditions = Conditions(delay_s=0.01, rate=100_000)
        await bob.saw_event("connectionQualityChanged", within=15, userId="alice", quality="poor")
