"""What happens while a source runs: jumps, damage, another size, sudden B-frames, sound and pictures in step."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcloud.ingest import fitness, video
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket, StreamForm
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings
from rtcloud.mixer.timeline import RATE
from rtcloud.mixer.video import Plane, planes
from tests.kit.ingested import Outcome, holes, ingest, level, loudest_hz
from tests.kit.media_files import (
    brightness,
    damaged,
    every,
    grey,
    he_aac,
    in_milliseconds,
    merged,
    moved,
    silent_about_order,
    tone,
)
from tests.kit.media_files import video as pictures

FAST = {"preset": "ultrafast", "tune": "zerolatency"}


def x264(seconds: float, *, begin_us: int = 0, **further: object) -> list[SourcePacket]:
    further = {"gop": 15, "options": FAST} | further
    return pictures("libx264", grey(320, 180), every(30, seconds, begin_us), **further)  # type: ignore[arg-type]


def after(packets: Sequence[SourcePacket], at: int, by_us: int) -> list[SourcePacket]:
    """With a jump before the packet of that number."""
    return [*packets[:at], *moved(packets[at:], by_us)]


def shown(outcome: Outcome) -> list[int]:
    """Which pictures, by their brightness."""
    levels = {round(luma(brightness(index))): index for index in range(28)}
    return [levels[min(levels, key=lambda each: abs(each - seen.brightness))] for seen in outcome.seen()]


def luma(level: int) -> float:
    return 16 + level * 219 / 255


def steps(packets: Sequence[RoomPacket]) -> list[int]:
    return [b.time_us - a.time_us for a, b in zip(packets, packets[1:], strict=False)]


def test_pictures_are_the_ones_that_came_in_their_order_at_their_times() -> None:
    outcome = ingest(in_milliseconds(x264(0.8)))
    assert shown(outcome) == list(range(24))
    assert [packet.time_us for packet in outcome.video] == [at // 1000 * 1000 for at in every(30, 0.8)]
    assert [packet.keyframe for packet in outcome.video] == [index % 15 == 0 for index in range(24)]


def test_b_frames_are_put_in_order_and_keep_their_times() -> None:
    outcome = ingest(x264(0.8, b_frames=3, options={"preset": "ultrafast"}))
    assert shown(outcome) == list(range(24))
    assert steps(outcome.video) == pytest.approx([33_333] * 23, abs=2)


@pytest.mark.parametrize("jump_us", [-2_000_000, 3_600_000_000, -200_000, -60_000])
def test_a_jump_of_both_streams_leaves_no_gap_and_no_step_between_them(jump_us: int) -> None:
    flash = [grey(320, 180)(0), grey(320, 180)(27)]
    times = every(30, 4)
    lit = pictures("libx264", lambda index: flash[times[index] >= 3_000_000], times, gop=15, options=FAST)
    beep = tone("aac", 4, silent=(0, 3))
    outcome = ingest(merged_in_place(after(lit, 60, jump_us), after(beep, 93, jump_us)))
    assert all(0 < step <= 70_000 for step in steps(outcome.video))
    assert all(step == pytest.approx(20_000, abs=1) for step in steps(outcome.audio))
    assert len(outcome.video) == 120
    assert abs(outcome.flash_us() - outcome.onset_us()) <= 40_000


def merged_in_place(first: Sequence[SourcePacket], second: Sequence[SourcePacket]) -> list[SourcePacket]:
    """Interleaved by how far each is, as times may jump."""
    share = [
        (index / len(each), number, packet)
        for number, each in enumerate((first, second))
        for index, packet in enumerate(each)
    ]
    return [packet for _, _, packet in sorted(share, key=lambda item: item[:2])]


@pytest.mark.parametrize("encoder", ["aac", "libopus", "libmp3lame"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_pictures_and_sound_stay_in_step(encoder: str, b_frames: int) -> None:
    flash = [grey(320, 180)(0), grey(320, 180)(27)]
    times = every(30, 2)
    options = {"preset": "ultrafast"} if b_frames else FAST
    lit = pictures("libx264", lambda index: flash[times[index] >= 1_000_000], times, options=options, b_frames=b_frames)
    outcome = ingest(in_milliseconds(list(merged(lit, tone(encoder, 2, silent=(0, 1), rate=48_000)))))
    assert abs(outcome.flash_us() - outcome.onset_us()) <= 40_000


def test_silence_is_sound_like_any_other() -> None:
    outcome = ingest(tone("aac", 1, silent=(0, 9)))
    assert len(outcome.audio) == pytest.approx(50, abs=2)
    samples, _ = outcome.heard()
    assert level(samples[0]) < 1e-3


def test_times_that_wobble_do_not_reach_the_ear() -> None:
    """FLV has milliseconds; some muxers are worse."""
    wobbling = [
        SourcePacket(each.form, each.data, each.pts_us + shake, each.dts_us + shake)
        for index, each in enumerate(tone("aac", 3, hz=1000))
        for shake in [(-15_000, 4_000, 11_000)[index % 3]]
    ]
    outcome = ingest(in_milliseconds(wobbling))
    assert all(step == pytest.approx(20_000, abs=1) for step in steps(outcome.audio))
    samples, _ = outcome.heard()
    steady = samples[0][RATE // 5 : -RATE // 5]
    assert holes(steady, 20) == 0
    assert loudest_hz(steady) == pytest.approx(1000, abs=6)
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady))))
    peak = int(np.argmax(spectrum))
    spectrum[peak - 30 : peak + 30] = 0
    assert spectrum.max() < 0.03 * np.abs(np.fft.rfft(steady * np.hanning(len(steady)))).max()


def test_a_hole_in_the_sound_is_silence_of_that_length() -> None:
    packets = tone("aac", 2)
    outcome = ingest([each for each in packets if not 1_000_000 <= each.pts_us < 1_500_000])
    assert all(step == pytest.approx(20_000, abs=1) for step in steps(outcome.audio))
    samples, begin = outcome.heard()
    quiet = samples[0][(1_080_000 - begin) * RATE // 1_000_000 : (1_480_000 - begin) * RATE // 1_000_000]
    assert level(quiet) < 0.01
    assert level(samples[0][-RATE // 4 : -RATE // 10]) == pytest.approx(0.5, rel=0.1)


def test_sound_that_stops_for_seconds_begins_anew_at_its_time() -> None:
    packets = tone("aac", 1)
    outcome = ingest([*packets, *moved(tone("aac", 1), 2_700_000)])
    (gap,) = [step for step in steps(outcome.audio) if step > 30_000]
    assert gap == pytest.approx(1_720_000, abs=40_000)


def test_sound_whose_crystal_is_wrong_stays_with_its_times() -> None:
    """The encoder's samples come 0.1 % too slowly for its times."""
    slow = [
        SourcePacket(each.form, each.data, round(each.pts_us * 1.001), round(each.pts_us * 1.001))
        for each in tone("aac", 30, hz=1000)
    ]
    outcome = ingest(slow)
    assert all(step == pytest.approx(20_000, abs=1) for step in steps(outcome.audio))
    assert outcome.audio[-1].time_us == pytest.approx(30_030_000 - 26_500, abs=40_000)


