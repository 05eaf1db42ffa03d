"""How media finds its way: over TCP where UDP is blocked, over IPv6, after an ICE restart and from another network.

Unmodified livekit-client in real Chromium, in both modes of the protocol.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser

from tests.kit.browser import BLUE, RED, Caller, PageFiles, chromium, chromium_path
from tests.kit.namespaces import Namespace
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.waiting import eventually
from tests.kit.ways import open_on, ways

pytestmark = [pytest.mark.e2e, pytest.mark.interop, pytest.mark.anyio]

_V1, _V0 = pytest.param(True, id="rtc/v1"), pytest.param(False, id="rtc")
MODES = pytest.mark.parametrize("single", [_V1, pytest.param(False, id="rtc", marks=pytest.mark.long)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Media by both families."""
    data = tmp_path_factory.mktemp("reach") / "data"
    with Server(data, "--media-listen", "[::]:0", "--media-addresses", "127.0.0.1,::1") as started:
        yield started
        assert started.alive, "the server died"


@asynccontextmanager
async def two(browser: Browser, files: PageFiles, only: str = "") -> AsyncIterator[tuple[Caller, Caller]]:
    alice, bob = [await open_on(browser, files.url, name, only) for name in ("alice", "bob")]
    try:
        yield alice, bob
    finally:
        await alice.close()
        await bob.close()


async def talk(alice: Caller, bob: Caller, server: Server, room: int, *, single: bool) -> None:
    """Each sees and hears the other."""
    await asyncio.gather(alice.join(server, room, single=single), bob.join(server, room, single=single))
    await alice.publish(color=RED, hz=440, codec="h264")
    await bob.publish(color=BLUE, hz=700, codec="h264")
    await asyncio.gather(alice.sees("bob"), bob.sees("alice"), alice.hears("bob"), bob.hears("alice"))


@MODES
async def test_media_flows_over_tcp_where_udp_is_blocked(
    browser: Browser, server: Server, page_files: PageFiles, single: bool
) -> None:
    async with two(browser, page_files, " tcp ") as (alice, bob):
        await talk(alice, bob, server, 9201 + single, single=single)
        for caller in (alice, bob):
            assert {way["protocol"] for way in await ways(caller)} == {"tcp"}
        metrics = await asyncio.to_thread(httpx.get, f"{server.url}/metrics")
        assert "rtcloud_media_connections 0.0" not in metrics.text


@pytest.mark.parametrize("single", [_V0, pytest.param(True, id="rtc/v1", marks=pytest.mark.long)])
async def test_media_flows_over_ipv6(browser: Browser, server: Server, page_files: PageFiles, single: bool) -> None:
    async with two(browser, page_files, " udp .* ::1 ") as (alice, bob):
        await talk(alice, bob, server, 9203 + single, single=single)
        for caller in (alice, bob):
            assert {(way["protocol"], way["address"]) for way in await ways(caller)} == {("udp", "::1")}


@MODES
async def test_media_flows_on_after_an_ice_restart(
    browser: Browser, server: Server, page_files: PageFiles, single: bool
) -> None:
    async with two(browser, page_files) as (alice, bob):
        await talk(alice, bob, server, 9205 + single, single=single)
        before = {way["ufrag"] for way in await ways(alice)}
        await alice.call("lose", "signal-reconnect")
        await alice.saw_event("reconnected", within=20)

        async def restarted() -> bool:
            return not before & {way["ufrag"] for way in await ways(alice)}

        await eventually(restarted, "alice has other ICE credentials", 20)
        for caller, other in ((alice, "bob"), (bob, "alice")):
            decoded = (await caller.received(other, "video"))["framesDecoded"]
            await caller.sees(other, frames=decoded + 30)
            assert not await caller.events("disconnected")
            assert not await caller.events("participantDisconnected")


@pytest.fixture
def away() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
async def roamer(away: Namespace, tmp_path: Path) -> AsyncIterator[tuple[Server, Caller]]:
    """Somebody with a browser in another network than the server."""
    files = PageFiles(away.outside)
    try:
        with Server(tmp_path / "data", host=away.outside) as server:
            async with chromium(away.wrapper(tmp_path, chromium_path()), files.trusting()) as browser:
                yield server, await open_on(browser, files.url, "alice")
            assert server.alive, "the server died"
    finally:
        files.close()


@pytest.mark.long
@pytest.mark.parametrize("single", [_V1, _V0])
async def test_who_changes_the_network_stays_in_the_room(
    away: Namespace, roamer: tuple[Server, Caller], single: bool
) -> None:
    server, alice = roamer
    async with robot(**server.ticket("bob", 9207)) as bob:
        await bob.publish("#204080", 440)
        await alice.join(server, 9207, single=single)
        await alice.publish(color=RED, hz=300, codec="h264")
        await alice.sees("bob")
        await eventually(lambda: _sees(bob.frames["alice", "video"]), "bob sees alice", 20)
        away.move()
        count = bob.frames["alice", "video"]
        decoded = (await alice.received("bob", "video"))["framesDecoded"]
        await alice.sees("bob", frames=decoded + 60, within=40)
        before = bob.frames["alice", "video"]
        assert before >= count
        await eventually(lambda: _sees(bob.frames["alice", "video"] - before), "bob sees alice again", 40)
        assert {way["from"] for way in await ways(alice)} <= {away.inside, ""}
        assert not await alice.events("disconnected")


async def _sees(frames: int) -> bool:
    return frames > 30
