"""Segments, index and MP4 as a player meets them, whole and after a sudden death."""

import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from rtcloud.egress.recording.facts import AttemptFacts
from rtcloud.egress.recording.hls import UNKNOWN, HlsWriter, Segment, Tracks, render_index
from rtcloud.egress.recording.mp4 import UNFINISHED, make_whole
from rtcloud.egress.recording.mpegts import PACKET, TsMuxer
from rtcloud.egress.recording.naming import FileNames
from rtcloud.egress.recording.recovery import measure_ms, recover, sources
from rtcloud.mixer.audio import BLOCK
from rtcloud.mixer.encoding import AacEncoder, EncodedPacket, VideoCodec, VideoEncoder
from rtcloud.mixer.form import MixFormat
from rtcloud.tasks.journal import Journal, read_journal
from rtcloud.tasks.protocol import FileClosed, FileOpened
from tests.kit.disk import SmallDisk

BEGIN_MS = 1_622_425_551_884
WIDTH, HEIGHT, FPS = 160, 90, 10
NAMES = FileNames(1400123456, True, "12345")


def encode(
    seconds: float, *, video: bool = True, audio: bool = True, codec: VideoCodec = "h264"
) -> Iterator[EncodedPacket]:
    """Ten seconds between keyframes; sound and picture interleaved as the mixer does it."""
    form = MixFormat(
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        video_bitrate=200_000,
        gop_seconds=10,
        sample_rate=48_000,
        channels=2,
        audio_bitrate=64_000,
    )
    encoder = VideoEncoder(codec, form)
    black = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).reformat(format="yuv420p")
    aac = AacEncoder(48_000, 2, 64_000)
    blocks = 0
    for tick in range(round(seconds * FPS)):
        while audio and (blocks + 1) * BLOCK <= (tick + 1) * 48_000 // FPS:
            yield from aac.encode(np.zeros((2, BLOCK), np.float32), blocks * BLOCK)
            blocks += 1
        if video:
            yield from encoder.encode(black, tick, tick % (10 * FPS) == 0)
    if audio:
        yield from aac.flush()


class Attempt:
    """An attempt's directory, written the way a job does."""

    def __init__(
        self, directory: Path, *, attempt: int = 0, begin_ms: int = BEGIN_MS, tracks: Tracks | None = None
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.names = FileNames(NAMES.sdk_app_id, NAMES.numeric, NAMES.room_id, attempt)
        self.tracks = tracks or Tracks(width=WIDTH, height=HEIGHT, sample_rate=48_000, channels=2)
        self.events: list[FileOpened | FileClosed] = []
        AttemptFacts(names=self.names, tracks=self.tracks, begin_ms=begin_ms, keep=True).save(directory)
        self.journal = Journal(directory)
        self.writer = HlsWriter(
            directory, self.names, self.tracks, begin_ms, self._report, keep=True, now_ms=lambda: begin_ms
        )

    def _report(self, event: FileOpened | FileClosed) -> None:
        self.journal.append(event)
        self.events.append(event)

    def record(self, seconds: float, *, video: bool = True, audio: bool = True, codec: VideoCodec = "h264") -> None:
        for packet in encode(seconds, video=video, audio=audio, codec=codec):
            self.writer.write(packet)

    def close(self, seconds: float) -> None:
        self.writer.close(round(seconds * 90_000))
        self.journal.close()

    def kill(self, directory: Path) -> None:
        """What a killed process leaves: files as they are, a torn packet at the end, its journal, no more."""
        shutil.copytree(self.directory, directory)
        with max(directory.glob("*.ts")).open("ab") as file:
            file.write(b"\x47\x01\x00")
        self.close(0)


def decode_everything(path: Path) -> dict[str, int]:
    """Decoded frames per kind; any error of FFmpeg is one of ours."""
    counts: dict[str, int] = {}
    last: dict[str, int] = {}
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        for packet in container.demux():
            if packet.dts is None:
                continue
            kind = packet.stream.type
            assert packet.dts > last.get(kind, -1), "times go forward across segments"
            last[kind] = packet.dts
            for _ in packet.decode():
                counts[kind] = counts.get(kind, 0) + 1
    return counts


def test_index_is_as_documented() -> None:
    segments = [Segment("a.ts", 0, 12_074), Segment("b.ts", 12_074, 23_975)]
    assert render_index(1_622_425_551_884, Tracks(width=1920, height=1080), segments, ended=True).decode() == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:3\n"
        "#EXT-X-ALLOW-CACHE:NO\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-TARGETDURATION:13\n"
        "#EXT-X-TRTC-START-REC-TIME:1622425551884\n"
        "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:1920 HEIGHT:1080\n"
        "#EXTINF:12.074\n"
        "a.ts\n"
        "#EXTINF:11.901\n"
        "b.ts\n"
        "#EXT-X-ENDLIST\n"
    )
    assert b"METADATA" not in render_index(0, Tracks(sample_rate=48_000, channels=2), segments, ended=False)