def test_packets_that_do_not_decode_are_left_and_the_rest_goes_on() -> None:
    sound = damaged(tone("aac", 2), lambda index: index % 20 == 7)
    hevc = pictures(
        "libx265",
        grey(320, 180),
        every(30, 2),
        gop=10,
        options={"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:bframes=0"},
    )
    outcome = ingest(merged(damaged(hevc, lambda index: index == 15), sound))
    assert outcome.handling("video")[-1].how == outcome.handling("audio")[-1].how == "transcoded"
    assert len(outcome.video) >= 50
    assert len(outcome.audio) > 90


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (StreamForm("video", "quicktime-of-1991"), "no decoder"),
        (StreamForm("video", "h264", b"\1\x64\0\x1f\xff\xe0\0"), "nothing that decodes"),
        (StreamForm("video", "hevc"), "nothing that decodes"),
        (StreamForm("video", "hevc", width=12_000, height=12_000), "12000x12000 is more than is decoded"),
        (StreamForm("audio", "unheard-of"), "no decoder"),
        (StreamForm("audio", "aac", rate=48_000, channels=2), "nothing that decodes"),
    ],
)
def test_a_stream_that_nobody_can_use_is_left_out_beside_one_that_is_used(form: StreamForm, why: str) -> None:
    useless = [SourcePacket(form, b"\0\0\0\x04nope", index * 20_000, index * 20_000) for index in range(400)]
    useful = tone("libopus", 1) if form.kind == "video" else x264(1)
    outcome = ingest(merged(useless, useful))
    (told,) = outcome.handling(form.kind)
    assert told.how == "left_out"
    assert told.why.startswith(why)
    assert {packet.kind for packet in outcome.packets} == {useful[0].kind}
    assert outcome.program.pictures is None or form.kind == "audio"


