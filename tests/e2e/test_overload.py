"""A server that has as much to do as it may: those who are in go on, others are refused clearly until it has less."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.robot import Robot, robot
from tests.kit.server import Server
from tests.kit.waiting import eventually
from tests.kit.whip import address, offer

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

ROOM = "crowded"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two people who talk are too much for it."""
    with Server(tmp_path_factory.mktemp("overload") / "data", "--media-cpu-limit", "0.001") as started:
        yield started
        assert started.alive, "the server died"


def is_ready(server: Server) -> bool:
    return bool(httpx.get(f"{server.url}/readyz").json()["media"])


async def hears(listener: Robot, user_id: str) -> None:
    before = listener.frames[user_id, "audio"]

    async def more() -> bool:
        return listener.frames[user_id, "audio"] > before + 20

    await eventually(more, f"frames of {user_id} come", 20)


def are_refused(server: Server, token: str) -> None:
    """Whoever comes now, by whatever protocol."""
    assert httpx.get(f"{server.url}/readyz").status_code == 503
    assert "rtcloud_media_shards_over 1.0" in httpx.get(f"{server.url}/metrics").text
    joined = server.join("dave", ROOM)
    assert joined.json()["error"]["code"] == -100002
    asked = [
        httpx.get(f"{server.url}{path}", params={"access_token": token})
        for path in ("/rtc/v1/validate", "/rtc/validate")
    ]
    assert all(answer.text.startswith("-100002: ") for answer in asked)
    bearer = {"Content-Type": "application/sdp", "Authorization": f"Bearer {server.user_sig('erin')}"}
    sessions = [
        httpx.post(address(server, way, ROOM, "erin"), content=offer(), headers=bearer) for way in ("pub", "sub")
    ]
    assert all(answer.json()["code"] == -100002 for answer in sessions)
    for answer in (joined, *asked, *sessions):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0


async def test_others_are_refused_while_it_has_too_much_to_do(server: Server) -> None:
    async with robot(**server.ticket("alice", ROOM)) as alice, robot(**server.ticket("bob", ROOM)) as bob:
        ticket = server.ticket("carol", ROOM)  # while there was room
        await alice.publish("#204080", 440)
        await bob.publish("#802040", 700)

        async def is_over() -> bool:
            return not is_ready(server)

        await eventually(is_over, "the limit is passed", 30)
        are_refused(server, ticket["token"])
        assert server.join("alice", ROOM).status_code == 200, "who is in may come in another session"
        await hears(alice, "bob")
        await hears(bob, "alice")
    begun = time.monotonic()

    async def is_under() -> bool:
        return is_ready(server)

    await eventually(is_under, "there is room again", 20)
    assert time.monotonic() - begun < 15
    assert server.join("dave", ROOM).status_code == 200


def test_a_limit_of_bandwidth_that_is_not_reached_lets_everybody_in(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--media-bandwidth-limit", "1") as server:
        assert is_ready(server)
        assert "rtcloud_media_sent_bitrate 0.0" in httpx.get(f"{server.url}/metrics").text
        assert server.join("alice", ROOM).status_code == 200
