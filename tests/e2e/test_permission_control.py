"""Permission control on a running server: who enters with which PrivateMapKey, and what reaches them."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from rtcloud.client import Room, join
from rtcloud.client.room import LocalPublication
from rtcloud.client.types import DataReceived, TrackSubscribed
from tests.kit.robot import AudioMaker, VideoMaker
from tests.kit.server import Server

pytestmark = pytest.mark.e2e

ROOM = 77
ENTER, RECEIVE_AUDIO = 2, 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data") as running:
        running.admin("applications", "set", str(running.sdk_app_id), "--permission-control", "on")
        yield running


def refusal(server: Server, user_id: str, key: str | None) -> tuple[int, int]:
    response = server.join(user_id, ROOM, privateMapKey=key)
    return response.status_code, response.json()["error"]["code"]


def entering(server: Server, user_id: str, bits: int) -> AbstractAsyncContextManager[Room]:
    key = server.private_map_key(user_id, ROOM, bits)
    return join(server.url, server.sdk_app_id, user_id, server.user_sig(user_id), room_id=ROOM, private_map_key=key)


async def subscribed(room: Room, wanted: int) -> list[str]:
    """The kinds of the first tracks that were subscribed."""
    kinds: list[str] = []
    async with asyncio.timeout(15):
        while len(kinds) < wanted:
            kinds += [event.track.kind for event in await room.events() if isinstance(event, TrackSubscribed)]
    return kinds


def test_a_key_decides_who_enters_and_what_reaches_them(server: Server) -> None:
    assert refusal(server, "alice", None) == (403, -100006)
    assert refusal(server, "alice", server.private_map_key("alice", 78, 255)) == (403, -100006)
    assert refusal(server, "bob", server.private_map_key("alice", ROOM, 255)) == (403, -100006)
    assert refusal(server, "bob", server.private_map_key("bob", ROOM, 254)) == (403, -102010)
    asyncio.run(_talk(server))
    server.admin("applications", "set", str(server.sdk_app_id), "--permission-control", "off")
    assert server.join("alice", ROOM).status_code == 200


async def _talk(server: Server) -> None:
    """Bob, who may only hear, gets the voice of Alice alone; Carol, who may all but create, gets her picture too."""
    async with (
        entering(server, "alice", 255) as alice,
        entering(server, "bob", ENTER | RECEIVE_AUDIO) as bob,
        entering(server, "carol", 254) as carol,
    ):
        picture = await alice.publish_video(width=320, height=180)
        voice = await alice.publish_audio()
        sending = asyncio.create_task(_send(picture, voice))
        try:
            assert sorted(await subscribed(carol, 2)) == ["audio", "video"]
            assert await subscribed(bob, 1) == ["audio"]
            (video,) = (track for track in bob.participants["alice"].tracks if track.kind == "video")
            await bob.subscribe(video.track_id)  # asking for it does not help
            await carol.send_data(b"after that")
            async with asyncio.timeout(15):
                heard = [await bob.events()]
                while not any(isinstance(event, DataReceived) for event in heard[-1]):
                    heard.append(await bob.events())
            assert not any(isinstance(event, TrackSubscribed) for events in heard for event in events)
        finally:
            sending.cancel()


async def _send(picture: LocalPublication, voice: LocalPublication) -> None:
    pictures, tones = VideoMaker("#2040c0"), AudioMaker(440)
    while True:
        capture_us = time.time_ns() // 1000
        picture.write(pictures.frame(keyframe=True), capture_us)
        if packet := tones.packet():
            voice.write(packet, capture_us)
        await asyncio.sleep(0.02)
