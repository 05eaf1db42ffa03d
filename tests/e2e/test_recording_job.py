"""The whole recorder job against a room without a network: what is in the files, to the pixel and the millisecond."""

import asyncio
import errno
import fcntl
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from rtcloud.clock import SystemClock
from rtcloud.egress.recording import job
from rtcloud.egress.recording.hls import HlsWriter
from rtcloud.egress.recording.recovery import recover
from rtcloud.tasks.journal import read_journal
from rtcloud.tasks.process import JobProcess
from rtcloud.tasks.protocol import (
    FIGURES,
    PREVIEW,
    PREVIEW_REQUEST,
    Ended,
    Figures,
    FileClosed,
    ImageMissing,
    Left,
    Order,
    Started,
    Stop,
    Update,
)
from tests.e2e.fake_room import BEEP_HZ, BLUE, GREEN, RED, FakeClientRoom, Person, connecting
from tests.kit.job_in_process import JobInProcess

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.anyio,
    pytest.mark.alone,  # the people talk by the clock on the wall, and are found in the files to 40 ms
]

WIDTH, HEIGHT, FPS = 320, 180, 30
WHITE, GREEN_RGB = (235, 128, 128), (145, 54, 34)


def order(spool: Path, *, attempt: int = 0, finish: bool = False, **record: Any) -> Order:
    params = {
        "SdkAppId": 1400000001,
        "RoomId": "3560",
        "UserId": "recorder",
        "RecordParams": {"RecordMode": 2, "OutputFormat": 1, "MaxIdleTime": 5} | record,
        "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b"}},
        "MixTranscodeParams": {
            "VideoParams": {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 800_000, "Gop": 2},
            "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000},
        },
    }
    return Order(
        task_id="task",
        kind="recording",
        attempt=attempt,
        sdk_app_id=1400000001,
        numeric=True,
        room_id="3560",
        user_id="recorder",
        signal_url="ws://unused",
        token="unused",
        spool=str(spool / str(attempt)),
        params=msgspec.Raw(json.dumps(params).encode()),
        finish=finish,
    )


@dataclass
class Job(JobInProcess):
    """A recorder."""

    room: FakeClientRoom

    async def run(self) -> int:
        return await self.run_as(lambda shell: job.run(shell, connecting(lambda: self.room)))

    def closed(self, kind: str) -> list[FileClosed]:
        return [event for event in self.events if isinstance(event, FileClosed) and event.kind == kind]

    def path(self, file: FileClosed) -> Path:
        return self.directory / file.name


