"""Single-stream recording without a room: frames in, segments and indexes out, on a clock of its own."""

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import pytest
from av.video.frame import PictureType

from rtcloud.client.types import RemoteTrack
from rtcloud.egress.recording.facts import load_all_facts
from rtcloud.egress.recording.mp4 import make_whole
from rtcloud.egress.recording.naming import FileNames, encode_id
from rtcloud.egress.recording.recovery import recover, sources
from rtcloud.egress.recording.request import RecordParams
from rtcloud.egress.recording.single_file import Place
from rtcloud.egress.recording.single_pipeline import Singles, StreamKey, Tracked, grouped
from rtcloud.mixer.form import KeyframeWanted, SubscriptionWanted, Wish
from rtcloud.tasks.journal import Journal
from rtcloud.tasks.protocol import FileClosed, FileOpened
from tests.kit.frames import Frame

START = 1_622_425_551_884_000
LATE_US, PATIENCE_US, FPS = 20_000, 300_000, 10
ANN, SCREEN, BOB = StreamKey("ann", "main"), StreamKey("ann", "aux"), StreamKey("bob", "main")
NOTHING: Tracked = ({}, {})


class Camera:
    """Grey pictures; a keyframe only where one is asked for."""

    def __init__(self, track: str, width: int = 64, height: int = 48, codec: str = "libx264") -> None:
        self.track = track
        context = cast(Any, av.CodecContext.create(codec, "w"))
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, FPS)
        context.gop_size, context.thread_count = 10_000, 1
        context.options = (
            {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}
            if codec == "libx264"
            else {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        )
        self._context = context
        self._count = 0
        self.wants_keyframe = False
        self.loses = False  # the next picture is lost on its way

    def picture(self, at_us: int) -> Frame | None:
        picture = av.VideoFrame(self._context.width, self._context.height, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        picture.pts = self._count
        picture.pict_type = PictureType.I if self.wants_keyframe else PictureType.NONE
        self._count += 1
        self.wants_keyframe = False
        (packet,) = self._context.encode(picture)
        lost, self.loses = self.loses, False
        frame = Frame(self.track, bytes(packet), 0, at_us, at_us + LATE_US, packet.is_keyframe, not self._hole)
        self._hole = lost
        return None if lost else frame

    _hole = False


class Microphone:
    def __init__(self, track: str) -> None:
        self.track = track
        context = cast(Any, av.CodecContext.create("libopus", "w"))
        context.sample_rate, context.layout, context.format = 48_000, "mono", "s16"
        self._context = context
        self._count = 0

    def sound(self, at_us: int) -> Frame:
        block = av.AudioFrame(format="s16", layout="mono", samples=960)
        block.planes[0].update(bytes(1920))
        block.sample_rate, block.pts = 48_000, self._count * 960
        (packet,) = self._context.encode(block)
        self._count += 1
        return Frame(self.track, bytes(packet), self._count * 960, at_us, at_us + LATE_US, True)


@dataclass
class Room:
    """Plays cameras and microphones into a recording; ``play`` runs from one moment to the next, in seconds."""

    directory: Path
    params: RecordParams = field(default_factory=lambda: RecordParams(record_mode=1))
    attempt: int = 0

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.events: list[FileOpened | FileClosed] = []
        self.wishes: list[Wish] = []
        self.notes: list[str] = []
        self.journal = Journal(self.directory)
        self.flusher = ThreadPoolExecutor(1)
        names = FileNames(1400, True, "77", self.attempt)
        self.singles = Singles(
            self.params,
            lambda clock: Place(self.directory, self._report, self.flusher, lambda: 0, clock.to_server, True),
            names,
            self._wish,
            lambda code, message: self.notes.append(code),
        )
        self.sources: dict[str, Camera | Microphone] = {}
        self.now = 0.0

    def _report(self, event: FileOpened | FileClosed) -> None:
        self.journal.append(event)
        self.events.append(event)

    def _wish(self, wish: Wish) -> None:
        self.wishes.append(wish)
        source = self.sources.get(wish.track_id)
        if isinstance(wish, KeyframeWanted) and isinstance(source, Camera):
            source.wants_keyframe = True

    def follow(self, streams: dict[StreamKey, Tracked]) -> None:
        self.singles.follow(streams, START + round(self.now * 1e6))

    def play(self, until: float, *sources: Camera | Microphone) -> None:
        """A look every 20 ms, as the thread would."""
        self.sources = {source.track: source for source in sources}
        while self.now < until - 1e-9:
            at_us = START + round(self.now * 1e6)
            for source in sources:
                if isinstance(source, Microphone):
                    frame: Frame | None = source.sound(at_us)
                else:
                    due = round(self.now * 50) % (50 // FPS) == 0
                    frame = source.picture(at_us) if due else None
                if frame is not None:
                    self.singles.push(source.track, frame, frame.arrival_us)
            self.now = round(self.now + 0.02, 2)
            self.singles.advance(START + round(self.now * 1e6) - PATIENCE_US)

    def close(self) -> None:
        self.singles.close(START + round(self.now * 1e6))
        self.flusher.shutdown()
        self.journal.close()

    def index(self, key: StreamKey, media: str) -> str:
        return (self.directory / f"{stem(key, self.attempt)}_{media}.m3u8").read_text()

    def path(self, key: StreamKey, media: str) -> Path:
        return self.directory / f"{stem(key, self.attempt)}_{media}.m3u8"

    def indexes(self) -> set[str]:
        return {path.name for path in self.directory.glob("*.m3u8")}


def stem(key: StreamKey, attempt: int = 0) -> str:
    head = f"ha{attempt}_" if attempt else ""
    return f"{head}1400_77__UserId_s_{encode_id(key.user_id)}__UserId_e_{key.media_id}"


def lengths(index: str) -> list[float]:
    return [float(text) for text in re.findall(r"#EXTINF:([\d.]+)", index)]


def frames(path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        for packet in container.demux():
            for _ in packet.decode():
                counts[packet.stream.type] = counts.get(packet.stream.type, 0) + 1
    return counts


def params(**members: Any) -> RecordParams:
    return RecordParams(record_mode=1, **members)


def test_the_index_is_as_the_documents_show_it(tmp_path: Path) -> None:
    room, camera = Room(tmp_path), Camera("v", 64, 48)
    room.follow({ANN: ({}, {"v": False})})
    room.play(25, camera)
    room.close()
    names = [event.name for event in room.events if isinstance(event, FileOpened)]
    assert room.index(ANN, "video").splitlines()[:6] == [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        "#EXT-X-ALLOW-CACHE:NO",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-TARGETDURATION:11",
        f"#EXT-X-TRTC-START-REC-TIME:{START // 1000}",
    ]
    assert "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:64 HEIGHT:48" in room.index(ANN, "video").splitlines()[6]
    assert names == re.findall(r"^1400.*\.ts$", room.index(ANN, "video"), re.M)
    assert "DISCONTINUITY" not in room.index(ANN, "video")
    assert names[0] == f"{stem(ANN)}_video_20210531014551884.ts"
    assert frames(room.path(ANN, "video")) == {"video": 250}


def test_a_keyframe_is_asked_for_where_a_segment_could_end(tmp_path: Path) -> None:
    room, camera = Room(tmp_path), Camera("v")
    room.follow({ANN: ({}, {"v": False})})
    room.play(32, camera)
    room.close()
    assert room.wishes[0] == SubscriptionWanted("v", True)
    *whole, last = lengths(room.index(ANN, "video"))
    assert len(whole) == 3
    assert all(10 <= length < 11 for length in whole)
    assert last < 2
    assert room.wishes.count(KeyframeWanted("v")) <= 5


def test_sound_begins_with_the_first_packet_and_ends_with_the_mute(tmp_path: Path) -> None:
    room, microphone = Room(tmp_path), Microphone("a")
    room.play(1)
    room.follow({ANN: ({"a": False}, {})})
    room.play(3, microphone)
    room.follow({ANN: ({"a": True}, {})})
    room.play(7)
    room.follow({ANN: ({"a": False}, {})})
    room.play(8, microphone)
    room.close()
    index = room.index(ANN, "audio")
    assert f"START-REC-TIME:{START // 1000 + 1000}" in index
    assert lengths(index) == [pytest.approx(2, abs=0.05), pytest.approx(1, abs=0.05)]
    assert index.count("#EXT-X-DISCONTINUITY\n") == 1
    assert "METADATA" not in index
    second = [event for event in room.events if isinstance(event, FileClosed) and event.kind == "segment"][1]
    assert abs(second.begin_ms - START // 1000 - 7000) <= 1
    assert second.track_type == "audio"
    assert list(frames(room.path(ANN, "audio"))) == ["audio"]


def test_a_mute_shorter_than_the_wait_leaves_no_trace(tmp_path: Path) -> None:
    room, microphone = Room(tmp_path), Microphone("a")
    room.follow({ANN: ({"a": False}, {})})
    room.play(2, microphone)
    room.follow({ANN: ({"a": True}, {})})
    room.play(2.2)
    room.follow({ANN: ({"a": False}, {})})
    room.play(4, microphone)
    room.close()
    assert len(lengths(room.index(ANN, "audio"))) == 1


def test_who_comes_back_goes_on_in_the_same_index(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.follow({ANN: ({}, {"v": False})})
    room.play(2, Camera("v"))
    room.follow({})
    room.play(5)
    room.follow({ANN: ({}, {"w": False})})
    room.play(6, Camera("w"))
    room.close()
    assert room.indexes() == {f"{stem(ANN)}_video.m3u8"}
    assert lengths(room.index(ANN, "video")) == [pytest.approx(2, abs=0.1), pytest.approx(1, abs=0.1)]
    assert room.index(ANN, "video").count("DISCONTINUITY") == 1
    assert frames(room.path(ANN, "video")) == {"video": 30}


def test_what_left_is_closed_while_the_recording_goes_on(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.follow({ANN: ({}, {"v": False})})
    room.play(2, Camera("v"))
    room.follow({})
    room.play(3)
    assert [event.kind for event in room.events if isinstance(event, FileClosed)] == ["segment", "index"]
    assert "ENDLIST" not in room.index(ANN, "video")
    room.close()
    assert room.index(ANN, "video").endswith("#EXT-X-ENDLIST\n")


def test_another_size_begins_a_segment_of_its_own(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.follow({ANN: ({}, {"v": False})})
    room.play(2, Camera("v", 64, 48))
    room.play(4, Camera("v", 128, 96))
    room.close()
    index = room.index(ANN, "video")
    assert re.findall(r"WIDTH:(\d+) HEIGHT:(\d+)", index) == [("64", "48"), ("128", "96")]
    assert index.index("DISCONTINUITY") < index.index("WIDTH:128")
    assert lengths(index) == [2.0, 2.0]
    (facts,) = load_all_facts(tmp_path)
    (product,) = make_whole(sources(tmp_path), tmp_path, facts.names)
    assert frames(tmp_path / product.name) == {"video": 40}


def test_after_a_loss_nothing_comes_until_the_keyframe_that_was_asked_for(tmp_path: Path) -> None:
    room, camera = Room(tmp_path), Camera("v")
    room.follow({ANN: ({}, {"v": False})})
    room.play(1, camera)
    camera.loses = True
    room.play(3, camera)
    room.close()
    assert KeyframeWanted("v") in room.wishes
    count = frames(room.path(ANN, "video"))["video"]
    assert 20 <= count < 30


def test_one_file_with_sound_and_pictures_where_that_is_wanted(tmp_path: Path) -> None:
    room = Room(tmp_path, params(av_merge=1))
    room.follow({ANN: ({"a": False}, {"v": False})})
    camera, microphone = Camera("v"), Microphone("a")
    room.play(3, microphone, camera)
    room.follow({ANN: ({"a": True}, {"v": False})})
    room.play(6, camera)
    room.follow({ANN: ({"a": True}, {"v": True})})
    room.play(8)
    room.follow({ANN: ({"a": False}, {"v": True})})
    room.play(10, microphone)
    room.follow({ANN: ({"a": False}, {"v": False})})
    room.play(13, microphone, camera)
    room.close()
    assert room.indexes() == {f"{stem(ANN)}_audiovideo.m3u8"}
    index = room.index(ANN, "audiovideo")
    assert lengths(index) == [
        pytest.approx(6, abs=0.1),
        pytest.approx(2, abs=0.2),
        pytest.approx(3, abs=0.2),
    ]
    assert index.count("DISCONTINUITY") == 2
    segments = [tmp_path / event.name for event in room.events if isinstance(event, FileOpened)]
    assert [sorted(frames(path)) for path in segments] == [["audio", "video"], ["audio"], ["audio", "video"]]
    assert frames(segments[0])["audio"] == pytest.approx(6 * 48_000 / 1024, abs=3)


@pytest.mark.parametrize(("stream_type", "media"), [(1, "audio"), (2, "video")])
@pytest.mark.parametrize("av_merge", [0, 1])
def test_only_what_is_wanted_is_recorded(tmp_path: Path, stream_type: int, media: str, av_merge: int) -> None:
    room = Room(tmp_path, params(stream_type=stream_type, av_merge=av_merge))
    room.follow({ANN: ({"a": False}, {"v": False})})
    room.play(1, Microphone("a"), Camera("v"))
    room.close()
    assert room.indexes() == {f"{stem(ANN)}_{media}.m3u8"}


def test_camera_and_screen_are_two_streams(tmp_path: Path) -> None:
    def track(track_id: str, kind: Any, source: Any, user_id: str = "ann") -> RemoteTrack:
        return RemoteTrack(track_id, user_id, kind, source, False)

    streams = grouped(
        {"a": track("a", "audio", "microphone"), "sa": track("sa", "audio", "screen_share_audio")},
        {"v": track("v", "video", "camera"), "s": track("s", "video", "screen_share")},
    )
    assert streams == {ANN: ({"a": False}, {"v": False}), SCREEN: ({"sa": False}, {"s": False})}
    room = Room(tmp_path)
    room.follow(streams)
    room.play(1, Microphone("a"), Camera("v"), Microphone("sa"), Camera("s", 128, 96))
    room.close()
    assert room.indexes() == {f"{stem(key)}_{media}.m3u8" for key in (ANN, SCREEN) for media in ("audio", "video")}
    assert "WIDTH:128" in room.index(SCREEN, "video")


def test_vp8_becomes_h264_and_what_is_neither_is_told(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.follow({ANN: ({}, {"v": False}), BOB: ({}, {"w": False})})
    camera = Camera("v", 64, 48, "libvpx")
    room.play(2, camera)
    camera.loses = True
    room.play(4, camera)
    other = Frame("w", b"\x12\x00\x0a\x0b", 0, START, START, True)
    room.singles.push("w", other, START + 5_000_000)
    room.singles.push("w", replace(other, keyframe=False), START + 5_000_000)
    room.close()
    assert room.notes == ["VideoConverted", "VideoNotRecorded"]
    assert room.indexes() == {f"{stem(ANN)}_video.m3u8"}
    with av.open(str(room.path(ANN, "video"))) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    assert 30 <= frames(room.path(ANN, "video"))["video"] <= 40


def test_a_killed_attempt_has_all_of_everybody_after_recovery(tmp_path: Path) -> None:
    living, dead = tmp_path / "living", tmp_path / "dead"
    room = Room(living)
    room.follow({ANN: ({"a": False}, {"v": False}), BOB: ({"b": False}, {})})
    room.play(2, Microphone("a"), Camera("v", 64, 48), Microphone("b"))
    room.play(14, Microphone("a"), Camera("v", 128, 96), Microphone("b"))
    shutil.copytree(living, dead)
    room.close()
    added = recover(dead, 5)
    assert sorted(event.kind for event in added if isinstance(event, FileClosed)) == ["index"] * 3 + ["segment"] * 3
    for key, media in ((ANN, "audio"), (ANN, "video"), (BOB, "audio")):
        index = dead / f"{stem(key)}_{media}.m3u8"
        assert index.read_text().endswith("#EXT-X-ENDLIST\n")
        assert 13 < sum(lengths(index.read_text())) < 14.1
        assert list(frames(index)) == [media]
    video = (dead / f"{stem(ANN)}_video.m3u8").read_text()
    assert re.findall(r"WIDTH:(\d+)", video) == ["64", "128"]
    assert video.count("DISCONTINUITY") == 1
    assert recover(dead, 6) == []


def test_the_whole_has_sound_and_pictures_of_all_attempts_at_their_moments(tmp_path: Path) -> None:
    found = []
    for attempt in (0, 1):
        room = Room(tmp_path / str(attempt), attempt=attempt)
        room.now = attempt * 10.0
        room.follow({ANN: ({"a": False}, {"v": False})})
        room.play(attempt * 10 + 1, Microphone("a"))
        room.play(attempt * 10 + 4, Microphone("a"), Camera("v"))
        room.close()
        found += sources(room.directory)
    (product,) = make_whole(found, tmp_path, FileNames(1400, True, "77", 1, "ann", "main", "audio"))
    assert (product.name, product.track_type) == (f"{stem(ANN)}.mp4", "audio_video")
    assert abs(product.begin_ms - START // 1000) <= 1
    assert abs(product.end_ms - product.begin_ms - 14_000) < 100
    with av.open(str(tmp_path / product.name)) as container:
        seen = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert abs(seen[0] - 1) < 0.03
    assert abs(seen[30] - 11) < 0.03
    assert len(seen) == 60


def test_an_aac_file_is_silent_where_nobody_spoke(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for begin in (0, 10):
        room.play(begin)
        room.follow({ANN: ({"a": False}, {})})
        room.play(begin + 2, Microphone("a"))
        room.follow({ANN: ({"a": True}, {})})
    room.play(13)
    room.close()
    (facts,) = load_all_facts(tmp_path)
    (product,) = make_whole(sources(tmp_path), tmp_path, facts.names, extension="aac")
    assert product.name == f"{stem(ANN)}.aac"
    assert abs(product.end_ms - product.begin_ms - 12_000) < 100
    assert abs(frames(tmp_path / product.name)["audio"] - 12 * 48_000 / 1024) < 4


def test_who_left_costs_nothing_and_may_come_back(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for number in range(20):
        room.follow({StreamKey(f"user{number}", "main"): ({"a": False}, {})})
        room.play(room.now + 0.4, Microphone("a"))
    room.follow({})
    room.play(room.now + 1)
    assert not room.singles._active
    room.follow({StreamKey("user0", "main"): ({"a": False}, {})})
    room.play(room.now + 1, Microphone("a"))
    room.close()
    assert len(room.indexes()) == 20
    assert len(lengths(room.index(StreamKey("user0", "main"), "audio"))) == 2


def test_twenty_five_people_at_once_share_one_flushing_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    room = Room(tmp_path)
    keys = [StreamKey(f"user{number}", "main") for number in range(25)]
    room.follow({key: ({f"a-{key.user_id}": False}, {f"v-{key.user_id}": False}) for key in keys})
    room.play(
        1,
        *(Microphone(f"a-{key.user_id}") for key in keys),
        *(Camera(f"v-{key.user_id}") for key in keys),
    )
    assert threading.active_count() <= before + 1
    room.close()
    assert len(room.indexes()) == 50
    assert len(load_all_facts(tmp_path)) == 50


def test_frames_of_nobody_are_ignored(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.follow({ANN: NOTHING})
    room.play(1, Microphone("stranger"))
    room.singles.lost("stranger")
    room.close()
    assert room.events == []
