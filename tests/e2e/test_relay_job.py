"""The whole relay job against rooms without a network, pushing to a real RTMP server."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from rtcloud.client import ConnectError
from rtcloud.client.types import KeyframeRequested, RoomEvent
from rtcloud.egress.passing import nal_units
from rtcloud.egress.publishing import job
from rtcloud.egress.publishing.statuses import Fault
from rtcloud.tasks.journal import read_journal
from rtcloud.tasks.protocol import (
    FIGURES,
    PREVIEW,
    PREVIEW_REQUEST,
    Ended,
    Figures,
    FileClosed,
    Left,
    Noted,
    Order,
    OutputChanged,
    Pass,
    Started,
    Stop,
    Update,
)
from tests.e2e.fake_room import BEEP_HZ, BLUE, GREEN, RED, FakeClientRoom, Person
from tests.kit.cdn import Listener
from tests.kit.frames import Frame
from tests.kit.job_in_process import JobInProcess

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

WIDTH, HEIGHT, FPS = 320, 180, 15
ENCODE = {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 500, "Gop": 2}
MAIN = "ws://server main"


def request(*urls: str, **members: Any) -> dict[str, Any]:
    return {
        "SdkAppId": 1400000001,
        "RoomId": "3560",
        "AgentParams": {"UserId": "mixer", "MaxIdleTime": 5},
        "AudioParams": {"AudioEncode": {"SampleRate": 48000, "Channel": 2, "BitRate": 64}},
        "VideoParams": {"VideoEncode": ENCODE, "LayoutParams": {"MixLayoutMode": 3}},
        "PublishCdnParams": [{"PublishCdnUrl": url} for url in urls],
    } | members


def single(user_id: str, *urls: str) -> dict[str, Any]:
    stream = {"UserInfo": {"UserId": user_id, "RoomId": "3560"}}
    return request(
        *urls,
        WithTranscoding=0,
        VideoParams={"VideoEncode": ENCODE},
        SingleSubscribeParams={"UserMediaStream": stream},
    )


def order(spool: Path, params: dict[str, Any], *, attempt: int = 0, passes: tuple[Pass, ...] = ()) -> Order:
    return Order(
        task_id="task",
        kind="relay",
        attempt=attempt,
        sdk_app_id=1400000001,
        numeric=True,
        room_id="3560",
        user_id="mixer",
        signal_url="ws://unused",
        token="main",
        spool=str(spool / str(attempt)),
        params=msgspec.Raw(msgspec.json.encode(params)),
        passes=passes,
        allow_private=True,
    )


@dataclass
class Job(JobInProcess):
    """A relay. ``rooms`` by token."""

    rooms: dict[str, Any]

    def update(self, params: dict[str, Any], revision: int, passes: tuple[Pass, ...] = ()) -> None:
        self.tell(Update(params=msgspec.Raw(msgspec.json.encode(params)), revision=revision, passes=passes))

    async def _connect(self, url: str, token: str) -> Any:
        room = self.rooms[token]
        return room() if callable(room) else room

    async def run(self) -> int:
        return await self.run_as(lambda shell: job.run(shell, self._connect))

    async def until(self, wanted: Any, within: float = 20.0) -> None:
        """Until the journal says so."""
        deadline = asyncio.get_running_loop().time() + within
        while not wanted(read_journal(self.directory)):
            assert asyncio.get_running_loop().time() < deadline, read_journal(self.directory)
            await asyncio.sleep(0.02)

    def statuses(self, url: str) -> list[int]:
        return [event.status for event in self.events if isinstance(event, OutputChanged) and event.url == url]


def is_running(url: str) -> Any:
    return lambda events: any(
        isinstance(event, OutputChanged) and (event.url, event.status) == (url, 2) for event in events
    )


@dataclass
class Aired:
    """What a server received, decoded from end to end; times in seconds."""

    pictures: list[tuple[float, Any]] = field(default_factory=list)
    sound: Any = None
    sound_times: list[float] = field(default_factory=list)
    codecs: set[str] = field(default_factory=set)
    errors: int = 0

    @classmethod
    def read(cls, path: Path) -> "Aired":
        aired = cls()
        blocks = []
        with av.open(str(path)) as container:
            aired.codecs = {stream.codec_context.name for stream in container.streams}
            for packet in container.demux():
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    aired.errors += 1
                    continue
                for frame in frames:
                    if isinstance(frame, av.VideoFrame):
                        aired.pictures.append((frame.time, frame.to_ndarray(format="yuv420p")))
                    elif isinstance(frame, av.AudioFrame):  # metadata in the middle comes as subtitles
                        aired.sound_times.append(frame.time or 0.0)
                        blocks.append(frame.to_ndarray().mean(axis=0))
        aired.sound = np.concatenate(blocks) if blocks else np.zeros(0)
        return aired

    def luma(self, index: int, x: float, y: float) -> int:
        picture = self.pictures[index][1]
        height = picture.shape[0] * 2 // 3
        return int(picture[int(y * height), int(x * picture.shape[1])])

    def level(self, hz: float, start: float, end: float) -> float:
        """Amplitude of a tone in a stretch of the sound."""
        piece = self.sound[int(start * 48_000) : int(end * 48_000)]
        times = np.arange(len(piece)) / 48_000
        return float(abs(np.mean(piece * np.exp(-2j * np.pi * hz * times))) * 2)

    def gaps(self) -> tuple[float, float]:
        """The longest between two pictures, and between two pieces of sound."""
        shown = [time for time, _ in self.pictures]
        return (
            max(np.diff(shown), default=0.0),
            max(np.diff(self.sound_times), default=0.0),
        )


def near(luma: int, colour: tuple[int, int, int]) -> bool:
    return abs(luma - colour[0]) < 14


def coded_slice(access_unit: bytes) -> bytes:
    """The picture itself: parameter sets are kept elsewhere in containers."""
    return max(nal_units(access_unit), key=len)


def coded_slices(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        found = []
        for packet in container.demux(video=0):
            data = bytes(packet)
            units = []
            while len(data) > 4:
                size = int.from_bytes(data[:4], "big")
                units.append(data[4 : 4 + size])
                data = data[4 + size :]
            if units:
                found.append(max(units, key=len))
        return found


def packet_times(path: Path) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            # FFmpeg takes metadata in the middle of a stream for subtitles
            if packet.dts is not None and packet.stream.type in times:
                times[packet.stream.type].append(float(packet.dts * packet.time_base))
    return times


def is_keyframe(access_unit: bytes) -> bool:
    return any(unit[0] & 31 == 5 for unit in nal_units(access_unit))


def starts(times: list[float]) -> list[float]:
    """Of runs with nothing for a while before."""
    return [time for index, time in enumerate(times) if index == 0 or time - times[index - 1] > 0.5]


def beeps(aired: Aired) -> list[float]:
    steps = np.arange(0, len(aired.sound) / 48_000 - 0.01, 0.005)
    return starts([at + aired.sound_times[0] for at in steps if aired.level(BEEP_HZ, at, at + 0.01) > 0.1])


@dataclass(slots=True)
class NotingRoom(FakeClientRoom):
    """Keeps what ann's camera sent."""

    sent: list[bytes] = field(default_factory=list)

    def _send(self, frame: Frame, delay: float) -> None:
        if frame.track == "TR_ann_v":
            self.sent.append(frame.data)
        FakeClientRoom._send(self, frame, delay)