@dataclass
class Media:
    """A file decoded from end to end."""

    pictures: list[tuple[float, Any]] = field(default_factory=list)
    sound: Any = None
    rate: int = 48_000
    sound_start: float = 0.0
    duration: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Media":
        media = cls()
        blocks: list[Any] = []
        with av.open(str(path)) as container:
            media.duration = (container.duration or 0) / av.time_base
            for frame in container.decode():
                if isinstance(frame, av.VideoFrame):
                    media.pictures.append((frame.time, frame.to_ndarray()))
                else:
                    if not blocks:
                        media.sound_start = frame.time
                        media.rate = frame.sample_rate
                    blocks.append(frame.to_ndarray().mean(axis=0))
        media.sound = np.concatenate(blocks)
        return media

    def colour(self, at: float, x: float, y: float) -> tuple[int, int, int]:
        """Y, U, V at a place of the canvas (0…1) at a moment."""
        picture = min(self.pictures, key=lambda entry: abs(entry[0] - at))[1]
        column, row = int(x * WIDTH), int(y * HEIGHT)
        chroma = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        return (
            int(picture[row, column]),
            int(chroma[0, row // 2, column // 2]),
            int(chroma[1, row // 2, column // 2]),
        )

    def loudness(self, hertz: float, start: float, end: float) -> float:
        """Amplitude of one tone between two moments."""
        first = int((start - self.sound_start) * self.rate)
        piece = self.sound[first : int((end - self.sound_start) * self.rate)]
        turns = np.exp(-2j * np.pi * hertz * np.arange(len(piece)) / self.rate)
        return float(2 * abs(np.mean(piece * turns)))

    def onsets(self) -> tuple[list[float], list[float]]:
        """When white pictures and beeps begin."""
        seen, heard, white, loud = [], [], False, False
        for at, picture in self.pictures:
            is_white = picture[HEIGHT // 2, WIDTH // 4] > 200
            if is_white and not white:
                seen.append(at)
            white = is_white
        step = 0.004
        for index in range(int(len(self.sound) / self.rate / step) - 5):
            at = self.sound_start + index * step
            is_loud = self.loudness(BEEP_HZ, at, at + 3 * step) > 0.15
            if is_loud and not loud:
                heard.append(at + 1.5 * step)
            loud = is_loud
        return seen, heard


def near(colour: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return all(abs(one - two) <= 10 for one, two in zip(colour, other, strict=True))


async def test_people_join_mute_and_leave_as_they_did(tmp_path: Path) -> None:
    alice = Person("alice", RED, 440, joins=0.4, flashes=(2.0, 3.0), mutes=(4.0, 4.8))
    bob = Person("bob", BLUE, 880, joins=1.2, leaves=5.0, codec="libvpx", width=90, height=160)
    recorder = Job(order(tmp_path), FakeClientRoom([alice, bob]))
    running = asyncio.ensure_future(recorder.run())
    await recorder.room.until(6.0)
    stopped_ms = SystemClock().now_ms()
    recorder.tell(Stop(at_ms=stopped_ms))
    assert await running == 0

    events = recorder.events
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    assert [event.leave_code for event in events if isinstance(event, Left)] == [0]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert read_journal(Path(recorder.order.spool)) == events

    (mp4,) = recorder.closed("mp4")
    assert mp4.name == "1400000001_3560.mp4"
    begin_ms = recorder.closed("index")[0].begin_ms
    assert abs(begin_ms - recorder.room.start_ms - 400) < 150
    media = Media.read(recorder.path(mp4))
    assert abs(media.duration - (stopped_ms - begin_ms) / 1000) < 0.3

    start = (recorder.room.start_ms - begin_ms) / 1000  # the room's 0 on the file's clock
    assert near(media.colour(start + 0.9, 0.25, 0.5), RED)
    assert near(media.colour(start + 0.9, 0.75, 0.5), RED)
    assert near(media.colour(start + 2.7, 0.25, 0.5), RED)
    assert near(media.colour(start + 2.7, 0.75, 0.5), BLUE)
    assert near(media.colour(start + 5.5, 0.75, 0.5), RED)
    assert media.loudness(440, start + 2.4, start + 2.8) > 0.1
    assert media.loudness(880, start + 2.4, start + 2.8) > 0.1
    assert media.loudness(440, start + 4.3, start + 4.6) < 0.01
    assert media.loudness(880, start + 4.3, start + 4.6) > 0.1
    assert media.loudness(440, start + 5.3, start + 5.8) > 0.1
    assert media.loudness(880, start + 5.3, start + 5.8) < 0.01

    seen, heard = media.onsets()
    assert len(seen) == len(heard) == 2
    for picture, sound, real in zip(seen, heard, (2.0, 3.0), strict=True):
        assert abs(picture - sound) < 0.04
        assert abs(sound - (start + real)) < 0.05


def changed(order: Order, images: dict[str, str], layout: dict[str, Any], lists: dict[str, Any]) -> Update:
    params = json.loads(bytes(order.params))
    params["MixLayoutParams"], params["Images"] = layout, images
    params["RecordParams"]["SubscribeStreamUserIds"] = lists
    return Update(params=msgspec.Raw(json.dumps(params).encode()), revision=1)


async def test_another_layout_and_other_people_are_recorded_from_the_moment_they_are_asked_for(tmp_path: Path) -> None:
    alice, bob = Person("alice", RED, 440, joins=0.2), Person("bob", BLUE, 880, joins=0.4)
    recorder = Job(order(tmp_path / "spool"), FakeClientRoom([alice, bob]))
    recorder.order.images = str(tmp_path)
    Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / "white.png")
    running = asyncio.ensure_future(recorder.run())
    mark = {"WaterMarkUrl": "http://x/white.png", "Left": 0, "Top": 0, "Width": 32, "Height": 18}
    layout = {
        "MixLayoutMode": 4,
        "MixLayoutList": [{"Left": 160, "Top": 90, "Width": 160, "Height": 90, "UserId": "alice"}],
        "BackgroundImageUrl": "http://x/gone.png",
        "BackGroundColor": "#00FF00",
        "WaterMarkList": [{"WaterMarkImage": mark}],
    }
    only_alice = {"UnSubscribeAudioUserIds": ["bob"], "SubscribeVideoUserIds": ["alice"]}
    images = {"http://x/white.png": "white.png"}
    await recorder.room.until(2.5)
    recorder.tell(changed(recorder.order, images, layout, only_alice))
    await recorder.room.until(2.6)  # less than late frames are waited for
    recorder.tell(changed(recorder.order, {}, {"MixLayoutMode": 3}, {}))
    await recorder.room.until(2.7)
    recorder.tell(changed(recorder.order, images, layout, only_alice))
    await recorder.room.until(4.5)
    assert recorder.room.unsubscribed == {"TR_bob_a", "TR_bob_v"}
    recorder.tell(changed(recorder.order, {}, {"MixLayoutMode": 3}, {}))
    await recorder.room.until(6.5)
    recorder.tell(Stop(at_ms=SystemClock().now_ms()))
    assert await running == 0

    assert [event.url for event in recorder.events if isinstance(event, ImageMissing)] == ["http://x/gone.png"]
    media = Media.read(recorder.path(recorder.closed("mp4")[0]))
    start = (recorder.room.start_ms - recorder.closed("index")[0].begin_ms) / 1000
    for at, places in (
        (2.3, {(0.25, 0.5): RED, (0.75, 0.5): BLUE}),
        (4.2, {(0.25, 0.5): GREEN_RGB, (0.75, 0.25): GREEN_RGB, (0.75, 0.75): RED, (0.05, 0.05): WHITE}),
        (6.3, {(0.25, 0.5): RED, (0.75, 0.5): BLUE, (0.05, 0.05): RED}),
    ):
        for (x, y), colour in places.items():
            assert near(media.colour(start + at, x, y), colour), (at, x, y)
    for hertz, loud in ((440, (True, True, True)), (880, (True, False, True))):
        moments = ((1.5, 2.4), (3.5, 4.4), (5.5, 6.4))
        assert [media.loudness(hertz, start + a, start + b) > 0.1 for a, b in moments] == list(loud)
    steps = np.diff([at for at, _ in media.pictures])
    assert steps.max() < 1.5 / FPS


async def test_a_silent_start_begins_with_the_first_media(tmp_path: Path) -> None:
    carol = Person("carol", None, 600, joins=1.5)
    recorder = Job(order(tmp_path), FakeClientRoom([carol]))
    running = asyncio.ensure_future(recorder.run())
    await recorder.room.until(1.2)
    assert not list(Path(recorder.order.spool).glob("*.ts"))
    await recorder.room.until(3.5)
    stopped_ms = SystemClock().now_ms()
    recorder.tell(Stop())
    assert await running == 0
    (mp4,) = recorder.closed("mp4")
    assert abs(mp4.begin_ms - recorder.room.start_ms - 1500) < 150
    assert abs(mp4.end_ms - stopped_ms) < 300
    media = Media.read(recorder.path(mp4))
    assert near(media.colour(1.0, 0.5, 0.5), (16, 128, 128))
    assert media.loudness(600, 0.5, 1.5) > 0.1


async def test_a_lost_frame_freezes_the_picture_until_a_keyframe_was_asked_for_and_came(tmp_path: Path) -> None:
    dave = Person("dave", GREEN, 0, loses=1.0, flashes=(1.1,))
    recorder = Job(order(tmp_path, StreamType=2), FakeClientRoom([dave]))
    running = asyncio.ensure_future(recorder.run())
    await recorder.room.until(2.5)
    recorder.tell(Stop())
    assert await running == 0
    assert "TR_dave_v" in recorder.room.keyframes_asked
    assert recorder.room.wanted["TR_dave_v"] == (True, WIDTH, HEIGHT)
    (mp4,) = recorder.closed("mp4")
    assert mp4.track_type == "video"
    with av.open(str(recorder.path(mp4))) as container:
        pictures = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert all(abs(int(picture[10, 10]) - wanted) < 12 for picture in pictures[-5:] for wanted in (GREEN[0],))
    assert {int(picture[10, 10]) // 40 for picture in pictures} <= {GREEN[0] // 40, 5}


@pytest.mark.parametrize(
    ("reason", "code"), [("PARTICIPANT_REMOVED", 1), ("ROOM_DELETED", 2), ("DUPLICATE_IDENTITY", 101)]
)
async def test_being_put_out_of_the_room_ends_the_recording_with_its_code(
    tmp_path: Path, reason: str, code: int
) -> None:
    recorder = Job(order(tmp_path), FakeClientRoom([Person("erin", None, 300)], disconnects=(1.0, reason)))
    assert await recorder.run() == 0
    assert [event.leave_code for event in recorder.events if isinstance(event, Left)] == [code]
    assert isinstance(recorder.events[-1], Ended)
    assert recorder.closed("mp4")


async def test_a_lost_connection_closes_the_files_and_leaves_the_task_to_another_attempt(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("erin", None, 300)], disconnects=(1.0, "STATE_MISMATCH"))
    recorder = Job(order(tmp_path), room)
    assert await recorder.run() == 1
    assert not any(isinstance(event, Left | Ended) for event in recorder.events)
    (index,) = recorder.closed("index")
    assert recorder.path(index).read_text().endswith("#EXT-X-ENDLIST\n")


async def test_an_empty_room_ends_the_recording_after_the_idle_time(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("frank", None, 300, leaves=0.5), Person("listener", None, 0)])
    recorder = Job(order(tmp_path, MaxIdleTime=1), room)
    assert await recorder.run() == 0
    assert [event.leave_code for event in recorder.events if isinstance(event, Left)] == [99]
    assert 1.4 < recorder.room.now() < 4
    assert recorder.room.left


async def test_it_says_how_it_does_and_shows_its_picture(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", GREEN, 440)])
    recorder = Job(order(tmp_path), room)
    running = asyncio.ensure_future(recorder.run())
    await room.until(3.5)
    directory = Path(recorder.order.spool)
    (directory / PREVIEW_REQUEST).touch()
    await room.until(4.2)
    figures = msgspec.json.decode((directory / FIGURES).read_bytes(), type=Figures)
    recorder.tell(Stop())
    assert await running == 0
    assert figures.fps is not None
    assert FPS / 2 < figures.fps < FPS * 1.2
    assert figures.inputs == 2
    assert figures.outputs == {}
    assert figures.cpu > 0
    assert figures.bitrate is not None
    assert figures.bitrate > 10_000
    assert figures.delay_ms is not None
    assert 200 < figures.delay_ms < 2_000
    assert not (directory / PREVIEW_REQUEST).exists()
    with av.open(str(directory / PREVIEW)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (HEIGHT, WIDTH, 3)
    red, green, blue = (int(value) for value in picture[HEIGHT // 2, WIDTH // 2])
    assert green > 200 > 60 > max(red, blue)


async def test_let_go_it_leaves_at_once_and_closes_its_files(tmp_path: Path) -> None:
    recorder = Job(order(tmp_path), FakeClientRoom([Person("gina", BLUE, 300)]))
    running = asyncio.ensure_future(recorder.run())
    await recorder.room.until(1.5)
    recorder.let_go()
    began = recorder.room.now()
    assert await running == 0
    assert recorder.room.now() - began < 1.5
    assert recorder.room.left
    events = read_journal(Path(recorder.order.spool))
    assert [event.kind for event in events if isinstance(event, FileClosed)] == ["segment", "index"]
    assert not any(isinstance(event, Left | Ended) for event in events)


async def test_finishing_after_the_robot_left_makes_what_is_missing_without_joining(tmp_path: Path) -> None:
    first = Job(order(tmp_path), FakeClientRoom([Person("hans", RED, 300)]))
    running = asyncio.ensure_future(first.run())
    await first.room.until(1.5)
    first.let_go()
    await running
    second = Job(order(tmp_path, attempt=1, finish=True), FakeClientRoom([]))
    assert await second.run() == 0
    assert [type(event) for event in second.events] == [FileClosed, Ended]
    (mp4,) = second.closed("mp4")
    assert mp4.name == "1400000001_3560.mp4"
    assert abs(Media.read(second.path(mp4)).duration - 1.5) < 0.3


async def test_a_full_disk_fails_the_attempt_and_leaves_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Job(order(tmp_path), FakeClientRoom([Person("jane", BLUE, 300)]))
    written = 0

    def append(writer: HlsWriter, segment: object, data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 20_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(HlsWriter, "_append", append)
    assert await recorder.run() == 1
    assert recorder.room.left
    assert not any(isinstance(event, Left | Ended) for event in recorder.events)
    assert "recorder failed" in caplog.text


KILLED = """
import sys
import rtcloud.client
from rtcloud.tasks import job
from tests.e2e.fake_room import BLUE, FakeClientRoom, Person

async def connect(url, token, **wishes):
    return FakeClientRoom([Person("ida", BLUE, 500)])

rtcloud.client.connect = connect
sys.exit(job.main())
"""


async def test_a_killed_job_loses_no_more_than_two_seconds_and_the_next_attempt_has_it_all(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    first = order(tmp_path)
    environment = dict(os.environ) | {"PYTHONPATH": f"{root / 'src'}:{root}"}
    process = await JobProcess.start([sys.executable, "-c", KILLED], environment)
    process.send(msgspec.json.encode(first) + b"\n")
    directory = Path(first.spool)
    deadline = asyncio.get_running_loop().time() + 30
    while not list(directory.glob("*.ts")):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(3)
    killed_ms = SystemClock().now_ms()
    process.kill()
    await process.wait()
    process.close()

    with (directory / "job.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    segment, index = recover(directory, killed_ms)
    assert isinstance(segment, FileClosed)
    assert isinstance(index, FileClosed)
    assert killed_ms - 2_000 < segment.end_ms <= killed_ms
    assert Media.read(directory / index.name).duration > 2.0

    second = Job(order(tmp_path, attempt=1), FakeClientRoom([Person("ida", BLUE, 500)]))
    running = asyncio.ensure_future(second.run())
    await second.room.until(2.0)
    second.tell(Stop())
    assert await running == 0
    assert all(event.name.startswith("ha1_") for event in second.closed("segment") + second.closed("index"))
    (mp4,) = second.closed("mp4")
    assert mp4.begin_ms == segment.begin_ms
    media = Media.read(second.path(mp4))
    assert abs(media.duration - (mp4.end_ms - mp4.begin_ms) / 1000) < 0.1
    assert near(media.colour(1.0, 0.5, 0.5), BLUE)
    assert near(media.colour(media.duration - 0.5, 0.5, 0.5), BLUE)