def test_a_cut_finds_a_stream_that_was_left_out_as_it_was() -> None:
    pipeline, heard = Pipeline(PipelineSettings(), lambda handling: None), StreamForm("audio", "unheard-of")
    for at_us in (0, 20_000):
        assert pipeline.put(SourcePacket(heard, b"nope", at_us, at_us)) == []
        pipeline.cut()
    assert pipeline.flush() == []


def test_b_frames_of_a_container_that_says_only_when_to_decode_are_all_shown() -> None:
    """As AVI."""
    stream = x264(1, b_frames=2, options={"preset": "ultrafast"})
    outcome = ingest([SourcePacket(each.form, each.data, each.dts_us, each.dts_us, each.keyframe) for each in stream])
    assert shown(outcome)[:28] == list(range(28))
    assert len(outcome.video) == 30


def test_another_size_begins_at_its_keyframe() -> None:
    large = pictures("libx264", grey(640, 360), every(30, 0.5, 500_000), options=FAST)
    outcome = ingest([*x264(0.5), *large])
    assert [told.result for told in outcome.told] == ["h264 320x180", "h264 640x360"]
    assert [each.width for each in outcome.seen()] == [320] * 15 + [640] * 15


def test_another_size_within_a_stream_that_is_transcoded_is_told() -> None:
    options = {"deadline": "realtime", "cpu-used": "8"}
    small = pictures("libvpx-vp9", grey(320, 180), every(30, 0.5), options=options, configured=False)
    large = pictures("libvpx-vp9", grey(640, 360), every(30, 0.5, 500_000), options=options, configured=False)
    form = StreamForm("video", "vp9")
    one = [SourcePacket(form, each.data, each.pts_us, each.dts_us, each.keyframe) for each in [*small, *large]]
    outcome = ingest(one)
    assert [told.result for told in outcome.told] == ["h264 320x180", "h264 640x360"]
    assert [each.width for each in outcome.seen()] == [320] * 15 + [640] * 15


def test_b_frames_out_of_nowhere_make_no_hole_and_are_told_once() -> None:
    with_some = silent_about_order(x264(1, begin_us=1_000_000, b_frames=2, options={"preset": "ultrafast"}))
    without = silent_about_order(
        x264(1, options={"preset": "ultrafast", "profile": "main", "x264-params": "bframes=0"})
    )
    (form,) = {without[0].form}
    stream = [SourcePacket(form, each.data, each.pts_us, each.dts_us, each.keyframe) for each in without] + [
        SourcePacket(with_some[0].form, each.data, each.pts_us, each.dts_us, each.keyframe) for each in with_some
    ]
    outcome = ingest(stream)
    assert [told.how for told in outcome.told if told.why] == ["transcoded"]
    assert outcome.told[-1].why == fitness.B_FRAMES
    assert max(steps(outcome.video)) <= 140_000


def test_keyframes_far_apart_are_made_when_somebody_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "FAR_APART_US", 1_000_000)
    told: list[Handling] = []
    pipeline = Pipeline(PipelineSettings(), told.append, elapsed=lambda: 0.0)
    out = []
    for packet in x264(3, gop=600):
        if packet.pts_us == 1_500_000:
            pipeline.want_keyframe()
        out += pipeline.put(packet)
    assert [each.how for each in told] == ["copied", "transcoded"]
    assert told[1].why == "keyframes more than 1 s apart"
    assert len(out) == 90
    keyframes = [packet.time_us for packet in out if packet.keyframe]
    assert keyframes[0] == 0
    assert 1_500_000 <= keyframes[1] <= 1_600_000
    assert Outcome(out, told, pipeline.program).seen()