def test_segments_start_at_keyframes_and_play_from_first_to_last(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "0")
    attempt.record(25)
    attempt.close(25)
    closed = [event for event in attempt.events if isinstance(event, FileClosed) and event.kind == "segment"]
    assert [event.end_ms - event.begin_ms for event in closed] == [10_000, 10_000, 5_000]
    assert closed[0].name == "1400123456_12345_20210531014551884.ts"
    assert [event.kind for event in attempt.events] == ["segment", "segment", "index"] * 3
    for event in closed:
        path = attempt.directory / event.name
        assert path.stat().st_size == event.size
        assert event.size % PACKET == 0
        assert decode_everything(path)["video"] == (event.end_ms - event.begin_ms) * FPS // 1000
    counts = decode_everything(attempt.directory / attempt.names.index)
    assert counts["video"] == 250
    assert abs(counts["audio"] - 25 * 48_000 / 1024) <= 2


def test_continuity_counters_run_on_across_segments(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "0")
    attempt.record(21)
    attempt.close(21)
    counters: dict[int, int] = {}
    for path in sorted(attempt.directory.glob("*.ts")):
        data = path.read_bytes()
        for at in range(0, len(data), PACKET):
            assert data[at] == 0x47
            pid = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
            assert data[at + 3] & 15 == (counters.get(pid, data[at + 3] - 1) + 1) & 15
            counters[pid] = data[at + 3] & 15


@pytest.mark.parametrize(
    "size", [1, 100, 140, 141, 146, 147, 157, 158, 165, 166, 167, 168, 169, 170, 182, 183, 184, 350, 70_000]
)
def test_every_unit_fills_whole_packets(size: int) -> None:
    muxer = TsMuxer(video=True, sample_rate=48_000, channels=2)
    sound = min(size, 6_000)
    unit = b"\0\0\0\1\x09\xf0" + bytes(size)
    for data, carried in (
        (muxer.video(unit, 0, keyframe=True), len(unit) + 14),
        (muxer.audio(bytes(sound), 0), sound + 14 + 7),
    ):
        assert len(data) % PACKET == 0
        heads = range(0, len(data), PACKET)
        assert carried == sum(PACKET - 4 - (data[at + 4] + 1 if data[at + 3] & 0x20 else 0) for at in heads)


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
def test_one_kind_alone(tmp_path: Path, video: bool, audio: bool) -> None:
    tracks = Tracks(width=WIDTH if video else 0, height=HEIGHT, sample_rate=48_000 if audio else 0, channels=2)
    attempt = Attempt(tmp_path / "0", tracks=tracks)
    attempt.record(12, video=video, audio=audio)
    attempt.close(12)
    counts = decode_everything(attempt.directory / attempt.names.index)
    assert list(counts) == (["video"] if video else ["audio"])
    (product,) = make_whole(sources(attempt.directory), tmp_path, NAMES)
    assert abs(product.end_ms - product.begin_ms - 12_000) < 60


def test_a_killed_attempt_is_playable_after_recovery(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "living")
    attempt.record(14)
    dead = tmp_path / "dead"
    attempt.kill(dead)
    segment, index = recover(dead, 5)
    assert isinstance(segment, FileClosed)
    assert isinstance(index, FileClosed)
    assert (segment.kind, segment.name) == ("segment", "1400123456_12345_20210531014601884.ts")
    assert (index.kind, index.name) == ("index", "1400123456_12345.m3u8")
    assert 3_900 < segment.end_ms - segment.begin_ms < 4_100
    assert decode_everything(dead / "1400123456_12345.m3u8")["video"] == 140
    assert (dead / "1400123456_12345.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")
    journal = read_journal(dead)
    assert [event.sequence for event in journal] == list(range(1, len(journal) + 1))
    assert recover(dead, 6) == []