@dataclass
class Written:
    """A publication of the fake room."""

    room: "StageRoom"
    kind: str
    track_id: str = "TR_own"
    cid: str = "cid"

    def write(self, data: bytes, capture_us: int) -> bool:
        self.room.written[self.kind].append((data, capture_us))
        self.room.seen[self.kind].append(time.time_ns() // 1000)
        return True


@dataclass(slots=True)
class StageRoom(FakeClientRoom):
    """Takes what is published."""

    written: dict[str, list[tuple[bytes, int]]] = field(default_factory=lambda: {"audio": [], "video": []})
    seen: dict[str, list[int]] = field(default_factory=lambda: {"audio": [], "video": []})
    asks: bool = False

    async def publish_audio(self, **about: Any) -> Written:
        return Written(self, "audio")

    async def publish_video(self, *, width: int, height: int, **about: Any) -> Written:
        assert (width, height) == (WIDTH, HEIGHT)
        return Written(self, "video")

    def _look(self) -> list[RoomEvent]:
        asked, self.asks = self.asks, False
        return [KeyframeRequested("cid")] if asked else FakeClientRoom._look(self)


async def test_a_grid_of_a_room_arrives_at_the_server_with_everyones_sound(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440), Person("bob", GREEN, 1000)], user_id="mixer")
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url)), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        await room.until(6.0)
        relay.tell(Stop(leave_code=0))
        assert await running == 0
        aired = Aired.read(await asyncio.to_thread(cdn.wait))
    assert aired.codecs == {"h264", "aac"}
    assert aired.errors == 0
    assert near(aired.luma(-1, 0.25, 0.5), RED)
    assert near(aired.luma(-1, 0.75, 0.5), GREEN)
    length = len(aired.sound) / 48_000
    assert aired.level(440, length - 2, length - 0.5) == pytest.approx(0.2, rel=0.15)
    assert aired.level(1000, length - 2, length - 0.5) == pytest.approx(0.2, rel=0.15)
    assert relay.statuses(cdn.url) == [1, 2, 5, 0]
    assert isinstance(relay.events[0], Started | OutputChanged)
    assert [type(event) for event in relay.events[-2:]] == [Left, Ended]
    assert room.left


