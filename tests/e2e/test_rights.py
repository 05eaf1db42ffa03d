"""What a participant may do holds in the engine itself: two native clients that obey nobody, without the rooms that
would refuse them already."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from livekit.protocol import models

from rtcloud.client.native import NativePeer, marked_audio, marked_video
from rtcloud.client.peer import ChannelsOpen, DataArrived, KeyframeWanted, OfferMade, PeerConfig
from rtcloud.media import node as media
from rtcloud.media.native import NativeNode

pytestmark = pytest.mark.e2e

WITHIN_S = 10.0
ROOM = "RM_room"
TRACKS = {"mic": "audio", "camera": "video", "screen": "aux"}


class Member:
    """A peer connection and what came on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.peer = NativePeer(PeerConfig(hold_ms=0))
        self.frames: Counter[str] = Counter()
        self.first: dict[str, bool] = {}  # whether the first frame since ``forget`` is a key picture
        self.messages: list[bytes] = []
        self.wanted: set[str] = set()  # key pictures
        self.open = False

    def forget(self) -> None:
        self.frames.clear()
        self.first.clear()


class Meeting:
    """Alice publishes everything, Bob receives it."""

    def __init__(self, node: NativeNode) -> None:
        self.node = node
        self.alice, self.bob = Member("alice"), Member("bob")
        self.started: list[str] = []
        self.refused: Counter[str] = Counter()
        self._changed = asyncio.Event()
        for member in (self.alice, self.bob):
            member.peer.start(lambda member=member: self._take(member))  # type: ignore[misc]

    def send(self, *commands: media.AnyCommand) -> None:
        self.node.send(*commands)

    def rights(self, member: Member, **lacking: bool) -> None:
        self.send(media.SetRights(room=ROOM, participant=member.name, rights=media.Rights(**lacking)))

    def _take(self, member: Member) -> None:
        for event in member.peer.events():
            match event:
                case OfferMade(request=request, sdp=sdp):
                    offer = media.Offer(room=ROOM, participant=member.name, request=request, target="single", sdp=sdp)
                    self.send(offer)
                case KeyframeWanted(cid=cid):
                    member.wanted.add(cid)
                case DataArrived(packet=packet):
                    member.messages.append(models.DataPacket.FromString(packet).user.payload)
                case ChannelsOpen():
                    member.open = True
                case _:
                    pass
        while frames := member.peer.frames():
            for frame in frames:
                member.frames[frame.track] += 1
                member.first.setdefault(frame.track, frame.keyframe)
        self._changed.set()

    async def watch(self) -> None:
        members = {member.name: member for member in (self.alice, self.bob)}
        while True:
            for event in await self.node.events():
                match event:
                    case media.Answered():
                        members[event.participant].peer.accept_answer(event.request, event.sdp, event.mid_to_track)
                    case media.SectionsNeeded():
                        members[event.participant].peer.require_sections(event.audio, event.video)
                        members[event.participant].peer.create_offer(False)
                    case media.TrackStarted():
                        self.started.append(event.track)
                        self.send(media.Subscribe(room=ROOM, participant="bob", track=event.track))
                    case media.DataRefused():
                        self.refused[event.reason] += event.count
                    case _:
                        pass
            self._changed.set()

    async def talk(self) -> None:
        """A frame of each kind thirty times a second; whether anybody may get it is not asked."""
        began, count = time.monotonic(), 0
        while True:
            now_us = time.time_ns() // 1000
            for track in TRACKS:
                cid = f"cid-{track}"
                if track == "mic":
                    self.alice.peer.write_frame(cid, marked_audio(100, unix_us=now_us), now_us)
                    continue
                keyframe = count == 0 or cid in self.alice.wanted
                self.alice.wanted.discard(cid)
                picture = marked_video(2, 800, keyframe=keyframe, unix_us=now_us)
                self.alice.peer.write_frame(cid, picture, now_us)
            count += 1
            await asyncio.sleep(max(0.0, began + count / 30 - time.monotonic()))

    def say(self, member: Member, payload: bytes, topic: str = "trtc.cmd.1") -> None:
        packet = models.DataPacket(user=models.UserPacket(payload=payload, topic=topic))
        assert member.peer.send_data(packet.SerializeToString(), True)

    async def until(self, what: str, done: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}\n{self.bob.frames} {self.started} {self.refused}") from None

    async def flowing(self, *tracks: str, frames: int = 10) -> None:
        """So many more frames of these have come."""
        before = Counter(self.bob.frames)
        await self.until(
            f"frames of {tracks}", lambda: all(self.bob.frames[one] >= before[one] + frames for one in tracks)
        )


