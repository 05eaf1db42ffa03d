"""Every row of the guide's table of inputs: what leaves for the room is looked at and listened to."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from rtcloud.ingest import fitness
from rtcloud.ingest.media import SourcePacket
from rtcloud.ingest.pipeline import PipelineSettings
from rtcloud.mixer.timeline import RATE
from tests.kit.ingested import Outcome, ingest, level, loudest_hz
from tests.kit.media_files import Picture, every, he_aac, silent_about_order, tone, video

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "ingest-media.md"
SPECIAL = Path(__file__).parent / "test_pipeline.py"
FAST = {"preset": "ultrafast", "tune": "zerolatency"}
REALTIME = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"}
#: pictures turn white and the tone begins
FLASH_US = 500_000
FPS, SECONDS = 30, 1.0
HZ = 1000.0


def flashing(width: int, height: int, pix_fmt: str = "yuv420p", times_us: list[int] | None = None) -> Picture:
    times = times_us or every(FPS, SECONDS)
    dark, white = (
        VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8), format="rgb24").reformat(format=pix_fmt)
        for level in (40, 220)
    )
    return lambda index: white if times[index] >= FLASH_US else dark


def h264(width: int = 640, height: int = 360, pix_fmt: str = "yuv420p", **further: object) -> list[SourcePacket]:
    options = FAST | further.pop("options", {})  # type: ignore[operator]
    return video("libx264", flashing(width, height, pix_fmt), every(FPS, SECONDS), options=options, **further)  # type: ignore[arg-type]


def with_b_frames() -> list[SourcePacket]:
    return h264(b_frames=2, options={"tune": "film", "x264-params": "scenecut=0"})


def beep(encoder: str, **further: object) -> list[SourcePacket]:
    return tone(encoder, SECONDS, hz=HZ, silent=(0.0, FLASH_US / 1e6), **further)  # type: ignore[arg-type]


def other(encoder: str, pix_fmt: str = "yuv420p", **further: object) -> list[SourcePacket]:
    return video(encoder, flashing(640, 360, pix_fmt), every(FPS, SECONDS), **further)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """``size`` None: no pictures. ``sends``: pictures. ``channels`` 0: no sound."""

    make: Callable[[], list[SourcePacket]]
    how: str
    why: str = ""
    size: tuple[int, int] | None = (640, 360)
    sends: int = round(FPS * SECONDS)
    channels: int = 0
    settings: PipelineSettings = PipelineSettings()
    codec: str = "h264"
    lost: int = 0  # pictures, until it is known what the stream is

    @property
    def kind(self) -> str:
        return "video" if self.size else "audio"


def heard(make: Callable[[], list[SourcePacket]], how: str, why: str = "", channels: int = 2, volume: int = 100) -> Row:
    return Row(make, how, why, None, 0, channels, PipelineSettings(volume=volume))


def sixty() -> list[SourcePacket]:
    times = every(60, SECONDS)
    return video("libx264", flashing(640, 360, times_us=times), times, options=FAST)


def sixty_hevc() -> list[SourcePacket]:
    times = every(60, SECONDS)
    return video("libx265", flashing(640, 360, times_us=times), times, options=HEVC)


def uneven() -> list[SourcePacket]:
    """Between 8 and 50 pictures a second."""
    times = [0]
    while times[-1] < SECONDS * 1e6 - 125_000:
        times.append(times[-1] + (20_000, 125_000, 40_000, 70_000)[len(times) % 4])
    return video("libx264", flashing(640, 360, times_us=times), times, options=FAST)


HEVC = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:bframes=0"}
ROWS = {
    "H.264 without B-frames": Row(h264, "copied"),
    "H.264 with its parameter sets in the stream (MPEG-TS)": Row(lambda: h264(configured=False), "copied"),
    "H.264 with a variable frame rate": Row(uneven, "copied", sends=len(uneven())),
    "H.264, 60 pictures a second": Row(sixty, "copied", sends=60),
    "H.264, standing (1080x1920)": Row(lambda: h264(1080, 1920), "copied", size=(1080, 1920)),
    "H.264 with B-frames": Row(with_b_frames, "transcoded", fitness.B_FRAMES),
    "H.264 with B-frames that it does not announce": Row(
        lambda: silent_about_order(with_b_frames()), "transcoded", fitness.B_FRAMES, lost=2
    ),
    "H.264 with B-frames, and the application refuses them": Row(
        with_b_frames, "refused", fitness.B_FRAMES, sends=0, settings=PipelineSettings(b_frames="refuse")
    ),
    "H.264 with 10 bits per sample": Row(lambda: h264(pix_fmt="yuv420p10le"), "transcoded", "10 bits per sample"),
    "H.264 with colours 4:2:2": Row(lambda: h264(pix_fmt="yuv422p"), "transcoded", "4:2:2"),
    "H.264 interlaced": Row(
        lambda: h264(options={"x264-params": "interlaced=1", "tune": "film"}), "transcoded", "interlaced"
    ),
    "H.264 with pixels that are not square": Row(
        lambda: h264(640, 480, sar=(4, 3)), "transcoded", "pixels that are not square", size=(852, 480)
    ),
    "H.264, 4K (3840x2160)": Row(lambda: h264(3840, 2160), "transcoded", "larger than 1920x1080", size=(1920, 1080)),
    "H.264 whose size is odd": Row(lambda: h264(641, 361, pix_fmt="yuv444p"), "transcoded", "4:4:4", size=(640, 360)),
    "HEVC (H.265)": Row(lambda: other("libx265", options=HEVC), "transcoded", fitness.CODEC),
    "HEVC, 60 pictures a second": Row(sixty_hevc, "transcoded", fitness.CODEC),
    "AV1": Row(
        lambda: other("libsvtav1", options={"preset": "12", "crf": "40"}),
        "transcoded",
        fitness.CODEC,
    ),
    "VP9": Row(lambda: other("libvpx-vp9", options=REALTIME), "transcoded", fitness.CODEC),
    "MPEG-2": Row(lambda: other("mpeg2video", b_frames=2, configured=False), "transcoded", fitness.CODEC),
    "MPEG-4 part 2": Row(lambda: other("mpeg4", configured=False), "transcoded", fitness.CODEC),
    "Motion JPEG": Row(lambda: other("mjpeg", "yuvj420p", configured=False), "transcoded", fitness.CODEC),
    "VP8": Row(lambda: other("libvpx", options=REALTIME, configured=False), "copied", codec="vp8"),
    "VP8 whose size is odd": Row(
        lambda: video("libvpx", flashing(641, 361), every(FPS, SECONDS), options=REALTIME, configured=False),
        "transcoded",
        "odd size",
    ),
    "Opus": heard(lambda: beep("libopus"), "copied"),
    "Opus, mono": heard(lambda: beep("libopus", layout="mono"), "copied", channels=1),
    "Opus, another volume than 100": heard(lambda: beep("libopus"), "transcoded", "volume", volume=50),
    "Opus, 5.1": heard(lambda: beep("libopus", layout="5.1", level=0.5 / 2.41), "transcoded", "more than two channels"),
    "AAC": heard(lambda: beep("aac"), "transcoded", fitness.CODEC),
    "AAC, 44.1 kHz, mono": heard(lambda: beep("aac", rate=44_100, layout="mono"), "transcoded", fitness.CODEC, 1),
    "AAC, 5.1": heard(lambda: beep("aac", layout="5.1", level=0.5 / 2.41), "transcoded", fitness.CODEC),
    "HE-AAC": heard(lambda: he_aac(beep("aac", rate=24_000), loudness=0), "transcoded", fitness.CODEC),
    "MP3": heard(lambda: beep("libmp3lame", rate=44_100), "transcoded", fitness.CODEC),
    "G.711, 8 kHz": heard(lambda: beep("pcm_mulaw", rate=8000, layout="mono"), "transcoded", fitness.CODEC, 1),
    "AC-3": heard(lambda: beep("ac3"), "transcoded", fitness.CODEC),
    "FLAC": heard(lambda: beep("flac"), "transcoded", fitness.CODEC),
    "Vorbis": heard(lambda: beep("vorbis"), "transcoded", fitness.CODEC),
}


@pytest.mark.parametrize("name", ROWS)
def test_input(name: str) -> None:
    row = ROWS[name]
    given = row.make()
    outcome = ingest(given, row.settings)
    *_, told = outcome.handling(row.kind)
    assert (told.how, told.why) == (row.how, row.why)
    assert row.sends - row.lost <= len(outcome.video) <= row.sends
    if row.size:
        assert re.fullmatch(rf"{given[0].form.codec} \d+x\d+", told.source)
    if row.how == "refused":
        assert not outcome.packets
        return
    if row.kind == "video":
        check_pictures(outcome, row, sorted(packet.pts_us for packet in given))
    else:
        check_sound(outcome, row)


def check_pictures(outcome: Outcome, row: Row, times_us: list[int]) -> None:
    assert not outcome.audio
    assert {packet.codec for packet in outcome.video} == {row.codec}
    assert outcome.program.pictures is not None
    assert (outcome.program.pictures.width, outcome.program.pictures.height) == row.size
    seen = outcome.seen()
    assert len(outcome.video) - row.lost <= len(seen) <= len(outcome.video)
    assert {(each.width, each.height) for each in seen} == {row.size}
    flash_us = outcome.flash_us()
    before = [each.brightness for each in seen if each.time_us < flash_us]
    after = [each.brightness for each in seen if each.time_us >= flash_us]
    assert max(before) < 70
    assert min(after) > 180
    moment = next(at for at in times_us if at >= FLASH_US) - times_us[0]
    assert abs(flash_us - seen[0].time_us - moment) <= 1_000


def check_sound(outcome: Outcome, row: Row) -> None:
    assert not outcome.video
    samples, begin = outcome.heard()
    assert samples.shape[0] == row.channels
    # what decoders hold at the end is not waited for
    assert samples.shape[1] / RATE == pytest.approx(SECONDS, abs=0.06)
    assert abs(outcome.onset_us() - FLASH_US) < 25_000
    at = (FLASH_US - begin) * RATE // 1_000_000
    for channel in samples:
        tail = channel[at + RATE // 10 : at + RATE // 2]
        assert loudest_hz(tail) == pytest.approx(HZ, abs=6)
        assert level(channel[: at - RATE // 20]) < 0.01
    loud = level(samples[0][at + RATE // 10 : at + RATE // 2])
    assert loud == pytest.approx(0.5 * row.settings.volume / 100, rel=0.15)


#: rows that a test of its own looks at, in ``test_pipeline``
OTHERS = {
    "H.264 whose keyframes are more than 10 s apart": "keyframes_far_apart_are_made_when_somebody_waits_for_one",
    "H.264 whose keyframes are no beginning (open GOP)": (
        "keyframes_that_refer_to_earlier_pictures_are_no_beginning_for_anybody"
    ),
    "VP8 with hidden frames": "hidden_frames_of_vp8_are_not_given_on",
    "Video of a codec that nobody knows": "a_stream_that_nobody_can_use_is_left_out_beside_one_that_is_used",
    "Sound of a codec that nobody knows": "a_stream_that_nobody_can_use_is_left_out_beside_one_that_is_used",
    "Silent sound": "silence_is_sound_like_any_other",
    "Video without sound": "one_stream_alone_is_a_program",
    "Sound without video": "one_stream_alone_is_a_program",
    "Timestamps that jump, forward or back": "a_jump_of_both_streams_leaves_no_gap_and_no_step_between_them",
    "Timestamps in milliseconds, or that wobble": "times_that_wobble_do_not_reach_the_ear",
    "A hole in the sound": "a_hole_in_the_sound_is_silence_of_that_length",
    "Sound whose clock is wrong": "sound_whose_crystal_is_wrong_stays_with_its_times",
    "Packets that are damaged": "packets_that_do_not_decode_are_left_and_the_rest_goes_on",
    "Another size or codec on the way": "another_size_begins_at_its_keyframe",
}


def test_the_guide_has_these_rows_and_says_what_becomes_of_them() -> None:
    lines = [line.split("|")[1:3] for line in GUIDE.read_text().splitlines() if line.startswith("|")]
    rows = {name.strip(): how.strip() for name, how in lines if name.strip("- ") not in ("input", "")}
    assert rows.keys() == ROWS.keys() | OTHERS.keys()
    assert {name: rows[name] for name in ROWS} == {name: row.how for name, row in ROWS.items()}
    assert all(f"def test_{name}(" in SPECIAL.read_text() for name in OTHERS.values())