async def test_a_single_stream_goes_through_untouched_with_its_sound_in_step(tmp_path: Path) -> None:
    flash = (4.0, 5.0)
    room = NotingRoom([Person("ann", RED, 440, joins=1.0, flashes=flash), Person("bob", GREEN, 1000)])
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, single("ann", cdn.url)), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await room.until(0.8)
        assert not any(isinstance(event, OutputChanged) for event in read_journal(relay.directory))
        await relay.until(is_running(cdn.url))
        await room.until(7.0)
        relay.tell(Stop())
        assert await running == 0
        path = await asyncio.to_thread(cdn.wait)
    aired = Aired.read(path)
    assert aired.errors == 0
    assert near(aired.luma(-1, 0.5, 0.5), RED)
    assert aired.pictures[0][1].shape == (90 * 3 // 2, 160)
    assert aired.level(1000, 3, 5) < 0.01
    assert aired.level(440, 2.5, 3.5) > 0.1
    slices = {coded_slice(data) for data in room.sent}
    received = coded_slices(path)
    assert len(received) > 100
    assert set(received) <= slices
    assert room.wanted["TR_ann_v"] == (True, 0, 0)
    bright = [time for time, picture in aired.pictures if picture[45, 80] > 200]
    for beep, shown in zip(beeps(aired), starts(bright), strict=True):
        assert abs(beep - shown) < 0.04


async def test_an_update_changes_size_and_places_without_a_gap(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440), Person("bob", GREEN, 1000)])
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url)), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        await room.until(3.0)
        alone = {"MixLayoutMode": 4, "MixLayoutList": [{"ImageWidth": WIDTH, "ImageHeight": HEIGHT}]}
        for number, encode in enumerate([ENCODE | {"Fps": 25}, ENCODE | {"Fps": 10}, ENCODE | {"BitRate": 300}] * 3):
            layout = alone if number % 2 == 0 else {"MixLayoutMode": 3}
            params = request(cdn.url, VideoParams={"VideoEncode": encode, "LayoutParams": layout})
            relay.update(params, number + 2)
            await asyncio.sleep(0.3)
        await asyncio.sleep(1.5)
        relay.tell(Stop())
        assert await running == 0
        aired = Aired.read(await asyncio.to_thread(cdn.wait))
    assert aired.errors == 0
    picture_gap, sound_gap = aired.gaps()
    assert picture_gap < 0.2
    assert sound_gap < 0.06
    assert near(aired.luma(-1, 0.25, 0.5), RED)
    assert near(aired.luma(-1, 0.75, 0.5), RED)
    assert relay.statuses(cdn.url) == [1, 2, 5, 0]


