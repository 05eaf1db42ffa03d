"""The files of a relay, from the packets that go out: names, kinds, codecs, a disk that is slow or full."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from rtcloud.clock import SystemClock
from rtcloud.egress.publishing import recorder as recorders
from rtcloud.egress.publishing.recorder import FileRecorder, file_names, make_products
from rtcloud.egress.publishing.request import RelayRequest
from rtcloud.egress.recording import hls
from rtcloud.egress.recording.facts import load_facts
from rtcloud.egress.recording.recovery import recover
from rtcloud.mixer.encoding import AacEncoder, EncodedPacket, VideoCodec, VideoEncoder
from rtcloud.mixer.form import MixFormat
from rtcloud.tasks.journal import Journal, read_journal
from rtcloud.tasks.protocol import FileClosed, FileOpened, Noted, Order
from tests.kit.waiting import wait_until

BEGIN_US = 1_622_425_551_884_000
WIDTH, HEIGHT, FPS = 160, 90, 10
STORAGE = {"Vendor": 0, "Region": "r", "Bucket": "b"}
VIDEO = {"VideoEncode": {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 200, "Gop": 2}}
SINGLE: dict[str, Any] = {
    "WithTranscoding": 0,
    "SingleSubscribeParams": {
        "UserMediaStream": {"UserInfo": {"UserId": "1686119", "RoomId": "77"}, "StreamType": 1},
    },
}


def request(*formats: str, stream_type: int = 0, minutes: int = 1440, **members: Any) -> RelayRequest:
    recording = {
        "RecordFormat": formats,
        "StreamType": stream_type,
        "MaxMediaFileDuration": minutes,
        "McuStorageParams": {"CloudStorage": STORAGE},
    }
    given = {
        "SdkAppId": 1400,
        "RoomId": "77",
        "AgentParams": {"UserId": "robot"},
        "AudioParams": {},
        "VideoParams": VIDEO,
        "RecordParams": recording,
    }
    return msgspec.convert(given | members, RelayRequest)


def packets(seconds: int, *, codec: VideoCodec = "h264") -> Iterator[EncodedPacket]:
    form = MixFormat(
        width=WIDTH, height=HEIGHT, fps=FPS, video_bitrate=200_000, gop_seconds=2,
        sample_rate=48_000, channels=2, audio_bitrate=64_000,
    )  # fmt: skip
    video, audio = VideoEncoder(codec, form), AacEncoder(48_000, 2, 64_000)
    black = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).reformat(format="yuv420p")
    for tick in range(seconds * FPS):
        made = audio.encode(np.zeros((2, 4800), np.float32), tick * 4800)
        yield from video.encode(black, tick, tick % (2 * FPS) == 0)
        yield from made


class Shell:
    """What ``make_products`` sees of a job, and the journal that recovery and products read."""

    def __init__(self, directory: Path, attempt: int = 0) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.clock = SystemClock()
        self.reports: list[Any] = []
        self.order = Order(
            task_id="T", kind="relay", attempt=attempt, sdk_app_id=1400, numeric=True, room_id="77", user_id="robot",
            signal_url="", token="", spool=str(directory), params=msgspec.Raw(b"{}"),
        )  # fmt: skip
        self._lock = threading.Lock()

    def report(self, event: Any) -> None:
        with self._lock, Journal(self.directory) as journal:
            journal.append(event)
            self.reports.append(event)

    async def reported(self) -> None:
        """It is, always."""

    def record(self, asked: RelayRequest, seconds: int = 4, *, codec: VideoCodec = "h264") -> "Shell":
        recorder = FileRecorder(asked, self.order, self.directory, self.report, self.clock)
        for packet in packets(seconds, codec=codec):
            recorder.put(packet, BEGIN_US + packet.time * 100 // 9)
        recorder.close(seconds * 90_000)
        return self

    def finish(self, asked: RelayRequest) -> list[FileClosed]:
        asyncio.run(make_products(self, asked))  # type: ignore[arg-type]
        return [event for event in self.reports if isinstance(event, FileClosed) and event.kind == "mp4"]

    def closed(self, kind: str) -> list[FileClosed]:
        return [event for event in self.reports if isinstance(event, FileClosed) and event.kind == kind]


def streams(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        names = [stream.codec_context.name for stream in container.streams]
        for packet in container.demux():
            packet.decode()
    return names


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_mix_is_written_as_it_goes_out(tmp_path: Path, codec: VideoCodec) -> None:
    asked = request("hls", "mp4", VideoCodec=codec)
    shell = Shell(tmp_path / "0").record(asked, codec=codec)
    (index,) = shell.closed("index")
    assert index.name == "1400_77.m3u8"
    assert (index.user_id, index.track_type, index.media_id) == ("", "audio_video", "mix")
    assert index.begin_ms == BEGIN_US // 1000
    (product,) = shell.finish(asked)
    assert (product.name, product.track_type) == ("1400_77.mp4", "audio_video")
    assert sorted(streams(tmp_path / "0" / product.name)) == ["aac", "hevc" if codec == "h265" else "h264"]
    assert abs(product.end_ms - product.begin_ms - 4_000) < 200


@pytest.mark.parametrize(
    ("stream_type", "members", "expected"),
    [
        (1, {}, ["aac"]),
        (2, {}, ["h264"]),
        (0, {"VideoParams": None}, ["aac"]),
        (0, {"AudioParams": None}, ["h264"]),
    ],
)
def test_only_what_is_relayed_and_wanted_is_recorded(
    tmp_path: Path, stream_type: int, members: dict[str, Any], expected: list[str]
) -> None:
    asked = request("mp4", stream_type=stream_type, **members)
    shell = Shell(tmp_path / "0").record(asked)
    (product,) = shell.finish(asked)
    assert product.track_type == ("audio" if expected == ["aac"] else "video")
    assert streams(tmp_path / "0" / product.name) == expected


def test_what_is_fed_back_beside_is_not_in_the_files(tmp_path: Path) -> None:
    asked = request("hls")
    shell = Shell(tmp_path / "0")
    recorder = FileRecorder(asked, shell.order, shell.directory, shell.report, shell.clock)
    recorder.put(EncodedPacket("audio", b"opus", 0, True, "opus"), BEGIN_US)
    recorder.put(EncodedPacket("video", b"other", 0, True, "h265"), BEGIN_US)
    recorder.close(90_000)
    assert shell.reports == []


def test_the_files_of_a_single_stream_carry_whose_it_is_and_learn_its_size(tmp_path: Path) -> None:
    asked = request("hls", "mp4", **SINGLE)
    shell = Shell(tmp_path / "0").record(asked)
    (index,) = shell.closed("index")
    stem = "1400_77_UserId_s_MTY4NjExOQ.._UserId_e_aux"
    assert index.name == f"{stem}_audiovideo.m3u8"
    assert (index.user_id, index.media_id) == ("1686119", "aux")
    assert f"WIDTH:{WIDTH} HEIGHT:{HEIGHT}" in (tmp_path / "0" / index.name).read_text()
    facts = load_facts(tmp_path / "0")
    assert facts is not None
    assert facts.tracks.width == WIDTH
    (product,) = shell.finish(asked)
    assert (product.name, product.user_id, product.media_id) == (f"{stem}.mp4", "1686119", "aux")


def test_the_whole_holds_all_attempts(tmp_path: Path) -> None:
    asked = request("aac")
    Shell(tmp_path / "0").record(asked)
    second = Shell(tmp_path / "1", attempt=1).record(asked)
    assert [event.name for event in second.closed("index")] == ["ha1_1400_77.m3u8"]
    third = Shell(tmp_path / "2", attempt=2)
    (product,) = third.finish(asked)
    assert (product.name, product.track_type) == ("1400_77.aac", "audio")


def test_a_relay_that_is_not_recorded_makes_nothing_and_one_without_media_says_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "0")
    assert shell.finish(request(RecordParams=None)) == []
    assert shell.reports == []
    assert shell.finish(request("mp4")) == []
    assert [event.code for event in shell.reports if isinstance(event, Noted)] == ["NothingRecorded"]


def test_a_disk_that_stands_still_holds_nobody_up_and_costs_no_more_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, goes_on = request("hls"), threading.Event()
    monkeypatch.setattr(recorders, "MAX_WAITING_BYTES", 20_000)
    written: list[EncodedPacket] = []

    def write(self: hls.HlsWriter, packet: EncodedPacket) -> None:
        goes_on.wait()
        written.append(packet)

    monkeypatch.setattr(hls.HlsWriter, "write", write)
    shell = Shell(tmp_path / "0")
    recorder = FileRecorder(asked, shell.order, shell.directory, shell.report, shell.clock)
    for number in range(100):
        recorder.put(EncodedPacket("video", bytes(1_000), number, number % 10 == 0, "h264"), BEGIN_US)
    goes_on.set()
    recorder.close(100)
    assert [packet.time for packet in written] == list(range(20))


def test_a_full_disk_is_told_to_the_relay_which_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = threading.Event()

    def refuse(self: hls.HlsWriter, packet: EncodedPacket) -> None:
        tried.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hls.HlsWriter, "write", refuse)
    shell = Shell(tmp_path / "0")
    recorder = FileRecorder(request("hls"), shell.order, shell.directory, shell.report, shell.clock)
    recorder.put(EncodedPacket("video", b"x", 0, True, "h264"), BEGIN_US)
    assert tried.wait(10)
    with pytest.raises(OSError, match="No space left"):
        recorder.close(1)
    with pytest.raises(OSError, match="No space left"):
        recorder.put(EncodedPacket("video", b"x", 1, True, "h264"), BEGIN_US)


def test_what_was_recorded_until_the_disk_was_full_is_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, seconds = request("hls", "mp4"), 7
    shell, write, is_full = Shell(tmp_path / "0"), os.write, threading.Event()

    def write_while_there_is_room(descriptor: int, data: bytes) -> int:
        if is_full.is_set():
            write(descriptor, data[:100])  # as much as there was room for
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    recorder = FileRecorder(asked, shell.order, shell.directory, shell.report, shell.clock)
    *written, last = packets(seconds)
    for packet in written:
        recorder.put(packet, BEGIN_US + packet.time * 100 // 9)
    wait_until(lambda: recorder._waiting == 0, "all is written", 10)
    monkeypatch.setattr(os, "write", write_while_there_is_room)
    is_full.set()
    recorder.put(last, BEGIN_US + last.time * 100 // 9)
    with pytest.raises(OSError, match="No space left"):
        recorder.close(seconds * 90_000)
    is_full.clear()
    (left,) = shell.directory.glob("*.ts")
    assert left.stat().st_size % 188 == 0
    (product,) = shell.finish(asked)
    assert abs(product.end_ms - product.begin_ms - seconds * 1000) < 500
    (segment,) = shell.closed("segment")
    (index,) = shell.closed("index")
    text = (shell.directory / index.name).read_text()
    assert segment.name in text
    assert "#EXT-X-ENDLIST" in text
    assert (shell.directory / segment.name).stat().st_size == segment.size
    assert streams(shell.directory / product.name) == ["h264", "aac"]
    reported = len(shell.reports)
    recover(shell.directory, 0)
    assert len(read_journal(shell.directory)) == reported


def test_a_single_streams_names_follow_what_is_recorded_of_it() -> None:
    assert file_names(request("hls", stream_type=1, **SINGLE), 0).index.endswith("_aux_audio.m3u8")
    assert file_names(request("hls", stream_type=2, **SINGLE), 1).index.startswith("ha1_")
    assert file_names(request("hls"), 0).user_id == ""


def test_segments_open_before_they_close(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "0").record(request("hls"), seconds=12)
    kinds = [type(event) for event in shell.reports if event.name.endswith(".ts")]
    assert kinds == [FileOpened, FileClosed, FileOpened, FileClosed]
