"""A robot that publishes, in rooms without a network."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from rtcloud.client.room import PublishError
from rtcloud.client.types import ClientRoom, Disconnected
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.robots import broadcasting
from rtcloud.robots.broadcasting import Broadcast, Pictures, Program

pytestmark = pytest.mark.anyio

SOUND, PICTURES = Program(sound=True), Program(Pictures("h264", 640, 360))


class Room:
    """``fails``: nothing can be published; ``ends``: and then it is over for this reason."""

    def __init__(self, *, fails: bool = False, ends: str = "") -> None:
        self._fails = fails
        self._over = asyncio.Event()
        self._ends = ends
        self.written: list[bytes] = []
        self.published = asyncio.Event()
        self.left = False

    async def publish_audio(self, **about: Any) -> "Room":
        if self._fails:
            self._over.set()
            raise PublishError("the server did not answer")
        self.published.set()
        return self

    async def publish_video(self, **about: Any) -> "Room":
        self.published.set()
        return self

    def write(self, data: bytes, at_us: int) -> bool:
        self.written.append(data)
        return True

    async def events(self) -> Sequence[Disconnected]:
        if not self._ends:
            await asyncio.Event().wait()
        await self._over.wait()
        return [Disconnected(self._ends)]

    async def frames(self) -> Sequence[object]:
        await asyncio.Event().wait()
        return []

    async def leave(self) -> None:
        self.left = True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "PAUSES", (0.0,))


def robot(rooms: list[Room], over: list[str], program: Program = SOUND) -> Broadcast:
    waiting = iter(rooms)

    async def connect(url: str, token: str) -> ClientRoom:
        return cast(ClientRoom, next(waiting))

    return Broadcast(
        "token",
        connect,
        "ws://unused",
        program,
        want_keyframe=lambda: None,
        over=over.append,
    )


async def test_a_robot_that_cannot_publish_comes_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "SETTLE", 0.0)
    rooms = [Room(fails=True), Room()]
    over: list[str] = []
    made = robot(rooms, over)
    async with asyncio.timeout(5):
        await rooms[1].published.wait()
        await asyncio.sleep(0)
    made.put([(EncodedPacket("audio", b"sound", 0, True, "opus"), 0)])
    await made.close()
    assert rooms[0].left
    assert rooms[1].left
    assert rooms[1].written == [b"sound"]
    assert over == []


async def test_a_room_that_is_over_while_it_publishes_says_why() -> None:
    over: list[str] = []
    made = robot([Room(fails=True, ends="ROOM_DELETED")], over)
    async with asyncio.timeout(5):
        while not over:
            await asyncio.sleep(0)
    await made.close()
    assert over == ["ROOM_DELETED"]


def pictures(*names: bytes) -> list[tuple[EncodedPacket, int]]:
    """A name in capitals is that of a keyframe."""
    return [(EncodedPacket("video", name, 0, name.isupper(), "h264"), at) for at, name in enumerate(names)]


async def test_the_keyframe_that_came_before_it_could_be_sent_is_shown_until_the_next() -> None:
    room = Room()
    made = robot([room], [], PICTURES)
    made.put(pictures(b"A", b"b", b"C", b"d"))
    async with asyncio.timeout(5):
        while not made.is_publishing:
            await asyncio.sleep(0)
    assert room.written == [b"C"]
    made.put(pictures(b"e", b"F", b"g"))
    await made.close()
    assert room.written == [b"C", b"F", b"g"]


async def test_a_keyframe_of_other_pictures_is_not_shown() -> None:
    room = Room()
    made = robot([room], [], PICTURES)
    made.put(pictures(b"A"))
    made.change(Program(Pictures("h264", 320, 180)))
    async with asyncio.timeout(5):
        while not made.is_publishing:
            await asyncio.sleep(0)
    await made.close()
    assert room.written == []