async def test_a_mix_becomes_a_single_stream_and_a_mix_again_on_one_clock(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440), Person("bob", GREEN, 1000)])
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url)), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        await room.until(3.0)
        relay.update(single("bob", cdn.url), 2)
        await asyncio.sleep(2.0)
        relay.update(request(cdn.url), 3)
        await asyncio.sleep(2.0)
        relay.tell(Stop())
        assert await running == 0
        path = await asyncio.to_thread(cdn.wait)
    times = packet_times(path)
    for stream in times.values():
        assert all(later > earlier for earlier, later in itertools.pairwise(stream))
        assert max(np.diff(stream)) < 0.2
    middle = times["video"][-1] - 2.5
    with av.open(str(path)) as container:
        pictures = [(frame.time, frame) for frame in container.decode(video=0)]
    _, shown = min(pictures, key=lambda one: abs(one[0] - middle))
    assert (shown.width, shown.height) == (160, 90)
    assert near(int(shown.to_ndarray(format="yuv420p")[45, 80]), GREEN)
    assert (pictures[-1][1].width, pictures[-1][1].height) == (WIDTH, HEIGHT)
    assert relay.statuses(cdn.url) == [1, 2, 5, 0]


async def test_people_of_another_room_are_mixed_and_gone_while_it_is_away(tmp_path: Path) -> None:
    main = FakeClientRoom([Person("ann", RED, 440)])
    others = [FakeClientRoom([Person("ann", GREEN, 1000)], disconnects=(4.0, "ROOM_DELETED"))]
    refused = 0

    def other() -> FakeClientRoom:
        nonlocal refused
        if not others:
            refused += 1
            raise ConnectError("JOIN_FAILURE", "no such room")
        return others.pop()

    names = [{"UserInfo": {"UserId": "ann", "RoomId": room}} for room in ("3560", "77")]
    places = [
        {"UserMediaStream": name, "ImageWidth": WIDTH // 2, "ImageHeight": HEIGHT, "LocationX": WIDTH // 2 * index}
        for index, name in enumerate(names)
    ]
    video = {"VideoEncode": ENCODE, "LayoutParams": {"MixLayoutMode": 4, "MixLayoutList": places}}
    entry = Pass(numeric=True, room_id="77", user_id="mixer", token="other")
    with Listener(tmp_path / "aired.mkv") as cdn:
        start = order(tmp_path, request(cdn.url, VideoParams=video), passes=(entry,))
        relay = Job(start, {"main": main, "other": other})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        await main.until(6.5)
        relay.tell(Stop())
        assert await running == 0
        aired = Aired.read(await asyncio.to_thread(cdn.wait))
    halfway = len(aired.pictures) // 3
    assert near(aired.luma(halfway, 0.25, 0.5), RED)
    assert near(aired.luma(halfway, 0.75, 0.5), GREEN)
    assert near(aired.luma(-1, 0.25, 0.5), RED)
    assert aired.luma(-1, 0.75, 0.5) < 30
    length = len(aired.sound) / 48_000
    assert aired.level(1000, length - 1, length - 0.2) < 0.01
    assert refused >= 1


async def test_what_is_made_is_fed_back_into_a_room_and_its_viewers_get_keyframes(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440)])
    stage = StageRoom([])
    entry = Pass(numeric=False, room_id="stage", user_id="feeder", token="stage")
    feeds = [{"RoomId": "stage", "RoomIdType": 1, "UserId": "feeder"}]
    relay = Job(order(tmp_path, request(FeedBackRoomParams=feeds), passes=(entry,)), {"main": room, "stage": stage})
    running = asyncio.ensure_future(relay.run())
    await room.until(4.0)
    before = sum(is_keyframe(data) for data, _ in stage.written["video"])
    stage.asks = True
    await room.until(5.0)
    relay.tell(Stop())
    assert await running == 0
    assert stage.left
    assert is_keyframe(stage.written["video"][0][0])
    assert sum(is_keyframe(data) for data, _ in stage.written["video"]) > before
    for kind, spacing in (("video", 1_000_000 / FPS), ("audio", 20_000)):
        moments = [at for _, at in stage.written[kind]]
        assert np.median(np.diff(moments)) == pytest.approx(spacing, abs=100)
        assert min(np.diff(moments)) > 0
        assert all(0 < (seen - at) < 1_500_000 for seen, at in zip(stage.seen[kind], moments, strict=True))
    decoder = av.CodecContext.create("h264", "r")
    pictures = [picture for data, _ in stage.written["video"] for picture in decoder.decode(av.Packet(data))]
    assert decoder.profile in ("Baseline", "Constrained Baseline")
    assert near(int(pictures[-1].to_ndarray(format="yuv420p")[HEIGHT // 2, WIDTH // 2]), RED)


@pytest.mark.parametrize(
    ("reason", "code"), [("PARTICIPANT_REMOVED", 1), ("ROOM_DELETED", 2), ("DUPLICATE_IDENTITY", 101)]
)
@pytest.mark.parametrize("who", ["the robot that mixes", "the robot that feeds back"])
async def test_a_robot_that_is_put_out_ends_the_relay_with_its_code(
    tmp_path: Path, who: str, reason: str, code: int
) -> None:
    end = (1.0, reason)
    mixes = who == "the robot that mixes"
    room = FakeClientRoom([Person("erin", None, 300)], disconnects=end if mixes else (1e9, ""))
    stage = StageRoom([], disconnects=(1e9, "") if mixes else end)
    entry = Pass(numeric=True, room_id="9", user_id="feeder", token="stage")
    params = request(FeedBackRoomParams=[{"RoomId": "9", "UserId": "feeder"}])
    relay = Job(order(tmp_path, params, passes=(entry,)), {"main": room, "stage": stage})
    assert await asyncio.wait_for(relay.run(), 10) == 0
    assert [event.leave_code for event in relay.events if isinstance(event, Left)] == [code]
    assert isinstance(relay.events[-1], Ended)
    assert room.left or mixes


async def test_a_lost_connection_leaves_the_task_to_another_attempt(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("erin", RED, 300)], disconnects=(3.0, "STATE_MISMATCH"))
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url)), {"main": room})
        assert await asyncio.wait_for(relay.run(), 10) == 1
    assert not any(isinstance(event, Left | Ended) for event in relay.events)
    assert relay.statuses(cdn.url) == [1, 2]