def test_without_a_keyframe_for_as_long_as_is_held_some_are_made_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "FAR_APART_US", 1_000_000)
    monkeypatch.setattr(video, "MAX_HELD", 45)
    outcome = ingest(x264(3, gop=600))
    assert [told.how for told in outcome.told] == ["copied", "transcoded"]
    assert len(outcome.video) == 90


def test_a_transcoded_stream_has_keyframes_every_other_second_and_when_asked() -> None:
    pipeline = Pipeline(PipelineSettings(), lambda handling: None, elapsed=lambda: 0.0)
    out: list[RoomPacket] = []
    for packet in x264(5, options={"preset": "ultrafast"}, b_frames=2, gop=600):
        if 2_600_000 < packet.dts_us < 2_640_000:
            pipeline.want_keyframe()
        out += pipeline.put(packet)
    keyframes = [packet.time_us / 1e6 for packet in out if packet.keyframe]
    assert keyframes == pytest.approx([0.07, 2.07, 2.7, 4.7], abs=0.1)


def test_transcoding_that_does_not_keep_up_leaves_out_pictures() -> None:
    """Each picture costs 50 ms and lasts 33."""
    told: list[Handling] = []
    clock = iter(index * 0.05 for index in range(10**6))
    pipeline = Pipeline(PipelineSettings(), told.append, elapsed=lambda: next(clock))
    ten = pictures("libx264", grey(320, 180, "yuv420p10le"), every(30, 10), options=FAST)
    out = [each for packet in ten for each in pipeline.put(packet)]
    assert pipeline.skipped > 50
    assert len(out) + pipeline.skipped == 300
    assert len(out) > 5
    assert [each.why for each in told] == ["10 bits per sample", f"10 bits per sample; {video.TOO_SLOW}"]


def test_pictures_that_come_seldom_are_all_encoded() -> None:
    """Each costs 50 ms and lasts two seconds."""
    clock = iter(index * 0.05 for index in range(10**6))
    pipeline = Pipeline(PipelineSettings(), lambda handling: None, elapsed=lambda: next(clock))
    slides = pictures("libx264", grey(320, 180, "yuv420p10le"), every(0.6, 60), options=FAST)
    assert len([each for packet in slides for each in pipeline.put(packet)]) == 36


