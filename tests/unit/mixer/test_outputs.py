"""What comes out of the mixer: several codecs at once, keyframes and changes of form on the way, its own messages."""

import io
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import pytest

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage
from rtcloud.mixer import layout
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.form import MixFormat
from rtcloud.mixer.layout import Rect, RenderMode
from rtcloud.mixer.mixing import Mixer, SubscriptionWanted
from rtcloud.mixer.scene import Cell, Scene
from rtcloud.mixer.timeline import AudioTimeline
from tests.unit.mixer.test_mixing import FPS, HEIGHT, SECOND, START, WIDTH, Frame, Stage, mix_format

WHOLE = Rect(0, 0, WIDTH, HEIGHT)


def decoded(packets: Sequence[EncodedPacket], codec: str) -> list[Any]:
    """Strictly: an error of the decoder is an error."""
    decoder = av.CodecContext.create("hevc" if codec == "h265" else codec, "r")
    decoder.options = {"err_detect": "explode"}
    assert isinstance(decoder, av.VideoCodecContext | av.AudioCodecContext)
    if isinstance(decoder, av.AudioCodecContext) and codec == "opus":
        decoder.sample_rate, decoder.layout = 48_000, "stereo"
    frames: list[Any] = [
        frame for packet in packets if packet.codec == codec for frame in decoder.decode(av.Packet(packet.data))
    ]
    return [*frames, *decoder.decode(None)]


def tones(mixer: Mixer, track_id: str, seconds: float, amplitude: int = 9000, begin_us: int = START) -> None:
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    for index in range(round(seconds * 50)):
        times = (index * 960 + np.arange(960)) / 48_000
        block = av.AudioFrame.from_ndarray(
            (amplitude * np.sin(2 * np.pi * 500 * times)).astype(np.int16)[None, :], format="s16", layout="mono"
        )
        block.sample_rate, block.pts = 48_000, index * 960
        for packet in encoder.encode(block):
            now = begin_us + index * 20_000
            mixer.push(track_id, Frame(bytes(packet), index * 960, now, now, True), now)


def times(packets: Sequence[EncodedPacket], codec: str) -> list[int]:
    return [packet.time for packet in packets if packet.codec == codec]


@pytest.mark.parametrize("profile", ["main", "baseline"])
def test_every_codec_carries_the_same_picture_and_sound_at_the_same_time(profile: Any) -> None:
    stage = Stage(mix_format(video_codecs=("h264", "h265"), audio_codecs=("aac", "opus"), profile=profile))
    stage.add("a", 120)
    stage.mixer.add_audio("sound", "a")
    stage.arrange(["a"], START)
    tones(stage.mixer, "sound", 3)
    stage.run(3)
    stage.finish()
    packets = stage.output.packets
    assert times(packets, "h264") == times(packets, "h265") == [index * 9000 for index in range(3 * FPS)]
    for codec in ("h264", "h265"):
        pictures = decoded(packets, codec)
        assert len(pictures) == 3 * FPS
        assert abs(int(pictures[-1].to_ndarray()[90, 160]) - 120) <= 4
        keyframes = [packet.time for packet in packets if packet.codec == codec and packet.keyframe]
        assert keyframes == [0, 2 * 90_000]
    assert set(np.diff(times(packets, "opus"))) == {1800}
    heard = np.concatenate([frame.to_ndarray() for frame in decoded(packets, "opus")], axis=1)
    assert abs(np.abs(heard[:, 48_000:96_000]).max() - 9000 / 32768) < 0.05


def test_each_keyframe_can_be_decoded_by_itself() -> None:
    stage = Stage(mix_format(audio=False, video_codecs=("h264", "h265"), gop_seconds=1))
    stage.add("a", 120)
    stage.arrange(["a"], START)
    stage.run(3)
    stage.finish()
    for codec in ("h264", "h265"):
        packets = [packet for packet in stage.output.packets if packet.codec == codec]
        last = max(index for index, packet in enumerate(packets) if packet.keyframe)
        assert len(decoded(packets[last:], codec)) == len(packets) - last > 5


def test_an_output_that_was_begun_runs_with_nothing_in_it() -> None:
    stage = Stage(mix_format())
    stage.mixer.begin(START)
    stage.mixer.show(Scene(layout.from_rgb(255, 255, 255)), START)
    stage.mixer.advance(START + 2 * SECOND)
    assert stage.mixer.origin_us == START
    stage.now = START + 2 * SECOND
    pictures = stage.finish()
    assert len(pictures) == 2 * FPS
    assert abs(int(pictures[-1][90, 160]) - 235) <= 3
    assert len(stage.output.of("audio")) > 80


