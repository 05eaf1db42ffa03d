"""What a room goes through becomes events and samples: the real room service, a fake media node, one observer."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from rtcloud.media import node as media
from rtcloud.media.fake import FakeNode
from rtcloud.rooms import facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Role, Track
from rtcloud.rooms.service import RoomService
from rtcloud.stats import reading
from rtcloud.stats.events import EventId
from rtcloud.stats.observing import Observer
from rtcloud.stats.recorder import Recorder
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from tests.kit.clock import StillClock

pytestmark = pytest.mark.anyio

REF = RoomRef(1400000000, True, "77")


@dataclass
class Scene:
    rooms: RoomService
    node: FakeNode
    database: SqliteDatabase
    recorder: Recorder
    clock: StillClock
    sid: str = ""

    async def enter(self, session: str, user_id: str, role: Role = Role.ANCHOR, address: str = "192.0.2.1") -> None:
        fact = facts.Entered(session, user_id, role, Device(client_address=address), True)
        self.sid = await self.rooms.enter(REF, "live", fact, lambda _: None)

    async def happens(self, session: str, fact: facts.Fact) -> None:
        self.clock.ms += 1000
        assert self.rooms.post(session, fact)
        await self._handled()

    async def told(self, event: media.AnyEvent) -> None:
        self.clock.ms += 1000
        self.node.say(event)
        while self.node.unread:
            await asyncio.sleep(0)
        await self._handled()

    async def _handled(self) -> None:
        """A room answers in the order in which it is asked."""
        await self.rooms.set_metadata(REF, "")

    async def events(self, user_id: str) -> list[tuple[int, int]]:
        await self.recorder.write(everything=True)
        found = await self.database.read(lambda c: reading.events_of(c, self.sid, user_id, 0, 2**50))
        return [(one.event_id, one.param1) for one in found]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    database, node, clock, numbers = open_database(None), FakeNode(), StillClock(), itertools.count()
    recorder = Recorder(database, clock)
    rooms = RoomService(
        database,
        node,
        LocalBus(),
        clock,
        lambda prefix: f"{prefix}_{next(numbers)}",
        observer=Observer(recorder),
    )
    await rooms.start()
    yield Scene(rooms, node, database, recorder, clock)
    await rooms.close()
    await database.close()


def camera() -> Track:
    return Track("TR_1", "c1", "video", "camera", width=1280, height=720)


async def test_a_life_in_a_room_is_remembered(scene: Scene) -> None:
    await scene.enter("PA_b", "bob")
    await scene.enter("PA_a", "alice")
    await scene.told(media.TransportChanged(room=scene.sid, participant="PA_a", target="single", state="connected"))
    await scene.happens("PA_a", facts.TrackAdded("PA_a", camera()))
    await scene.told(media.TrackStarted(room=scene.sid, participant="PA_a", track="TR_1", codec="h264"))
    await scene.happens("PA_a", facts.TrackMuted("PA_a", "TR_1", True))
    await scene.happens("PA_a", facts.TrackMuted("PA_a", "TR_1", True))  # nothing new
    await scene.happens("PA_a", facts.TrackMuted("PA_a", "TR_1", False))
    await scene.happens("PA_a", facts.RoleChosen("PA_a", Role.AUDIENCE))
    await scene.happens("PA_a", facts.LeftRoom("PA_a"))
    assert await scene.events("alice") == [
        (EventId.ENTERED, 0),
        (EventId.MEDIA_UP, -1),
        (EventId.FIRST_VIDEO_SENT, -1),
        (EventId.RESOLUTION, 1280),
        (EventId.VIDEO_ON, -1),
        (EventId.VIDEO_MUTED, -1),
        (EventId.VIDEO_UNMUTED, -1),
        (EventId.ROLE_CHANGED, 21),
        (EventId.VIDEO_OFF, -1),
        (EventId.LEFT, 0),
    ]


async def test_a_network_change_is_remembered(scene: Scene) -> None:
    await scene.enter("PA_a", "alice")
    await scene.enter("PA_b", "bob")
    await scene.told(media.TransportChanged(room=scene.sid, participant="PA_a", target="single", state="disconnected"))
    await scene.happens("PA_a", facts.SocketLost("PA_a"))
    await scene.happens("PA_a", facts.Resumed("PA_a"))
    scene.clock.ms += 1000
    await scene.enter("PA_a2", "alice", address="198.51.100.4")
    assert await scene.events("alice") == [
        (EventId.ENTERED, 0),
        (EventId.MEDIA_DOWN, -1),
        (EventId.SIGNAL_DOWN, -1),
        (EventId.SIGNAL_UP, -1),
        (EventId.ENTERED, 1),
        (EventId.ADDRESS_CHANGED, -1),
    ]
    found = await scene.database.read(lambda c: reading.events_of(c, scene.sid, "alice", 0, 2**50))
    assert found[-1].detail == "198.51.100.4"


async def test_what_others_do_to_a_user_is_remembered(scene: Scene) -> None:
    await scene.enter("PA_a", "alice")
    await scene.rooms.block_user(REF, "alice", frozenset({"audio"}))
    await scene.rooms.block_user(REF, "alice", frozenset())
    await scene.told(media.DataRefused(room=scene.sid, participant="PA_a", reason="too_many", count=9))
    assert await scene.events("alice") == [
        (EventId.ENTERED, 0),
        (EventId.BLOCKED, 2),
        (EventId.BLOCKED, 0),
        (EventId.DATA_REFUSED, 9),
    ]


async def test_samples_say_how_the_connection_was_and_how_large_the_picture(scene: Scene) -> None:
    await scene.enter("PA_a", "alice")
    await scene.happens("PA_a", facts.TrackAdded("PA_a", camera()))
    await scene.told(media.TrackStarted(room=scene.sid, participant="PA_a", track="TR_1", codec="h264"))
    quality = media.Quality(
        room=scene.sid,
        participant="PA_a",
        uplink_loss=0.25,
        downlink_loss=0.0,
        rtt_ms=-1,
        uplink_bitrate=1_000_000,
        downlink_bitrate=0,
    )
    await scene.told(quality)
    await scene.happens("PA_a", facts.TrackMuted("PA_a", "TR_1", True))
    await scene.told(quality)
    await scene.recorder.write(everything=True)
    now = scene.clock.ms
    found = await scene.database.read(lambda c: reading.samples_of(c, ["PA_a"], now - 60_000, now))
    sending, muted = found["PA_a", ""]
    assert (sending.uplink_loss, sending.rtt_ms, sending.downlink_bitrate) == (0.25, None, 0)
    assert sending.uplink_bitrate == pytest.approx(1_000_000, rel=0.01)
    assert (sending.video_width, sending.video_height, sending.aux_width) == (1280, 720, None)
    assert muted.video_width is None


async def test_news_of_strangers_and_of_rooms_that_are_gone_are_no_harm(scene: Scene) -> None:
    await scene.enter("PA_a", "alice")
    for session in ("PA_gone", "PA_a"):
        await scene.told(media.TransportChanged(room=scene.sid, participant=session, target="single", state="failed"))
    await scene.told(media.TransportChanged(room="RM_gone", participant="PA_a", target="single", state="failed"))
    assert await scene.events("alice") == [(EventId.ENTERED, 0), (EventId.MEDIA_DOWN, -1)]