def test_volume_changes_without_a_click() -> None:
    told: list[Handling] = []
    pipeline = Pipeline(PipelineSettings(), told.append)
    out: list[RoomPacket] = []
    for packet in tone("libopus", 2, hz=500):
        if 980_000 < packet.pts_us < 1_000_000:
            pipeline.set_volume(20)
        out += pipeline.put(packet)
    assert [each.how for each in told] == ["copied", "transcoded"]
    samples, begin = Outcome(out, told, pipeline.program).heard()
    second = (1_000_000 - begin) * RATE // 1_000_000
    assert level(samples[0][RATE // 4 : second - RATE // 10]) == pytest.approx(0.5, rel=0.1)
    assert level(samples[0][second + RATE // 10 :][: RATE // 2]) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("layout", "parametric"), [("stereo", False), ("mono", True)])
@pytest.mark.parametrize("explicit", [False, True])
def test_he_aac_has_the_band_that_its_core_has_not(layout: str, parametric: bool, explicit: bool) -> None:
    """The core ends at 12 kHz; what is above comes of the replication, be it announced by the configuration or not."""
    core = tone("aac", 2, rate=24_000, layout=layout, hz=7_000)
    plain, whole = ingest(core), ingest(he_aac(core, explicit=explicit, parametric=parametric))
    samples, _ = whole.heard()
    assert samples.shape[0] == 2
    for channel in samples:
        assert loudest_hz(channel[RATE // 4 : RATE]) == pytest.approx(7_000, abs=6)
        assert above(channel, 12_200) > 100 * above(plain.heard()[0][0], 12_200)
    assert whole.audio[-1].time_us == pytest.approx(2_000_000 - 26_500, abs=50_000)


def above(samples: np.ndarray, hz: float) -> float:
    spectrum = np.square(np.abs(np.fft.rfft(samples[RATE // 4 : RATE])))
    return float(spectrum[int(hz / RATE * 2 * len(spectrum)) :].sum())


def test_a_volume_above_the_original_does_not_break_the_sound() -> None:
    outcome = ingest(tone("aac", 1, level=0.9, hz=500), PipelineSettings(volume=200))
    samples, _ = outcome.heard()
    assert np.abs(samples).max() < 1.2
    assert loudest_hz(samples[0][RATE // 4 : -RATE // 4]) == pytest.approx(500, abs=6)


def test_a_cut_continues_with_the_next_keyframe_behind_what_came() -> None:
    pipeline = Pipeline(PipelineSettings(), lambda handling: None)
    stream = list(merged(x264(1), tone("aac", 1)))
    out = [each for packet in stream for each in pipeline.put(packet)]
    pipeline.cut()
    late = [packet for packet in stream if packet.dts_us > 200_000]
    out += [each for packet in late for each in pipeline.put(packet)]
    outcome = Outcome(out, [], pipeline.program)
    assert len(outcome.video) == 30 + 15
    assert sum(packet.keyframe for packet in outcome.video) == 3
    assert max(steps(outcome.audio)) < 60_000
    assert shown(outcome)[30] == 15


def test_a_picture_that_claims_to_be_shown_hours_later_is_not_believed() -> None:
    stream = x264(1)
    odd = SourcePacket(stream[10].form, stream[10].data, 8 * 3_600_000_000, stream[10].dts_us, keyframe=False)
    outcome = ingest([*stream[:10], odd, *stream[11:]])
    assert max(steps(outcome.video)) < 40_000


def test_keyframes_that_refer_to_earlier_pictures_are_no_beginning_for_anybody() -> None:
    stream = x264(1, gop=60)
    claimed = SourcePacket(stream[10].form, stream[10].data, stream[10].pts_us, stream[10].dts_us, keyframe=True)
    outcome = ingest([*stream[:10], claimed, *stream[11:]])
    assert outcome.told[-1].why == fitness.OPEN_GOP
    assert shown(outcome)[:28] == list(range(28))
    assert len(outcome.video) == 30


def test_hidden_frames_of_vp8_are_not_given_on() -> None:
    options = {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"}
    stream = pictures("libvpx", grey(320, 180), every(30, 0.8), options=options, configured=False)
    hidden = [
        SourcePacket(each.form, bytes([each.data[0] & ~0x10]) + each.data[1:], each.pts_us, each.dts_us, each.keyframe)
        if index in (10, 20)
        else each
        for index, each in enumerate(stream)
    ]
    outcome = ingest(hidden)
    assert [(told.how, told.why) for told in outcome.told] == [("copied", ""), ("transcoded", fitness.HIDDEN)]
    assert shown(outcome) == [index for index in range(24) if index not in (10, 20)]


@pytest.mark.parametrize("make", [lambda: x264(0.5), lambda: tone("aac", 0.5)])
def test_one_stream_alone_is_a_program(make: Callable[[], list[SourcePacket]]) -> None:
    outcome = ingest(make())
    assert (outcome.program.pictures is not None, outcome.program.sound) == (bool(outcome.video), bool(outcome.audio))


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_file_that_is_repeated_goes_on_without_a_gap(b_frames: int) -> None:
    """As a pull does it: what decoders hold is asked for at the end of each round."""
    pipeline = Pipeline(PipelineSettings(), lambda handling: None)
    stream = list(merged(x264(1, b_frames=b_frames, options={"preset": "ultrafast"}), tone("aac", 1)))
    out: list[RoomPacket] = []
    for _ in range(3):
        out += [each for packet in stream for each in pipeline.put(packet)]
        out += pipeline.flush()
        pipeline.cut()
    outcome = Outcome(out, [], pipeline.program)
    assert len(outcome.video) == 90
    assert max(steps(outcome.video)) <= 120_000
    assert {step for step in steps(outcome.audio)} <= set(range(19_000, 50_000))
    assert [each.brightness for each in outcome.seen()][30:60] == pytest.approx(
        [each.brightness for each in outcome.seen()][60:], abs=3
    )


def test_interlaced_pictures_have_no_combs() -> None:
    """A bar that moves between the two fields of a picture."""

    def fields(index: int) -> VideoFrame:
        plane = np.full((180, 320, 3), 30, np.uint8)
        for field in (0, 1):
            left = 20 + (2 * index + field) * 5
            plane[field::2, left : left + 20] = 220
        return VideoFrame.from_ndarray(plane, format="rgb24").reformat(format="yuv420p")

    options = {"preset": "ultrafast", "crf": "10", "x264-params": "interlaced=1"}
    outcome = ingest(pictures("libx264", fields, every(25, 1), options=options))
    assert outcome.told[-1].why == "interlaced"
    assert len(outcome.video) == 25
    assert steps(outcome.video) == pytest.approx([40_000] * 24, abs=2)
    assert combs(planes(fields(5))[0]) > 2.0
    assert max(combs(each.luma) for each in outcome.seen()[1:]) < 0.5


def combs(luma: Plane) -> float:
    """How much more lines differ from the next than from the one after it."""
    lines = luma.astype(float)
    return float(np.abs(lines[1:-1] - lines[:-2]).mean() - np.abs(lines[2:] - lines[:-2]).mean())


@pytest.mark.parametrize(
    ("codec", "config", "size", "rate"),
    [
        ("aac", bytes([0x17, 0x80, 0x00, 0x00, 0x90]), 400, 0),  # AAC-LC that says it has one sample a second
        ("pcm_mulaw", b"", 4 << 20, 1),
        ("pcm_mulaw", b"", 4 << 20, 8000),
        ("aac", b"", 0, 48_000),
        ("pcm_mulaw", b"", 100, 2**40),
    ],
)
def test_sound_that_would_fill_the_memory_is_not_made(codec: str, config: bytes, size: int, rate: int) -> None:
    form = StreamForm("audio", codec, config, rate=rate, channels=1)
    outcome = ingest([SourcePacket(form, bytes(size), index * 20_000, index * 20_000) for index in range(5)])
    assert len(outcome.audio) < 50


def test_pictures_that_claim_any_size_do_no_harm() -> None:
    for width, height in ((2**40, 2**40), (-5, 7), (65_536, 65_536)):
        form = StreamForm("video", "vp9", b"", width, height)
        outcome = ingest([SourcePacket(form, bytes(50), index * 33_000, index * 33_000) for index in range(400)])
        assert [told.how for told in outcome.told] == ["left_out"]


def test_a_keyframe_may_be_long_in_coming() -> None:
    late = [each for each in x264(14, gop=390) if each.pts_us > 100_000]
    outcome = ingest(late)
    assert [told.how for told in outcome.told] == ["copied"]
    assert len(outcome.video) == 30


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_comes_nothing_breaks(data: st.DataObject) -> None:
    """Packets of all codecs with bytes exchanged, at any times."""
    codecs = ["h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "aac", "mp3", "opus", "pcm_alaw", "flac", "nonsense"]
    pipeline = Pipeline(PipelineSettings(), lambda handling: None)
    forms = [
        StreamForm(
            "audio" if codec in codecs[6:11] else "video",
            codec,
            data.draw(st.binary(max_size=40)),
            rate=44_100,
            channels=2,
        )
        for codec in data.draw(st.lists(st.sampled_from(codecs), min_size=1, max_size=3))
    ]
    sane = {"h264": _kept("h264"), "aac": _kept("aac"), "opus": _kept("opus"), "vp8": _kept("vp8")}
    last: dict[str, int] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        form = data.draw(st.sampled_from(forms))
        payload = bytearray(data.draw(st.sampled_from([each.data for each in sane.get(form.codec, sane["h264"])])))
        for _ in range(data.draw(st.integers(0, 4))):
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
        at = data.draw(st.integers(-(2**60), 2**60) | st.integers(0, 10**6))
        for made in pipeline.put(SourcePacket(form, bytes(payload), at, at, data.draw(st.booleans()))):
            assert made.time_us > last.get(made.kind, -(10**18))
            last[made.kind] = made.time_us
    pipeline.flush()


@functools.cache
def _kept(codec: str) -> tuple[SourcePacket, ...]:
    if codec in ("aac", "opus"):
        return tuple(tone({"opus": "libopus"}.get(codec, codec), 0.2))
    options = {"deadline": "realtime", "cpu-used": "8"} if codec == "vp8" else FAST
    return tuple(pictures({"vp8": "libvpx"}.get(codec, "libx264"), grey(64, 64), every(30, 0.2), options=options))
