"""Two programs in one room through the native client: encoded media, data, capture times, coming late, coming back."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from rtcloud.client import ConnectError, PeerConfig, Room, join, sei
from rtcloud.client.types import (
    DataReceived,
    Disconnected,
    EncodedFrame,
    KeyframeRequested,
    ParticipantLeft,
    Reconnected,
    RoomEvent,
    TrackChanged,
    TrackSubscribed,
)
from tests.kit.robot import AudioMaker, VideoMaker
from tests.kit.server import Server
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.e2e

WITHIN_S = 10.0
VISITS_IN_THREADS_THAT_END = """
import asyncio, json, sys, threading

from rtcloud.client import join

async def visit(who):
    async with join(**who, room_id=9) as room:
        await room.publish_audio()
        came.append(room.user_id)

came = []
visitors = json.loads(sys.argv[1])
for who in visitors:
    thread = threading.Thread(target=lambda: asyncio.run(visit(who)))
    thread.start()
    thread.join()
assert came == [who["user_id"] for who in visitors]
"""


class Program:
    """A room with everything that happened in it, and what it publishes."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.happened: list[RoomEvent] = []
        self.frames: list[tuple[EncodedFrame, int]] = []  # with the Unix time in µs at which it was handed out
        self.captured: dict[str, list[int]] = {"video": [], "audio": []}
        self._changed = asyncio.Event()
        self._wants_keyframe = False
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._receive())]

    async def _watch(self) -> None:
        while events := await self.room.events():
            self.happened += events
            self._wants_keyframe |= any(isinstance(event, KeyframeRequested) for event in events)
            self._changed.set()

    async def _receive(self) -> None:
        while frames := await self.room.frames():
            now_us = time.time_ns() // 1000
            self.frames += [(frame, now_us) for frame in frames]
            self._changed.set()

    async def until(self, what: str, done: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}\n{self.happened}\n{self.room.stats()}") from None

    def of(self, kind: str) -> list[EncodedFrame]:
        """Frames of the others' audio or video that was subscribed last."""
        tracks = [event.track for event in self.happened if isinstance(event, TrackSubscribed)]
        wanted = [track.track_id for track in tracks if track.kind == kind][-1:]
        return [frame for frame, _ in self.frames if frame.track in wanted]

    def has(self, kind: type[RoomEvent]) -> list[RoomEvent]:
        return [event for event in self.happened if isinstance(event, kind)]

    def messages(self) -> list[DataReceived]:
        return [event for event in self.happened if isinstance(event, DataReceived)]

    async def say_hello(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            while True:
                with contextlib.suppress(ConnectionError):
                    return await self.room.send_data(b"hello")
                await asyncio.sleep(0.02)

    def takes_keyframe(self) -> bool:
        """Whether one was asked for since the last time."""
        wanted, self._wants_keyframe = self._wants_keyframe, False
        return wanted

    async def publish(self, codec: str = "h264") -> None:
        video = await self.room.publish_video(width=320, height=180, codec=codec)  # type: ignore[arg-type]
        audio = await self.room.publish_audio()
        pictures, tones = VideoMaker("#2040c0", codec), AudioMaker(440)
        began_us, began = time.time_ns() // 1000, time.monotonic()

        async def send(kind: str, interval_s: float, write: Callable[[int], None]) -> None:
            count = 0
            while True:
                capture_us = began_us + round(count * interval_s * 1e6)
                self.captured[kind].append(capture_us)
                write(capture_us)
                count += 1
                await asyncio.sleep(max(0.0, began + count * interval_s - time.monotonic()))

        def write_video(capture_us: int) -> None:
            video.write(pictures.frame(self.takes_keyframe()), capture_us)

        def write_audio(capture_us: int) -> None:
            if packet := tones.packet():
                audio.write(packet, capture_us)

        self._tasks.append(asyncio.create_task(send("video", 1 / 30, write_video)))
        self._tasks.append(asyncio.create_task(send("audio", 0.02, write_audio)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def program(
    server: Server, user_id: str, room: int | str = 77, config: PeerConfig | None = None
) -> AsyncIterator[Program]:
    named = {"room_id": room} if isinstance(room, int) else {"str_room_id": room}
    entering = join(
        server.url,
        server.sdk_app_id,
        user_id,
        server.user_sig(user_id),
        config=config,
        **named,
    )
    async with entering as joined:
        one = Program(joined)
        try:
            yield one
        finally:
            await one.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data: Path = tmp_path_factory.mktemp("client") / "data"
    with Server(data) as running:
        yield running


def nearest(times: Sequence[int], to: int) -> int:
    return min((abs(one - to) for one in times), default=10**9)


def has_media(one: Program, pictures: int, sounds: int) -> bool:
    return len(one.of("video")) > pictures and len(one.of("audio")) > sounds


async def _media_and_data(server: Server, codec: str) -> None:
    async with program(server, "ann", codec) as ann, program(server, "bob", codec) as bob:
        assert (ann.room.user_id, ann.room.room_name) == ("ann", codec)
        await ann.publish(codec)
        await bob.publish(codec)
        for one, other in ((ann, bob), (bob, ann)):
            await one.until("a second of media", partial(has_media, one, 30, 50))
            video, audio = one.of("video"), one.of("audio")
            assert video[0].keyframe
            assert all(frame.contiguous for frame in (*video, *audio))
            assert all(frame.capture_us is not None for frame in (*video, *audio)), "from the first frame on"
            for kind, frames in (("video", video), ("audio", audio)):
                apart = [nearest(other.captured[kind], frame.capture_us or 0) for frame in frames]
                assert max(apart) < 40_000, f"{kind}: {max(apart)} µs"
            # Frame by frame: the first frame received is some frame that was sent; its distance to the truth.
            steps = [(b.capture_us or 0) - (a.capture_us or 0) for a, b in zip(audio, audio[1:], strict=False)]
            assert all(abs(step - 20_000) < 10_000 for step in steps[10:])

        await ann.room.send_data(b"to all", topic="trtc.cmd.1")
        await bob.room.send_data(b"perhaps", reliable=False)
        await bob.until("reliable data", lambda: bob.has(DataReceived))
        await ann.until("lossy data", lambda: ann.has(DataReceived))
        assert bob.has(DataReceived) == [DataReceived(b"to all", "ann", "trtc.cmd.1", True)]
        assert ann.has(DataReceived) == [DataReceived(b"perhaps", "bob", "", False)]


@pytest.mark.parametrize("codec", ["h264", "vp8"])
def test_media_and_data_go_both_ways_with_capture_times(server: Server, codec: str) -> None:
    asyncio.run(_media_and_data(server, codec))


def test_messages_in_the_video_arrive_in_order_and_whole(server: Server) -> None:
    """Each picture carries its number, one under a UUID as well, and bytes that look like a start code."""
    uuid = bytes(range(16))

    def messages(count: int) -> list[sei.SeiMessage]:
        number = count.to_bytes(4, "big") + b"\x00\x00\x00\x01\x00\x00\x03" * 20
        return [sei.SeiMessage(number), sei.SeiMessage(number * 6, sei.UNREGISTERED, uuid)]

    async def scenario() -> None:
        async with program(server, "ann", "sei") as ann, program(server, "bob", "sei") as bob:
            video = await ann.room.publish_video(width=320, height=180)
            maker = VideoMaker("#40a020")
            began_us, began = time.time_ns() // 1000, time.monotonic()
            count = 0
            while len(bob.of("video")) < 90:
                assert count < 600, "pictures arrive"
                keyframe = count == 0 or ann.takes_keyframe()
                picture = sei.insert(maker.frame(keyframe), messages(count))
                video.write(picture, began_us + count * 33_333)
                count += 1
                await asyncio.sleep(max(0.0, began + count / 30 - time.monotonic()))
            received = [
                [one for one in sei.read(frame.data) if one.payload_type == sei.CUSTOM or one.uuid == uuid]
                for frame in bob.of("video")
            ]
            assert all(frame.contiguous for frame in bob.of("video"))
            first = int.from_bytes(received[0][0].data[:4], "big")
            assert received == [messages(first + index) for index in range(len(received))]

    asyncio.run(scenario())


def test_commands_beyond_their_limits_are_refused_dropped_and_counted(server: Server) -> None:
    async def scenario() -> None:
        async with program(server, "ann", "flood") as ann, program(server, "bob", "flood") as bob:
            # Whoever can be heard can hear: messages go to those whose channels are open.
            for one, other in ((bob, ann), (ann, bob)):
                await one.say_hello()
                await other.until("hello", other.messages)
            for topic in ("trtc.cmd.0", "trtc.cmd.11", "trtc.cmd.", "trtc.cmd.1x"):
                with pytest.raises(ValueError, match="not a custom command"):
                    await ann.room.send_data(b"x", topic=topic)
            with pytest.raises(ValueError, match="at most 1000 bytes"):
                await ann.room.send_data(b"x" * 1001, topic="trtc.cmd.1")
            for _ in range(100):
                await ann.room.send_data(b"x" * 100, topic="trtc.cmd.1")
            await ann.room.send_data(b"the end")
            await bob.until("the end", lambda: any(event.data == b"the end" for event in bob.messages()))
            passed = len([one for one in bob.messages() if one.topic == "trtc.cmd.1"])
            assert 30 <= passed < 100

        def counted() -> bool:
            name = "rtcloud_media_refused_data_too_many_total"
            lines = httpx.get(f"{server.url}/metrics").text.splitlines()
            return f"{name} {100 - passed:.1f}" in lines

        await asyncio.to_thread(wait_until, counted, "the flood in the metrics")

    asyncio.run(scenario())


def test_late_joiner_gets_a_keyframe_at_once(server: Server) -> None:
    async def scenario() -> None:
        async with program(server, "ann") as ann:
            await ann.publish()
            await asyncio.sleep(1)
            ann.happened.clear()
            async with program(server, "late") as late:
                await late.until("video", lambda: len(late.of("video")) > 5)
                assert late.of("video")[0].keyframe
                assert ann.has(KeyframeRequested)

    asyncio.run(scenario())


def test_mute_stops_the_frames_and_unmute_starts_with_a_keyframe(server: Server) -> None:
    async def scenario() -> None:
        async with program(server, "ann") as ann, program(server, "bob") as bob:
            await ann.publish()
            await bob.until("video", lambda: len(bob.of("video")) > 5)
            video = next(one for one in ann.room.session.publications.values() if one.kind == "video")
            ann.room.apply(ann.room.session.mute(video.cid, True))
            await bob.until("the mute", lambda: bob.has(TrackChanged))
            await asyncio.sleep(0.3)
            bob.frames.clear()
            await asyncio.sleep(0.5)
            assert bob.of("video") == []
            ann.room.apply(ann.room.session.mute(video.cid, False))
            await bob.until("video again", lambda: len(bob.of("video")) > 5)
            assert bob.of("video")[0].keyframe

    asyncio.run(scenario())


def test_lost_socket_is_resumed_without_a_gap(server: Server) -> None:
    async def scenario() -> None:
        async with program(server, "ann") as ann, program(server, "bob") as bob:
            await ann.publish()
            await bob.until("video", lambda: len(bob.of("video")) > 5)
            for one in (ann, bob):
                assert one.room._connection is not None
                one.room._connection.cancel()  # as if the network had broken
                one.room._lost(one.room._socket)
                await one.until("resumed", partial(one.has, Reconnected))
                assert one.has(Reconnected) == [Reconnected(full=False)]
            count = len(bob.of("video"))
            await bob.until("video goes on", lambda: len(bob.of("video")) > count + 20)
            assert all(frame.contiguous for frame in bob.of("video"))
            assert not bob.has(ParticipantLeft)

    asyncio.run(scenario())


def test_killed_server_is_joined_anew_when_it_is_back(tmp_path: Path) -> None:
    async def scenario(own: Server) -> None:
        async with program(own, "ann") as ann, program(own, "bob") as bob:
            await ann.publish()
            await bob.until("video", lambda: len(bob.of("video")) > 5)
            await asyncio.to_thread(own.restart_killed)
            for one in (ann, bob):
                await one.until("joined anew", partial(one.happened.__contains__, Reconnected(full=True)))
            bob.frames.clear()
            await bob.until("video again", lambda: len(bob.of("video")) > 5)
            assert bob.of("video")[0].keyframe

    with Server(tmp_path / "data") as own:
        asyncio.run(scenario(own))


def test_wrong_signature_is_refused_with_the_documented_code(server: Server) -> None:
    async def scenario() -> None:
        with pytest.raises(ConnectError) as caught:
            await join(server.url, server.sdk_app_id, "ann", server.user_sig("eve"), room_id=1)
        assert caught.value.status == 401
        assert caught.value.code < -1 or caught.value.code > 0

    asyncio.run(scenario())


def test_second_presence_of_a_user_ends_the_first(server: Server) -> None:
    async def scenario() -> None:
        async with program(server, "ann", 5) as first, program(server, "ann", 5):
            await first.until("the end", lambda: first.has(Disconnected))
            assert first.happened[-1] == Disconnected("DUPLICATE_IDENTITY")
            assert await first.room.events() == []
            assert await first.room.frames() == []

    asyncio.run(scenario())


def test_loops_may_run_in_threads_that_end_the_first_as_well(server: Server) -> None:
    """The first one loads the native module, so this needs a process of its own."""
    common = {"base_url": server.url, "sdk_app_id": server.sdk_app_id}
    visitors = [common | {"user_id": name, "user_sig": server.user_sig(name)} for name in ("ann", "bob", "eve", "dan")]
    command = [sys.executable, "-c", VISITS_IN_THREADS_THAT_END, json.dumps(visitors)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
