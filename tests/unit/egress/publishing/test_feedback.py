"""A robot that feeds back, in rooms without a network."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from rtcloud.client.room import PublishError
from rtcloud.client.types import ClientRoom, Disconnected
from rtcloud.egress.publishing import feedback
from rtcloud.egress.publishing.feedback import Feedback, FeedbackForm
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.tasks.protocol import Pass

pytestmark = pytest.mark.anyio


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
    monkeypatch.setattr(feedback, "PAUSES", (0.0,))


def robot(rooms: list[Room], over: list[str]) -> Feedback:
    waiting = iter(rooms)

    async def connect(url: str, token: str) -> ClientRoom:
        return cast(ClientRoom, next(waiting))

    return Feedback(
        Pass(numeric=True, room_id="9", user_id="robot", token="token"),
        connect,
        "ws://unused",
        FeedbackForm(0, 0, video=False, audio=True),
        want_keyframe=lambda: None,
        over=over.append,
    )


async def test_a_robot_that_cannot_publish_comes_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "SETTLE", 0.0)
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
