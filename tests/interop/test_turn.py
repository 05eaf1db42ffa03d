"""A real coturn and the credentials that clients are given: who reaches nothing else has a call."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtcloud.ice import IceServers
from tests.kit.browser import RED, PageFiles, chromium, chromium_path
from tests.kit.namespaces import Namespace
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.turn import Turn, coturn
from tests.kit.waiting import eventually
from tests.kit.ways import open_on, ways

pytestmark = [pytest.mark.interop]

ROOM = 9301
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def turn() -> Iterator[Turn]:
    with coturn() as started:
        yield started


@pytest.mark.parametrize(
    ("age_ms", "secret", "is_let_in"),
    [
        pytest.param(0, "", True, id="fresh"),
        pytest.param(2 * DAY_MS, "", False, id="old"),
        pytest.param(0, "another", False, id="of-another-secret"),
    ],
)
def test_credentials_are_those_that_coturn_expects(turn: Turn, age_ms: int, secret: str, is_let_in: bool) -> None:
    client = shutil.which("turnutils_uclient")
    assert client, "`turnutils_uclient` was not found: run `make setup`, or install coturn"
    servers = IceServers(turn_urls=(turn.url(),), turn_secret=secret or turn.secret)
    (given,) = servers.given('of "an odd" name: 1', int(time.time() * 1000) - age_ms)
    done = subprocess.run(
        [
            *(client, "-u", given.username, "-w", given.credential, "-p", str(turn.port)),
            *("-y", "-c", "-n", "2", "-m", "1", turn.host),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode == 0) is is_let_in, done.stdout


@pytest.fixture
def away() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.mark.e2e
@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["udp", pytest.param("tcp", marks=pytest.mark.long)])
async def test_who_reaches_only_the_turn_server_has_a_call(away: Namespace, tmp_path: Path, transport: str) -> None:
    files = PageFiles(away.outside)
    media = ("--media-listen", "127.0.0.1:0", "--media-addresses", "127.0.0.1")
    try:
        with coturn(away.outside) as turn:
            credentials = ("--turn-urls", turn.url(transport), "--turn-secret", turn.secret)
            with Server(tmp_path / "data", *media, *credentials, host=away.outside) as server:
                async with (
                    chromium(away.wrapper(tmp_path, chromium_path()), files.trusting()) as browser,
                    robot(**server.ticket("bob", ROOM)) as bob,
                ):
                    alice = await open_on(browser, files.url, "alice", relayed=True)
                    await bob.publish("#204080", 440)
                    await alice.join(server, ROOM)
                    await alice.publish(color=RED, hz=300, codec="h264")
                    await alice.sees("bob")
                    await alice.hears("bob")
                    assert {(way["kind"], way["address"]) for way in await ways(alice)} == {("relay", "127.0.0.1")}

                    async def comes() -> bool:
                        return all(bob.frames["alice", kind] > 30 for kind in ("audio", "video"))

                    await eventually(comes, "bob receives alice", 20, lambda: bob.frames)
                assert server.alive, "the server died"
    finally:
        files.close()