@asynccontextmanager
async def meeting(alice: media.Rights | None = None, bob: media.Rights | None = None) -> AsyncIterator[Meeting]:
    node = NativeNode(media.NodeConfig(listen="127.0.0.1:0", advertise=["127.0.0.1"], shards=1))
    held = Meeting(node)
    tasks = [asyncio.create_task(held.watch()), asyncio.create_task(held.talk())]
    try:
        for member, rights in ((held.alice, alice), (held.bob, bob)):
            name = member.name
            rights = rights or media.Rights()
            held.send(media.AddParticipant(room=ROOM, participant=name, identity=name, single=True, rights=rights))
        for track, stream in TRACKS.items():
            kind = "audio" if stream == "audio" else "video"
            codec = "opus" if stream == "audio" else "h264"
            held.send(
                media.PublishTrack(
                    room=ROOM,
                    participant="alice",
                    track=track,
                    cid=f"cid-{track}",
                    kind=kind,  # type: ignore[arg-type]
                    stream=stream,  # type: ignore[arg-type]
                )
            )
            held.alice.peer.add_track(f"cid-{track}", "alice", kind, codec)
        held.alice.peer.create_offer(False)
        held.bob.peer.create_offer(False)
        await held.until("channels", lambda: held.alice.open and held.bob.open)
        yield held
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in (held.alice, held.bob):
            member.peer.close()
        await node.close()


SENDING = {"mic": "send_audio", "camera": "send_video", "screen": "send_screen"}
RECEIVING = {"mic": "receive_audio", "camera": "receive_video", "screen": "receive_screen"}


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("side", ["send", "receive"])
def test_right_taken_in_the_call_stops_its_track_alone_until_it_is_back(track: str, side: str) -> None:
    async def scenario() -> None:
        async with meeting() as held:
            await held.flowing(*TRACKS)
            member, right = (held.alice, SENDING[track]) if side == "send" else (held.bob, RECEIVING[track])
            others = [one for one in TRACKS if one != track]
            held.rights(member, **{right: False})
            await held.flowing(*others, frames=5)  # what was under way has come
            held.bob.forget()
            await held.flowing(*others, frames=20)
            assert held.bob.frames[track] == 0
            held.rights(member)
            await held.flowing(*TRACKS)
            assert track == "mic" or held.bob.first[track], "with a key picture"

    asyncio.run(scenario())


@pytest.mark.parametrize("track", TRACKS)
def test_track_without_the_right_from_the_start_does_not_begin(track: str) -> None:
    async def scenario() -> None:
        async with meeting(alice=media.Rights(**{SENDING[track]: False})) as held:
            others = [one for one in TRACKS if one != track]
            await held.flowing(*others, frames=20)
            assert sorted(held.started) == sorted(others)
            assert held.bob.frames[track] == 0
            held.rights(held.alice)
            await held.flowing(*TRACKS)
            assert sorted(held.started) == sorted(TRACKS)

    asyncio.run(scenario())


@pytest.mark.parametrize("track", TRACKS)
def test_subscriber_without_the_right_from_the_start_gets_nothing_of_it(track: str) -> None:
    async def scenario() -> None:
        async with meeting(bob=media.Rights(**{RECEIVING[track]: False})) as held:
            await held.flowing(*(one for one in TRACKS if one != track), frames=20)
            assert sorted(held.started) == sorted(TRACKS)
            assert held.bob.frames[track] == 0
            held.rights(held.bob)
            await held.flowing(*TRACKS)

    asyncio.run(scenario())


def test_messages_need_their_right() -> None:
    async def scenario() -> None:
        async with meeting(alice=media.Rights(data=False)) as held:
            held.say(held.alice, b"not this")
            await held.until("it is told", lambda: held.refused["no_right"] == 1)
            held.rights(held.alice)
            held.say(held.alice, b"but this")
            await held.until("a message", lambda: held.bob.messages)
            assert held.bob.messages == [b"but this"]
            assert held.node.status().refused["data_no_right"] == 1

    asyncio.run(scenario())


def test_flood_of_commands_is_cut_told_and_counted_and_hurts_nobody_else() -> None:
    async def scenario() -> None:
        async with meeting() as held:
            for _ in range(200):
                held.say(held.alice, b"x" * 100, "trtc.cmd.3")
            held.say(held.alice, b"x", "trtc.cmd.11")
            held.say(held.alice, b"x" * 1001, "trtc.cmd.3")
            held.say(held.alice, b"the end", "chat")
            held.say(held.bob, b"me too", "trtc.cmd.10")
            await held.until("the end", lambda: b"the end" in held.bob.messages and held.alice.messages)
            assert held.alice.messages == [b"me too"]
            passed = held.bob.messages.count(b"x" * 100)
            assert 30 <= passed <= 60, "a second's worth, and what came back meanwhile"
            expected = {"too_many": 200 - passed, "forbidden": 1, "too_large": 1}
            await held.until("it is told", lambda: held.refused == Counter(expected))
            counted = held.node.status().refused
            assert {reason: counted[f"data_{reason}"] for reason in expected} == expected
            await held.flowing(*TRACKS)

    asyncio.run(scenario())