def test_whenever_an_attempt_is_killed_its_index_names_everything_and_is_reported(tmp_path: Path) -> None:
    """Before each report, when the file is there and nobody knows, and after it."""

    class Watched(Attempt):
        def _report(self, event: FileOpened | FileClosed) -> None:
            shutil.copytree(self.directory, tmp_path / f"{len(self.events)}-before")
            super()._report(event)
            shutil.copytree(self.directory, tmp_path / f"{len(self.events)}-after")

    attempt = Watched(tmp_path / "living", tracks=Tracks(sample_rate=48_000, channels=2))
    for packet in encode(31, video=False):
        attempt.writer.write(packet)
        if packet.time > 12 * 90_000 and attempt.writer.opened == 0:
            attempt.writer.pause(packet.time)
    attempt.close(31.2)
    moments = [path for path in tmp_path.iterdir() if path.name != "living" and any(path.glob("*.ts"))]
    assert len(moments) >= 8
    for directory in moments:
        recover(directory, 5)
        index = directory / attempt.names.index
        lines = index.read_text().splitlines()
        assert lines[-1] == "#EXT-X-ENDLIST", directory.name
        assert [line for line in lines if line.endswith(".ts")] == sorted(p.name for p in directory.glob("*.ts"))
        told = [event for event in read_journal(directory) if isinstance(event, FileClosed) and event.kind == "index"]
        assert told[-1].size == index.stat().st_size, directory.name
        assert recover(directory, 6) == []


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_segment_of_a_moment_is_known_for_what_it_is(tmp_path: Path, is_killed: bool) -> None:
    attempt = Attempt(tmp_path / "living", tracks=Tracks(sample_rate=48_000, channels=2))
    attempt.record(0.1, video=False)
    if is_killed:
        attempt.kill(tmp_path / "dead")
        (closed, _) = recover(tmp_path / "dead", 5)
    else:
        attempt.close(0.1)
        (closed,) = [event for event in attempt.events if isinstance(event, FileClosed) and event.kind == "segment"]
    assert isinstance(closed, FileClosed)
    segment = (tmp_path / ("dead" if is_killed else "living")) / closed.name
    assert closed.size == segment.stat().st_size
    assert decode_everything(segment)["audio"] >= 4


def test_recovering_an_attempt_without_media_or_that_ended_well_does_nothing(tmp_path: Path) -> None:
    assert recover(tmp_path, 0) == []
    attempt = Attempt(tmp_path / "0")
    attempt.record(3)
    attempt.close(3)
    assert recover(attempt.directory, 0) == []


def test_mp4_holds_all_attempts_at_their_moments(tmp_path: Path) -> None:
    first = Attempt(tmp_path / "0")
    first.record(14)
    dead = tmp_path / "killed"
    first.kill(dead)
    recover(dead, 0)
    second = Attempt(tmp_path / "1", attempt=1, begin_ms=BEGIN_MS + 18_000)
    second.record(6)
    second.close(6)
    for file in [*dead.glob("*.ts"), *second.directory.glob("*.ts")]:
        file.unlink()  # as the uploader does
    (product,) = make_whole([*sources(dead), *sources(second.directory)], tmp_path, NAMES)
    assert product.name == "1400123456_12345.mp4"
    assert product.begin_ms == BEGIN_MS
    assert abs(product.end_ms - BEGIN_MS - 24_000) < 60
    assert decode_everything(tmp_path / product.name)["video"] == 200
    with av.open(str(tmp_path / product.name)) as container:
        assert abs((container.duration or 0) / av.time_base - 24) < 0.06
    data = (tmp_path / product.name).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("extension", ["mp4", "aac"])
@pytest.mark.parametrize("kind", ["audio", "video"])
def test_an_attempt_that_died_before_its_sound_or_its_pictures_came_costs_nothing(
    tmp_path: Path, kind: str, extension: str
) -> None:
    first = Attempt(tmp_path / "0")
    first.record(0.3, audio=kind == "audio", video=kind == "video")
    dead = tmp_path / "killed"
    first.kill(dead)
    recover(dead, 0)
    second = Attempt(tmp_path / "1", attempt=1, begin_ms=BEGIN_MS + 4_000)
    second.record(6)
    second.close(6)
    (product,) = make_whole([*sources(dead), *sources(second.directory)], tmp_path, NAMES, extension=extension)
    counts = decode_everything(tmp_path / product.name)
    assert counts["audio"] >= 6 * 48_000 / 1024
    assert extension == "aac" or counts["video"] >= 6 * FPS


