"""The whole recorder job with every stream for itself: what is in whose files, and when."""

import asyncio
import re
from pathlib import Path
from typing import Any

import av
import pytest

from rtcloud.clock import SystemClock
from rtcloud.egress.recording.naming import encode_id
from rtcloud.recordings.names import read_name
from rtcloud.tasks.protocol import Ended, FileClosed, Left, Noted, Stop
from tests.e2e.fake_room import BLUE, RED, FakeClientRoom, Person
from tests.e2e.test_recording_job import Job, order

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.anyio,
    pytest.mark.alone,  # the people talk by the clock on the wall, and are found in the files to 60 ms
]


def single(spool: Path, **record: Any) -> Any:
    return order(spool, RecordMode=1, **record)


async def record(job: Job, until: float) -> None:
    running = asyncio.ensure_future(job.run())
    await job.room.until(until)
    job.tell(Stop(at_ms=SystemClock().now_ms()))
    assert await running == 0
    assert [event.leave_code for event in job.events if isinstance(event, Left)] == [0]
    assert isinstance(job.events[-1], Ended)


def stem(user_id: str, media_id: str = "main") -> str:
    return f"1400000001_3560__UserId_s_{encode_id(user_id)}__UserId_e_{media_id}"


def indexes(job: Job) -> dict[str, FileClosed]:
    """The last report of each."""
    return {event.name: event for event in job.closed("index")}


def lengths(index: Path) -> list[float]:
    return [float(text) for text in re.findall(r"#EXTINF:([\d.]+)", index.read_text())]


def played(path: Path) -> dict[str, list[float]]:
    """When each frame of a kind is shown; any error of FFmpeg is one of ours."""
    times: dict[str, list[float]] = {}
    with av.open(str(path), options={"err_detect": "explode"}) as container:
        for packet in container.demux():
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame | av.AudioFrame)
                assert frame.time is not None
                times.setdefault(packet.stream.type, []).append(frame.time)
    return times


async def test_everyones_sound_and_pictures_lie_in_files_of_their_own(tmp_path: Path) -> None:
    alice = Person("alice", RED, 440, joins=0.3, mutes=(2.0, 3.5))
    bob = Person("bob", None, 880, joins=1.0, leaves=4.0)
    recorder = Job(single(tmp_path), FakeClientRoom([alice, bob]))
    await record(recorder, 5.0)

    found = indexes(recorder)
    assert set(found) == {
        f"{stem('alice')}_audio.m3u8",
        f"{stem('alice')}_video.m3u8",
        f"{stem('bob')}_audio.m3u8",
    }
    audio, video, other = (found[name] for name in sorted(found))
    assert [(one.user_id, one.track_type, one.media_id) for one in (audio, video, other)] == [
        ("alice", "audio", "main"),
        ("alice", "video", "main"),
        ("bob", "audio", "main"),
    ]
    assert abs(audio.begin_ms - video.begin_ms) < 60
    assert abs(audio.begin_ms - recorder.room.start_ms - 300) < 150

    before, after = lengths(recorder.path(audio))
    assert abs(before - 1.7) < 0.2
    assert abs(after - 1.5) < 0.2
    assert recorder.path(audio).read_text().count("#EXT-X-DISCONTINUITY") == 1
    assert abs(sum(lengths(recorder.path(video))) - 4.7) < 0.2
    assert "DISCONTINUITY" not in recorder.path(video).read_text()
    assert "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:160 HEIGHT:90" in recorder.path(video).read_text()
    assert abs(sum(lengths(recorder.path(other))) - 3.0) < 0.2

    segments = [event for event in recorder.closed("segment")]
    assert all((name := read_name(event.name)) and name.begin_ms == event.begin_ms for event in segments)
    seen = played(recorder.path(video))
    assert list(seen) == ["video"]
    assert abs(len(seen["video"]) - 4.7 * 30) < 8
    assert list(played(recorder.path(audio))) == ["audio"]


async def test_merged_files_and_the_mp4_hold_sound_and_pictures_together(tmp_path: Path) -> None:
    carol = Person("carol", BLUE, 440, joins=0.3, flashes=(1.5, 2.5))
    recorder = Job(single(tmp_path, AvMerge=1), FakeClientRoom([carol]))
    await record(recorder, 4.0)
    (index,) = indexes(recorder).values()
    assert index.name == f"{stem('carol')}_audiovideo.m3u8"
    assert index.track_type == "audio_video"
    (mp4,) = recorder.closed("mp4")
    assert (mp4.name, mp4.user_id, mp4.track_type, mp4.media_id) == (
        f"{stem('carol')}.mp4",
        "carol",
        "audio_video",
        "main",
    )
    for file in (index, mp4):
        times = played(recorder.path(file))
        assert abs(times["video"][0] - times["audio"][0]) < 0.06
        assert abs(times["video"][-1] - times["audio"][-1]) < 0.2


async def test_an_mp4_brings_separate_files_together_and_vp8_is_encoded_again(tmp_path: Path) -> None:
    dave = Person("dave", RED, 440, codec="libvpx", joins=0.2)
    erin = Person("erin", None, 600, joins=0.5)
    recorder = Job(single(tmp_path, OutputFormat=3), FakeClientRoom([dave, erin]))
    await record(recorder, 3.0)
    assert [event.code for event in recorder.events if isinstance(event, Noted)] == ["VideoConverted"]
    by_user = {file.user_id: file for file in recorder.closed("mp4")}
    assert {user_id: file.track_type for user_id, file in by_user.items()} == {"dave": "audio_video", "erin": "audio"}
    times = played(recorder.path(by_user["dave"]))
    assert set(times) == {"audio", "video"}
    assert abs(len(times["video"]) - 2.8 * 30) < 8