def test_a_keyframe_is_made_when_it_is_wanted_but_not_all_the_time() -> None:
    stage = Stage(mix_format(audio=False, gop_seconds=10, segment_seconds=None))
    stage.mixer.begin(START)
    for _ in range(30):
        stage.mixer.want_keyframe()
        stage.run(0.1)
    stage.finish()
    keyframes = [packet.time for packet in stage.output.of("video") if packet.keyframe]
    assert keyframes == [index * 45_000 for index in range(6)]


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 640, "height": 360},
        {"fps": 15},
        {"fps": 7, "video_bitrate": 300_000, "width": 96, "height": 160},
        {"gop_seconds": 1},
        {"profile": "baseline", "audio_codecs": ("aac", "opus")},
        {"video_codecs": ("h264", "h265")},
    ],
)
def test_another_form_goes_on_in_time_with_a_keyframe(changes: dict[str, Any]) -> None:
    stage = Stage(mix_format())
    stage.add("a", 120)
    stage.arrange(["a"], START)
    stage.run(1.5)
    form = mix_format(**changes)
    stage.mixer.reform(form, stage.now)
    cell = Cell(Rect(0, 0, form.width, form.height), "a", mode=RenderMode.STRETCH)
    stage.mixer.show(Scene(layout.BLACK, cells=(cell,)), stage.now)
    stage.run(1.5)
    length = stage.mixer.finish(stage.now)
    packets = stage.output.packets
    for codec in ("h264", "h265", "aac", "opus"):
        assert (np.diff(times(packets, codec)) > 0).all()
    video = [packet for packet in packets if packet.codec == "h264"]
    gaps = np.diff([packet.time for packet in video])
    assert gaps.max() <= 90_000 / min(FPS, form.fps) + 1
    after = [packet for packet in video if packet.time >= 135_000]
    assert after[0].keyframe
    assert after[0].time == 135_000
    pictures = decoded(packets, "h264")
    assert len(pictures) == len(video)
    assert (pictures[-1].width, pictures[-1].height) == (form.width, form.height)
    assert abs(int(pictures[-1].to_ndarray()[form.height // 2, form.width // 2]) - 120) <= 5
    assert set(np.diff(times(packets, "aac"))) == {1920}
    for codec in (*form.video_codecs, *form.audio_codecs):
        assert times(packets, codec)
    assert abs(length - 3 * 90_000) <= 90_000 / form.fps + 1


@pytest.mark.parametrize("change", [{"audio": False}, {"sample_rate": 16_000}, {"channels": 1}, {"patience_us": 1}])
def test_what_cannot_be_changed_is_refused(change: dict[str, Any]) -> None:
    stage = Stage(mix_format())
    with pytest.raises(ValueError, match="cannot go on"):
        stage.mixer.reform(mix_format(**change), START)


def test_a_gain_is_given_without_a_click_and_shows_in_the_level() -> None:
    stage = Stage(mix_format(video=False, audio_codecs=("opus",)))
    stage.mixer.add_audio("sound", "a")
    stage.mixer.begin(START)
    tones(stage.mixer, "sound", 3, amplitude=16_000)
    stage.mixer.advance(START + 1 * SECOND)
    loud = stage.mixer.levels()
    stage.mixer.set_gain("sound", 0.1)
    stage.mixer.advance(START + 2 * SECOND)
    soft = stage.mixer.levels()
    stage.mixer.set_gain("sound", 0.0)
    stage.mixer.advance(START + 5 * SECOND // 2)
    assert stage.mixer.levels() == {"a": 0}
    assert loud["a"] - soft["a"] == pytest.approx(33, abs=2)  # 20 dB of 60
    assert loud["a"] > 80
    heard = np.concatenate([frame.to_ndarray() for frame in decoded(stage.output.packets, "opus")], axis=1)[0]
    steps = np.abs(np.diff(heard))
    assert steps.max() < 0.5 * 2 * np.pi * 500 / 48_000 * 1.2


def test_the_servers_own_messages_are_in_the_pictures_they_were_made_for() -> None:
    asked: list[tuple[bool, int]] = []
    large = bytes(range(256)) * 80

    def messages(keyframe: bool, time_ms: int) -> list[SeiMessage]:
        asked.append((keyframe, time_ms))
        return [SeiMessage(b"%d" % time_ms, 100), SeiMessage(large, 5, bytes(16)), SeiMessage(bytes(100_000))]

    form = mix_format(audio=False, video_codecs=("h264", "h265"))
    packets: list[EncodedPacket] = []
    mixer = Mixer(form, packets.append, lambda wish: None, messages=messages)
    mixer.begin(START)
    mixer.finish(START + 2 * SECOND)
    assert asked == [(index == 0, index * 100) for index in range(20)]
    for codec in ("h264", "h265"):
        pictures = [packet for packet in packets if packet.codec == codec]
        assert len(decoded(packets, codec)) == len(pictures) == 20
        for packet in pictures:
            found = sei.read(packet.data, codec=packet.codec)  # type: ignore[arg-type]
            got = [message for message in found if message.payload_type == 100 or message.uuid == bytes(16)]
            assert [message.data for message in got] == [b"%d" % (packet.time // 90), large]


def test_what_is_covered_is_given_up_once_the_cover_is_there_and_taken_back_when_it_goes() -> None:
    stage = Stage(mix_format(audio=False))
    stage.add("below", 100, 320, 180)
    stage.mixer.show(Scene(layout.BLACK, cells=(Cell(WHOLE, "below"),)), START)
    stage.run(0.5)
    assert stage.mixer.in_view() == {"below"}
    stage.add("above", 200, 320, 180)
    stage.mixer.show(Scene(layout.BLACK, cells=(Cell(WHOLE, "below"), Cell(WHOLE, "above", 1))), stage.now)
    assert SubscriptionWanted("below", False) not in stage.output.wishes
    stage.run(0.8)
    assert stage.output.wishes[-1] == SubscriptionWanted("below", False)
    assert stage.mixer.in_view() == {"above"}
    del stage.sources["above"]
    stage.mixer.remove("above", stage.now)
    stage.run(0.8)
    assert SubscriptionWanted("below", True, 320, 180) in stage.output.wishes[-8:]
    pictures = stage.finish()
    assert abs(int(pictures[4][90, 160]) - 100) <= 5
    assert abs(int(pictures[11][90, 160]) - 200) <= 5


def test_what_was_made_is_counted_and_can_be_looked_at() -> None:
    stage = Stage(mix_format())
    stage.add("a", 235)
    stage.arrange(["a"], START)
    stage.run(1.3)
    pictures, size = stage.mixer.made()
    assert pictures == len(stage.output.of("video")) == FPS
    assert size == sum(len(packet.data) for packet in stage.output.packets)
    png = stage.mixer.picture_png()
    assert png.startswith(b"\x89PNG")
    with av.open(io.BytesIO(png), "r", format="png_pipe") as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert shown[90, 160].min() > 245
    stage.finish()


def test_a_mix_without_pictures_has_none_to_look_at() -> None:
    stage = Stage(mix_format(video=False))
    stage.add("a", 100)
    stage.mixer.show(Scene(layout.BLACK, cells=(Cell(WHOLE, "a"),)), START)
    stage.mixer.want_keyframe()
    assert stage.mixer.picture_png() == b""
    assert stage.mixer.in_view() == frozenset()
    assert stage.output.wishes == []
    stage.mixer.finish(START)


def test_a_sound_clock_100_ppm_fast_stays_in_step_for_ten_minutes() -> None:
    """On the timeline alone, as nothing else moves the sound: a beep each second stays within 10 ms of its moment."""
    timeline = AudioTimeline(1)
    count, worst = 960, 0.0
    played = 0
    for index in range(30_000):
        moment = index * count / 1.0001  # where its last sample sounds, in true samples
        samples = np.zeros((1, count), np.float32)
        if index % 50 == 0:
            samples[0, 0] = 1.0
        timeline.push(round(moment), index * count & 0xFFFFFFFF, samples)
        if index < 10:
            continue
        block = timeline.read(played, count)
        if block is not None and block.max() > 0.3:
            at = played + int(block[0].argmax())
            beep = round(at * 1.0001 / count / 50) * 50
            worst = max(worst, abs(at - beep * count / 1.0001))
        played += count
    assert worst < 480
    assert timeline.jumps == 0


def test_times_hold_through_many_changes_at_once() -> None:
    stage = Stage(mix_format())
    for name, luma in (("a", 60), ("b", 120), ("c", 180)):
        stage.add(name, luma)
    dice = np.random.default_rng(7)
    stage.arrange(["a"], START)
    size = (WIDTH, HEIGHT)
    for _ in range(30):
        stage.run(0.3)
        if dice.random() < 0.4:
            size = [(WIDTH, HEIGHT), (240, 240), (480, 270 & ~1)][dice.integers(3)]
            form: MixFormat = mix_format(width=size[0], height=size[1], fps=int(dice.integers(5, 31)))
            stage.mixer.reform(form, stage.now)
        names = list(dice.permutation(["a", "b", "c"])[: dice.integers(0, 4)])
        cells = [Cell(rect, str(name)) for rect, name in zip(layout.grid(len(names), *size), names, strict=True)]
        stage.mixer.show(Scene(layout.BLACK, cells=tuple(cells)), stage.now)
    stage.mixer.finish(stage.now)
    video = times(stage.output.packets, "h264")
    assert (np.diff(video) > 0).all()
    assert np.diff(video).max() <= 18_000 + 1  # 200 ms
    assert set(np.diff(times(stage.output.packets, "aac"))) == {1920}
    assert len(decoded(stage.output.packets, "h264")) == len(video)