async def test_a_later_attempt_tells_that_its_outputs_recover(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("erin", RED, 300)])
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url), attempt=1), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        relay.tell(Stop())
        assert await running == 0
    assert relay.statuses(cdn.url) == [3, 2, 5, 0]


async def test_let_go_it_leaves_at_once_and_says_nothing_of_its_outputs(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("gina", BLUE, 300)])
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url)), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        relay.let_go()
        began = room.now()
        assert await running == 0
        assert room.now() - began < 1.5
    assert room.left
    assert not any(isinstance(event, Left | Ended) for event in relay.events)
    assert relay.statuses(cdn.url) == [1, 2]


async def test_without_anyone_to_mix_it_ends_after_the_idle_time(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("frank", None, 300, leaves=0.5), Person("listener", None, 0)])
    params = request("rtmp://127.0.0.1:1/live/nobody", AgentParams={"UserId": "mixer", "MaxIdleTime": 1})
    relay = Job(order(tmp_path, params), {"main": room})
    assert await asyncio.wait_for(relay.run(), 10) == 0
    assert [event.leave_code for event in relay.events if isinstance(event, Left)] == [99]
    assert 1.4 < room.now() < 4
    assert room.left


async def test_a_single_stream_of_another_codec_is_told_and_pushed_nowhere(tmp_path: Path) -> None:
    url = "rtmp://127.0.0.1:1/live/nobody"
    room = FakeClientRoom([Person("vera", BLUE, 300, codec="libvpx")])
    relay = Job(order(tmp_path, single("vera", url)), {"main": room})
    running = asyncio.ensure_future(relay.run())
    await relay.until(lambda events: any(isinstance(event, OutputChanged) and event.status == 4 for event in events))
    relay.tell(Stop())
    assert await running == 0
    failed = [event for event in relay.events if isinstance(event, OutputChanged) and event.status == 4]
    assert failed[0].code == Fault.CODEC_NOT_CARRIED
    assert any(isinstance(event, Noted) and "VP8" in event.message for event in relay.events)