def test_mp4_is_split_at_a_keyframe_by_size_and_by_time(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "0")
    attempt.record(65)
    attempt.close(65)
    by_time = make_whole(sources(attempt.directory), tmp_path, NAMES, max_minutes=1)
    assert [product.name for product in by_time] == ["1400123456_12345_1.mp4", "1400123456_12345_2.mp4"]
    assert [round((product.end_ms - product.begin_ms) / 1000) for product in by_time] == [60, 5]
    assert by_time[1].begin_ms == BEGIN_MS + 60_000
    counts = [decode_everything(tmp_path / product.name) for product in by_time]
    assert [count["video"] for count in counts] == [600, 50]
    sounds = counts[0]["audio"]  # up to the keyframe, though a segment's sound is read before its pictures
    assert abs(sounds * 1024 / 48_000 - 60) < 1 / FPS
    whole = sum(product.size for product in by_time)
    by_size = make_whole(sources(attempt.directory), tmp_path, NAMES, max_bytes=whole // 3)
    assert len(by_size) >= 3
    assert all(product.size < whole // 2 for product in by_size)


@pytest.mark.parametrize("extension", ["mp4", "aac"])
def test_a_whole_that_does_not_fit_leaves_the_disk_as_it_was(tmp_path: Path, extension: str) -> None:
    attempt = Attempt(tmp_path / "0")
    attempt.record(20)
    attempt.close(20)
    (fits,) = make_whole(sources(attempt.directory), tmp_path, NAMES, extension=extension)
    with SmallDisk(tmp_path / "disk", 1) as disk:
        for leave in (0, fits.size // 2, fits.size - 100):
            disk.fill(leave=leave)
            free = disk.free
            with pytest.raises(OSError, match="No space left"):
                make_whole(sources(attempt.directory), disk.path, NAMES, extension=extension)
            assert disk.free == free
            disk.clear()
        (made,) = make_whole(sources(attempt.directory), disk.path, NAMES, extension=extension)
        assert made == fits


def test_recovery_takes_away_what_was_being_made_of_the_whole(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "0")
    attempt.record(3)
    attempt.close(3)
    left = attempt.directory / f"{UNFINISHED}1.mp4"
    left.write_bytes(b"x")
    recover(attempt.directory, 0)
    assert not left.exists()


def test_a_file_ends_after_a_day(tmp_path: Path) -> None:
    """A picture each half minute, a keyframe each half hour."""
    attempt = Attempt(tmp_path / "0", tracks=Tracks(width=WIDTH, height=HEIGHT))
    keyframe, *others = (packet for packet in encode(6, audio=False))
    for number in range(25 * 120):
        packet = others[number % 60 - 1] if number % 60 else keyframe
        attempt.writer.write(replace(packet, time=number * 30 * 90_000))
    attempt.close(25 * 3600)
    products = make_whole(sources(attempt.directory), tmp_path, NAMES)
    assert [product.begin_ms - BEGIN_MS for product in products] == [0, 24 * 3_600_000]
    assert sum(decode_everything(tmp_path / product.name)["video"] for product in products) == 25 * 120


@pytest.mark.parametrize("apart", [0, 1, 2, 100])
def test_sound_that_begins_anew_within_a_piece_costs_no_file(tmp_path: Path, apart: int) -> None:
    """What a sender says again after a moment's silence begins with the end of what was there, or nearly so."""
    attempt = Attempt(tmp_path / "0")
    packets = list(encode(2))
    again = next(packet for packet in packets if packet.kind == "audio" and packet.time > 45_000)
    packets.insert(packets.index(again) + 1, replace(again, time=again.time + apart))
    for packet in packets:
        attempt.writer.write(packet)
    attempt.close(2)
    for extension in ("mp4", "aac"):
        (product,) = make_whole(sources(tmp_path / "0"), tmp_path, NAMES, extension=extension)
        counts = decode_everything(tmp_path / product.name)
        sounds = sum(packet.kind == "audio" for packet in packets)
        assert counts["audio"] == pytest.approx(sounds - 1, abs=1)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_file_ends_before_two_gigabytes(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "0", tracks=Tracks(width=WIDTH, height=HEIGHT))
    filler = b"\0\0\0\1\x0c" + b"\xff" * (1 << 20) + b"\x80"
    keyframe, *others = (packet for packet in encode(10, audio=False))
    written = 2_200
    for number in range(written):
        packet = others[number % 20 - 1] if number % 20 else keyframe
        attempt.writer.write(replace(packet, data=packet.data + filler, time=number * 9_000))
    attempt.close(written // 10)
    before = _most_resident()
    products = make_whole(sources(attempt.directory), tmp_path, NAMES)
    assert _most_resident() - before < 64 << 20
    assert len(products) == 2
    assert 1_970_000_000 < products[0].size < 2_030_000_000, "to the next keyframe"
    assert products[0].end_ms - products[1].begin_ms in range(-101, 1)
    counts = []
    for product in products:
        with av.open(str(tmp_path / product.name)) as container:
            counts.append(sum(1 for packet in container.demux() if packet.size))
    assert sum(counts) == written


def _most_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_times_wrap_after_a_day_without_a_trace(tmp_path: Path) -> None:
    """MPEG's clock has 33 bits: it begins anew after 26.5 hours."""
    wrap_s = 2**33 // 90_000
    attempt = Attempt(tmp_path / "0")
    for packet in encode(20):
        attempt.writer.write(replace(packet, time=packet.time + (wrap_s - 5) * 90_000))
    attempt.close(wrap_s + 15)
    first, second = sources(attempt.directory)
    assert first.begin_ms == BEGIN_MS + (wrap_s - 5) * 1000
    (product,) = make_whole([first, second], tmp_path, NAMES, max_minutes=10**6)
    assert abs(product.end_ms - product.begin_ms - 20_000) < 60
    assert decode_everything(tmp_path / product.name)["video"] == 200


@pytest.mark.parametrize(("codec", "delimiter"), [("h264", b"\0\0\0\1\x09\xf0"), ("h265", b"\0\0\0\1\x46\x01\x50")])
def test_a_unit_without_delimiter_gets_one(codec: str, delimiter: bytes) -> None:
    def muxed(data: bytes) -> bytes:
        return TsMuxer(video=True, codec=codec).video(data, 0, keyframe=True)

    assert muxed(b"\0\0\0\1\x26picture") == muxed(delimiter + b"\0\0\0\1\x26picture")
    assert muxed(b"\0\0\1" + delimiter[4:]).count(delimiter[4:]) == 1


def test_h265_plays_as_segments_and_as_mp4(tmp_path: Path) -> None:
    tracks = Tracks(width=WIDTH, height=HEIGHT, sample_rate=48_000, channels=2, codec="h265")
    attempt = Attempt(tmp_path / "0", tracks=tracks)
    attempt.record(12, codec="h265")
    attempt.close(12)
    counts = decode_everything(attempt.directory / attempt.names.index)
    assert counts["video"] == 12 * FPS
    (product,) = make_whole(sources(attempt.directory), tmp_path, NAMES)
    with av.open(str(tmp_path / product.name)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.codec_tag) == ("hevc", "hvc1")
    assert decode_everything(tmp_path / product.name)["video"] == 12 * FPS


def test_pictures_that_come_late_or_go_away_are_in_the_files(tmp_path: Path) -> None:
    """A single stream may announce pictures and send sound only; segments do not grow for ever of it."""
    tracks = Tracks(width=UNKNOWN, height=UNKNOWN, sample_rate=48_000, channels=2)
    attempt = Attempt(tmp_path / "0", tracks=tracks)
    both = list(encode(20))
    for packet in encode(70, video=False):
        attempt.writer.write(packet)
    for packet in both:
        attempt.writer.write(replace(packet, time=packet.time + 70 * 90_000))
    attempt.close(90)
    segments = [event for event in attempt.events if isinstance(event, FileClosed) and event.kind == "segment"]
    assert max(event.end_ms - event.begin_ms for event in segments) < 31_000
    (product,) = make_whole(sources(attempt.directory), tmp_path, NAMES)
    assert (product.name, product.track_type) == ("1400123456_12345.mp4", "audio_video")
    assert abs(product.end_ms - product.begin_ms - 90_000) < 60
    assert decode_everything(tmp_path / product.name)["video"] == 20 * FPS
    with av.open(str(tmp_path / product.name)) as container:
        first = next(frame for frame in container.decode(video=0))
    assert abs((first.time or 0) - 70) < 0.1


def test_aac_alone_can_be_the_product(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path / "0")
    attempt.record(5)
    attempt.close(5)
    (product,) = make_whole(sources(attempt.directory), tmp_path, NAMES, extension="aac")
    assert product.name == "1400123456_12345.aac"
    assert list(decode_everything(tmp_path / product.name)) == ["audio"]


def test_measuring_what_is_no_media_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    path.write_bytes(b"\x47" * 10_000)
    assert measure_ms(path) == 0
