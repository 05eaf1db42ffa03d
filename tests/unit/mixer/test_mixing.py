"""The mixer on virtual time: pictures and sound of many people at their places and moments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage
from rtcloud.mixer import layout
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.layout import Colour, RenderMode
from rtcloud.mixer.mixing import KeyframeWanted, Mixer, MixFormat, SubscriptionWanted, Wish
from rtcloud.mixer.scene import Cell, Scene

WIDTH, HEIGHT, FPS = 320, 180, 10
START = 1_000_000_000
SECOND = 1_000_000
TICK = SECOND // FPS


@dataclass(frozen=True, slots=True)
class Frame:
    data: bytes
    rtp_time: int
    capture_us: int | None
    arrival_us: int
    keyframe: bool
    contiguous: bool = True


def mix_format(**changes: Any) -> MixFormat:
    wanted: dict[str, Any] = {
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "video_bitrate": 500_000,
        "gop_seconds": 2,
        "sample_rate": 48_000,
        "channels": 2,
        "audio_bitrate": 64_000,
    }
    return MixFormat(**(wanted | changes))


def pictures(luma: int, width: int = 160, height: int = 90) -> Iterator[tuple[bytes, bool]]:
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, FPS)
    encoder.thread_count = 1
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "g": "1000"}
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, value in zip(frame.planes, (luma, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    index = 0
    while True:
        frame.pts = index
        for packet in encoder.encode(frame):
            yield bytes(packet), packet.is_keyframe
        index += 1


@dataclass
class Output:
    packets: list[EncodedPacket] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)

    def of(self, kind: str) -> list[EncodedPacket]:
        return [packet for packet in self.packets if packet.kind == kind]

    def pictures(self) -> list[Any]:
        decoder = av.VideoCodecContext.create("h264", "r")
        decoder.options = {"flags": "+low_delay"}
        packets = [packet for packet in self.packets if packet.codec == "h264"]
        frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet.data))]
        return [frame.to_ndarray()[:HEIGHT] for frame in [*frames, *decoder.decode(None)]]


class Stage:
    """Feeds a mixer tick by tick."""

    def __init__(self, form: MixFormat) -> None:
        self.output = Output()
        self.mixer = Mixer(form, self.output.packets.append, self.output.wishes.append)
        self.form = form
        self.now = START
        self.sources: dict[str, Iterator[tuple[bytes, bool]]] = {}

    def add(self, name: str, luma: int, width: int = 160, height: int = 90) -> None:
        self.mixer.add_video(name, name, width, height)
        self.sources[name] = pictures(luma, width, height)

    def arrange(
        self,
        places: Sequence[str | None],
        at_us: int,
        background: Colour = layout.BLACK,
        mode: RenderMode = RenderMode.CROP,
    ) -> None:
        rects = layout.grid(len(places), self.form.width, self.form.height)
        cells = [Cell(rect, track_id, mode=mode) for rect, track_id in zip(rects, places, strict=True) if track_id]
        self.mixer.show(Scene(background, cells=tuple(cells)), at_us)

    def run(self, seconds: float, *, lose: str = "") -> None:
        for _ in range(round(seconds * FPS)):
            for name, source in self.sources.items():
                data, keyframe = next(source)
                if name != lose:
                    self.mixer.push(name, Frame(data, self.now * 9 // 100, self.now, self.now, keyframe), self.now)
            self.now += TICK
            self.mixer.advance(self.now - self.form.patience_us)

    def finish(self) -> list[Any]:
        self.mixer.finish(self.now)
        return self.output.pictures()


def centre(picture: Any, cell: layout.Rect) -> int:
    return int(picture[cell.top + cell.height // 2, cell.left + cell.width // 2])


def test_messages_in_pictures_go_on_in_the_mix_in_their_order() -> None:
    stage = Stage(mix_format(audio=False))
    names = ["a", "b"]
    for name in names:
        stage.add(name, 100)
    stage.arrange(names, START)
    sent: dict[str, list[bytes]] = {name: [] for name in names}
    plain = dict(stage.sources)

    def talking(name: str) -> Iterator[tuple[bytes, bool]]:
        for number, (data, keyframe) in enumerate(plain[name]):
            messages = [SeiMessage(f"{name}{number}.{part}".encode()) for part in range(20)]
            sent[name] += [message.data for message in messages]
            yield sei.insert(data, messages), keyframe

    stage.sources = {name: talking(name) for name in names}
    stage.run(0.5)
    stage.sources = plain
    stage.run(1)
    assert len(stage.finish()) == 15
    got = [message.data for packet in stage.output.of("video") for message in sei.read(packet.data)]
    ours = [data for data in got if data[:1] in (b"a", b"b") and b"." in data]
    for name in names:
        assert [data for data in ours if data.startswith(name.encode())] == sent[name]
    assert len(ours) == 2 * 5 * 20


@pytest.mark.parametrize("people", [1, 2, 3, 4, 9, 16])
def test_everyone_is_in_the_own_cell(people: int) -> None:
    stage = Stage(mix_format(audio=False))
    for person in range(people):
        stage.add(f"p{person}", 40 + 12 * person)
    stage.arrange([f"p{person}" for person in range(people)], START)
    stage.run(1)
    last = stage.finish()[-1]
    for person, cell in enumerate(layout.grid(people, WIDTH, HEIGHT)):
        assert abs(centre(last, cell) - (40 + 12 * person)) <= 6


def test_a_mixer_that_is_behind_catches_up_with_the_same_picture() -> None:
    stage = Stage(mix_format(audio=False))
    for person in range(16):
        stage.add(f"p{person}", 40 + 12 * person)
    stage.arrange([f"p{person}" for person in range(16)], START)
    stage.run(0.2)
    for _ in range(4):
        for name, source in stage.sources.items():
            data, keyframe = next(source)
            stage.mixer.push(name, Frame(data, stage.now * 9 // 100, stage.now, stage.now, keyframe), stage.now)
        stage.now += TICK
    stage.mixer.advance(stage.now - 200_000, hurry=True)
    last = stage.finish()[-1]
    assert stage.mixer.counts.skipped_pictures == 0
    for person, cell in enumerate(layout.grid(16, WIDTH, HEIGHT)):
        assert abs(centre(last, cell) - (40 + 12 * person)) <= 6


def test_people_come_and_go_at_their_moments() -> None:
    stage = Stage(mix_format(audio=False))
    stage.add("a", 100)
    stage.arrange(["a"], stage.now)
    stage.run(1)
    stage.add("b", 200)
    stage.arrange(["a", "b"], stage.now)
    stage.run(1)
    del stage.sources["b"]
    stage.mixer.remove("b", stage.now)
    stage.arrange(["a"], stage.now)
    stage.run(1)
    right = layout.grid(2, WIDTH, HEIGHT)[1]
    seen = [centre(picture, right) for picture in stage.finish()]
    assert len(seen) == 3 * FPS
    assert all(abs(luma - 100) <= 6 for luma in seen[:FPS] + seen[2 * FPS + 1 :])
    assert all(abs(luma - 200) <= 6 for luma in seen[FPS + 1 : 2 * FPS])


def test_who_is_taken_back_before_the_moment_of_going_stays() -> None:
    stage = Stage(mix_format(audio=False))
    stage.add("alice", 60)
    stage.arrange(["alice"], START)
    stage.run(1)
    stage.mixer.remove("alice", stage.now + TICK)
    stage.mixer.add_video("alice", "alice", 160, 90)
    stage.run(1)
    stage.mixer.remove("alice", stage.now)
    stage.run(1)
    shown = stage.finish()
    assert abs(shown[15][90, 160] - 60) <= 3
    assert abs(shown[-1][90, 160] - 16) <= 3


def test_a_place_without_picture_is_background_and_bars_stay_clean() -> None:
    background = layout.from_rgb(255, 255, 255)
    stage = Stage(mix_format(audio=False))
    stage.add("tall", 60, 90, 160)
    stage.arrange(["tall", None], START, background=background, mode=RenderMode.FIT)
    stage.run(1)
    last = stage.finish()[-1]
    left, right = layout.grid(2, WIDTH, HEIGHT)
    assert abs(centre(last, right) - 235) <= 6
    assert abs(centre(last, left) - 60) <= 6
    assert abs(int(last[HEIGHT // 2, 4]) - 235) <= 8


def test_each_track_is_wanted_in_the_size_of_its_cell_and_the_unseen_not_at_all() -> None:
    stage = Stage(mix_format(audio=False))
    for name in ("a", "b", "hidden"):
        stage.add(name, 100, 1280, 720)
    stage.arrange(["a", None, None, None], START)
    assert stage.output.wishes == [
        SubscriptionWanted("a", True, 160, 90),
        SubscriptionWanted("b", False),
        SubscriptionWanted("hidden", False),
    ]
    stage.output.wishes.clear()
    stage.arrange(["a", "b"], START)
    assert stage.output.wishes == [SubscriptionWanted("a", True, 320, 180), SubscriptionWanted("b", True, 320, 180)]


def test_the_picture_freezes_over_a_hole_and_a_keyframe_is_asked_for() -> None:
    stage = Stage(mix_format(audio=False))
    stage.add("a", 100)
    stage.arrange(["a"], START)
    stage.run(0.5)
    stage.mixer.push("a", Frame(b"\0\0\0\1\x41rest", 0, stage.now, stage.now, False, contiguous=False), stage.now)
    stage.run(1)
    assert stage.output.wishes.count(KeyframeWanted("a")) == 2
    assert all(abs(int(picture[90, 160]) - 100) <= 6 for picture in stage.finish())


@pytest.mark.parametrize(
    "rubbish", [b"", b"\0", b"\0\0\0\1", b"\0\0\0\1\x65" + b"\xff" * 500, b"\x10\0\0\x9d\x01\x2a\xff\xff"]
)
def test_rubbish_from_one_person_harms_nobody_else(rubbish: bytes) -> None:
    stage = Stage(mix_format(audio=False))
    stage.add("good", 100)
    stage.add("bad", 50)
    del stage.sources["bad"]
    stage.arrange(["good", "bad"], START)
    for _ in range(10):
        stage.mixer.push("bad", Frame(rubbish, 0, stage.now, stage.now, True), stage.now)
        stage.run(0.1)
    left, right = layout.grid(2, WIDTH, HEIGHT)
    last = stage.finish()[-1]
    assert abs(centre(last, left) - 100) <= 6
    assert abs(centre(last, right) - 16) <= 6


def test_times_run_on_without_a_gap_and_keyframes_stand_where_files_are_cut() -> None:
    stage = Stage(mix_format(gop_seconds=3))
    stage.add("a", 100)
    stage.arrange(["a"], START)
    stage.run(21)
    stage.finish()
    video = stage.output.of("video")
    assert [packet.time for packet in video] == [index * 9000 for index in range(21 * FPS)]
    assert {packet.time // 90_000 for packet in video if packet.keyframe} >= {0, 3, 6, 9, 10, 12, 15, 18, 20}
    sound = [packet.time for packet in stage.output.of("audio")]
    assert sound[0] == 0
    assert set(np.diff(sound)) == {1920}
    assert abs(sound[-1] - video[-1].time) < 9000


def test_a_source_may_change_its_size() -> None:
    stage = Stage(mix_format(audio=False))
    stage.add("a", 100, 80, 46)
    stage.arrange(["a"], START)
    stage.run(1)
    stage.sources["a"] = pictures(200, 320, 180)
    stage.run(1)
    seen = [int(picture[90, 160]) for picture in stage.finish()]
    assert abs(seen[5] - 100) <= 6
    assert abs(seen[-1] - 200) <= 6


def test_in_a_hurry_pictures_are_left_out_but_time_and_sound_run_on() -> None:
    stage = Stage(mix_format())
    stage.add("a", 100)
    stage.arrange(["a"], START)
    stage.run(1)
    stage.mixer.advance(START + 5 * SECOND, hurry=True)
    assert stage.mixer.counts.skipped_pictures > 30
    stage.mixer.finish(START + 5 * SECOND)
    assert abs(stage.output.of("video")[-1].time - 5 * 90_000) <= 9000
    assert abs(len(stage.output.of("audio")) - 5 * 48_000 / 1024) <= 2


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_hours_in_which_the_machine_slept_are_left_out(rate: int) -> None:
    stage = Stage(mix_format(sample_rate=rate, audio_codecs=("aac", "opus")))
    stage.add("a", 60)
    stage.arrange(["a"], START)
    stage.run(2)
    before = len(stage.output.packets)
    slept = 5 * 3600 * SECOND
    stage.now += slept
    stage.mixer.remove("a", stage.now)
    stage.run(1)
    stage.finish()
    after = stage.output.packets[before:]
    assert len(after) < 60 * (FPS + 50 + 48)
    for codec in ("h264", "aac", "opus"):
        times = [packet.time for packet in stage.output.packets if packet.codec == codec]
        assert all(one < other for one, other in pairwise(times))
        assert abs(times[-1] * SECOND // 90_000 - (slept + 3 * SECOND)) < SECOND
    assert next(packet for packet in after if packet.kind == "video" and packet.time > 900_000).keyframe


def test_a_time_out_of_this_world_makes_next_to_nothing() -> None:
    output = Output()
    mixer = Mixer(mix_format(), output.packets.append, output.wishes.append)
    mixer.begin(0)
    mixer.advance(START * 2_000_000)
    mixer.finish(START * 2_000_000)
    assert len(output.packets) < 60 * (FPS + 50)


def test_nothing_is_written_before_the_first_media() -> None:
    stage = Stage(mix_format())
    stage.arrange([], START)
    stage.mixer.advance(START + 60 * SECOND)
    assert stage.mixer.finish(START + 60 * SECOND) == 0
    assert stage.output.packets == []


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 1), (44_100, 2), (16_000, 1)])
def test_every_documented_sound_format_is_encoded(rate: int, channels: int) -> None:
    stage = Stage(mix_format(video=False, sample_rate=rate, channels=channels))
    stage.mixer.add_audio("a", "a")
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    for index in range(150):
        times = (index * 960 + np.arange(960)) / 48_000
        block = av.AudioFrame.from_ndarray(
            (9000 * np.sin(2 * np.pi * 500 * times)).astype(np.int16)[None, :], format="s16", layout="mono"
        )
        block.sample_rate, block.pts = 48_000, index * 960
        for packet in encoder.encode(block):
            now = START + index * 20_000
            stage.mixer.push("a", Frame(bytes(packet), index * 960, now, now, True), now)
    stage.mixer.finish(START + 3 * SECOND)
    assert not stage.output.of("video")
    ends = stage.output.of("audio")[-1].time
    assert abs(ends - 3 * 90_000) < 2 * 1024 * 90_000 / rate