async def test_outputs_that_a_codec_has_ended_begin_anew_once_it_is_mixed(tmp_path: Path) -> None:
    url = "rtmp://127.0.0.1:1/live/nobody"

    def ended(times: int) -> Any:
        return lambda events: [event.status for event in events if isinstance(event, OutputChanged)].count(0) == times

    room = FakeClientRoom([Person("vera", BLUE, 300, codec="libvpx")])
    relay = Job(order(tmp_path, single("vera", url)), {"main": room})
    running = asyncio.ensure_future(relay.run())
    await relay.until(ended(1))
    relay.update(single("vera", url) | {"PublishRevision": 1}, 2)
    await relay.until(ended(2))
    relay.update(request(url) | {"PublishRevision": 1}, 3)
    await relay.until(lambda events: [event.status for event in events if isinstance(event, OutputChanged)][-1] == 1)
    relay.tell(Stop())
    assert await running == 0
    assert relay.statuses(url) == [1, 4, 0, 1, 4, 0, 1, 5, 0]


async def test_it_says_how_it_does_and_shows_its_picture(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440)])
    relay = Job(order(tmp_path, request("rtmp://127.0.0.1:1/live/secret")), {"main": room})
    running = asyncio.ensure_future(relay.run())
    await room.until(3.5)
    (relay.directory / PREVIEW_REQUEST).touch()
    await room.until(4.2)
    figures = msgspec.json.decode((relay.directory / FIGURES).read_bytes(), type=Figures)
    relay.tell(Stop())
    assert await running == 0
    assert figures.fps is not None
    assert 5 < figures.fps < 20
    assert figures.inputs == 2
    assert figures.outputs == {"127.0.0.1:1": 1}
    assert figures.cpu > 0
    assert figures.bitrate is not None
    assert figures.bitrate > 10_000
    assert figures.delay_ms is not None
    assert 200 < figures.delay_ms < 2_000
    assert not (relay.directory / PREVIEW_REQUEST).exists()
    with av.open(str(relay.directory / PREVIEW)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="yuv420p")
    assert picture.shape == (HEIGHT * 3 // 2, WIDTH)
    assert near(int(picture[HEIGHT // 2, WIDTH // 2]), RED)


async def test_what_is_relayed_is_recorded_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440)])
    storage = {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b"}}
    recording = {"RecordFormat": ["hls", "mp4"], "McuStorageParams": storage}
    relay = Job(order(tmp_path, request(FeedBackRoomParams=[], RecordParams=recording)), {"main": room})
    began = room.now()
    running = asyncio.ensure_future(relay.run())
    await room.until(6.0)
    length = room.now() - began
    relay.tell(Stop())
    assert await running == 0
    (mp4,) = [event for event in relay.events if isinstance(event, FileClosed) and event.kind == "mp4"]
    aired = Aired.read(relay.directory / mp4.name)
    assert aired.errors == 0
    assert aired.pictures[-1][0] - aired.pictures[0][0] == pytest.approx(length, abs=0.4)
    assert len(aired.sound) / 48_000 == pytest.approx(length, abs=0.4)
    assert mp4.end_ms - mp4.begin_ms == pytest.approx(length * 1000, abs=400)
    assert near(aired.luma(-1, 0.5, 0.5), RED)
