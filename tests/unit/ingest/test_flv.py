"""The reader against FFmpeg's muxer and demuxer, against our own maker, and against tags that are written by hand."""

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.egress.publishing.flv import AudioFormat, FlvMaker
from rtcloud.ingest.flv import LONGEST_COMPOSITION_MS, MOST_FACTS, MOST_MALFORMED, FlvReader
from rtcloud.ingest.media import SourcePacket, StreamForm
from rtcloud.mixer.encoding import VideoCodec
from rtcloud.rtmp import amf
from rtcloud.rtmp.chunks import AUDIO, DATA, VIDEO
from rtcloud.rtmp.errors import RtmpError
from tests.kit.encoded import in_order, pictures, sound

AVC_CONFIG = bytes.fromhex("0142001effe1000467420 01e01000268ce".replace(" ", ""))
H264 = StreamForm("video", "h264", AVC_CONFIG)
AAC = StreamForm("audio", "aac", b"\x12\x10", rate=44100, channels=2)
UNIT = bytes.fromhex("00000003650102")


def avc(step: int, data: bytes, composition_ms: int = 0, frame: int = 1) -> bytes:
    return bytes([frame << 4 | 7, step]) + composition_ms.to_bytes(3, "big", signed=True) + data


def enhanced(step: int, four_cc: bytes, data: bytes, frame: int = 1) -> bytes:
    return bytes([0x80 | frame << 4 | step]) + four_cc + data


def enhanced_sound(step: int, four_cc: bytes, data: bytes) -> bytes:
    return bytes([9 << 4 | step]) + four_cc + data


def read(reader: FlvReader, *tags: tuple[int, bytes, int]) -> list[SourcePacket]:
    return [packet for tag in tags for packet in reader.receive(*tag)]


def tags_of(file: bytes) -> Iterator[tuple[int, bytes, int]]:
    at = 13
    while at < len(file):
        size = int.from_bytes(file[at + 1 : at + 4], "big")
        yield (
            file[at],
            file[at + 11 : at + 11 + size],
            int.from_bytes(file[at + 4 : at + 7], "big") | file[at + 7] << 24,
        )
        at += 11 + size + 4


def muxed(codec: str, **options: str) -> io.BytesIO:
    """A second of it, in FFmpeg's FLV."""
    file = io.BytesIO()
    frames: Iterator[AudioFrame | VideoFrame | None]
    with av.open(file, "w", format="flv") as container:
        if codec in ("libopus", "ac3", "aac", "libmp3lame", "flac"):
            stream = container.add_stream(codec, rate=48_000)
            assert isinstance(stream.codec_context, AudioCodecContext)
            stream.codec_context.layout = "stereo"
            frames = _sounds(stream.codec_context)
        else:
            stream = container.add_stream(codec, rate=25, options=options)
            assert isinstance(stream.codec_context, VideoCodecContext)
            stream.codec_context.width, stream.codec_context.height = 128, 96
            stream.codec_context.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
            frames = _pictures()
        for frame in frames:
            container.mux(stream.encode(frame))  # type: ignore[arg-type]
    file.seek(0)
    return file


def _pictures() -> Iterator[VideoFrame | None]:
    for index in range(25):
        frame = VideoFrame.from_ndarray(np.full((144, 128), 16 + 5 * index, np.uint8), format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        yield frame
    yield None


def _sounds(context: AudioCodecContext) -> Iterator[AudioFrame | None]:
    size = context.frame_size or 1024
    for index in range(40):
        wave = np.sin(np.arange(index * size, (index + 1) * size) * 0.05).astype(np.float32) * 0.5
        frame = AudioFrame.from_ndarray(np.tile(wave, (2, 1)), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, index * size, Fraction(1, 48_000)
        yield frame
    yield None


@pytest.mark.parametrize(
    ("encoder", "codec", "options"),
    [
        ("libx264", "h264", {"bf": "2", "g": "10"}),
        ("libx265", "hevc", {"x265-params": "log-level=error:pools=1"}),
        ("libvpx-vp9", "vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("libsvtav1", "av1", {"preset": "12", "svtav1-params": "lp=1"}),
        ("libopus", "opus", {}),
        ("aac", "aac", {}),
        ("ac3", "ac3", {}),
        ("libmp3lame", "mp3", {}),
        ("flac", "flac", {}),
        ("flv", "flv1", {}),
    ],
)
def test_the_reader_finds_what_ffmpeg_finds(encoder: str, codec: str, options: dict[str, str]) -> None:
    file = muxed(encoder, **options)
    reader = FlvReader()
    found = read(reader, *tags_of(file.getvalue()))
    with av.open(file, "r") as container:
        stream = container.streams[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert stream.codec_context.name in (codec, f"lib{codec}", "mp3float", "libdav1d", "libvpx-vp9", "flv")
        expected = [
            (bytes(packet), (packet.pts or 0) * 1000, (packet.dts or 0) * 1000, packet.is_keyframe)
            for packet in packets
        ]
        assert [(each.data, each.pts_us, each.dts_us, each.keyframe) for each in found] == expected
        (form,) = {id(each.form): each.form for each in found}.values()
        assert form.codec == codec
        if codec not in ("vp9", "mp3", "ac3", "flv1"):
            assert form.config == stream.codec_context.extradata
        if codec in ("opus", "aac"):
            assert (form.rate, form.channels) == (48_000, 2)
    assert reader.skipped == 0
    assert "encoder" in reader.facts


def test_of_ffmpegs_tracks_the_first_of_each_kind_is_read() -> None:
    sources = [muxed(codec) for codec in ("libx264", "aac", "libx264", "libopus")]
    file = io.BytesIO()
    with contextlib.ExitStack() as stack:
        containers = [stack.enter_context(av.open(source, "r")) for source in sources]
        target = stack.enter_context(av.open(file, "w", format="flv"))
        copies = [target.add_stream_from_template(container.streams[0]) for container in containers]
        for container, copy in zip(containers, copies, strict=True):
            for packet in container.demux(0):
                if packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
    reader = FlvReader()
    found = read(reader, *tags_of(file.getvalue()))
    for kind, source in zip(("video", "audio"), sources, strict=False):
        expected = read(FlvReader(), *tags_of(source.getvalue()))
        assert [packet.data for packet in found if packet.kind == kind] == [packet.data for packet in expected]
    assert {packet.form.codec for packet in found} == {"h264", "aac"}
    assert reader.skipped > 50


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_what_our_relay_writes_is_read(codec: VideoCodec) -> None:
    maker = FlvMaker(codec, AudioFormat(48_000, 2))
    made = list(in_order(pictures(codec, 320, 180, 25), sound(47)))
    numbers = {"audio": AUDIO, "video": VIDEO, "script": DATA}
    reader = FlvReader()
    headers = [(numbers[tag.kind], tag.data, 0) for tag in maker.headers]
    found = read(
        reader, *headers, *((numbers[tag.kind], tag.data, tag.time_ms) for each in made for tag in maker.make(each))
    )
    assert [each.kind for each in found] == [each.kind for each in made]
    assert [each.keyframe for each in found] == [each.keyframe for each in made]
    assert [each.data for each in found if each.kind == "audio"] == [each.data for each in made if each.kind == "audio"]
    assert {each.form.codec for each in found} == {"aac", "h264" if codec == "h264" else "hevc"}
    assert (reader.facts["width"], reader.facts["height"]) == (320, 180)


def test_a_form_is_one_object_until_it_changes() -> None:
    reader = FlvReader()
    other = AVC_CONFIG[:-1] + b"\xcf"
    first, again, changed, after = read(
        reader,
        (VIDEO, avc(0, AVC_CONFIG), 0),
        (VIDEO, avc(1, UNIT), 0),
        (VIDEO, avc(0, AVC_CONFIG), 0),
        (VIDEO, avc(1, UNIT, frame=2), 40),
        (VIDEO, avc(0, other), 40),
        (VIDEO, avc(1, UNIT), 80),
        (VIDEO, avc(2, b""), 80),
        (VIDEO, avc(1, UNIT), 90),  # before its configuration
        (VIDEO, avc(0, other), 100),
        (VIDEO, avc(1, UNIT), 120),
    )
    assert first.form == H264
    assert first.form is again.form
    assert (first.keyframe, again.keyframe) == (True, False)
    assert changed.form.config == other
    assert after.form == changed.form
    assert after.form is not changed.form
    assert reader.skipped == 1


def test_codecs_may_change_on_the_way() -> None:
    reader = FlvReader()
    found = read(
        reader,
        (AUDIO, b"\xaf\x00\x12\x10", 0),
        (AUDIO, b"\xaf\x01abc", 0),
        (AUDIO, enhanced_sound(0, b"Opus", b"OpusHead\1\2"), 20),
        (AUDIO, enhanced_sound(1, b"Opus", b"\xfcxyz"), 20),
        (AUDIO, b"\xaf\x01abc", 40),  # its configuration was replaced
        (AUDIO, b"\x2fmp3", 60),
        (VIDEO, enhanced(0, b"vp09", bytes(12)), 60),
        (VIDEO, enhanced(1, b"vp09", b"\x82frame"), 60),
        (VIDEO, enhanced(1, b"av01", b"\x12\0"), 80),
    )
    assert [packet.form for packet in found] == [
        AAC,
        StreamForm("audio", "opus", b"OpusHead\1\2", rate=48_000, channels=2),
        StreamForm("audio", "mp3"),
        StreamForm("video", "vp9"),
        StreamForm("video", "av1"),
    ]
    assert [packet.data for packet in found] == [b"abc", b"\xfcxyz", b"mp3", b"\x82frame", b"\x12\0"]


@pytest.mark.parametrize(
    ("tag", "form", "data"),
    [
        (b"\x7fa", StreamForm("audio", "pcm_alaw", rate=8000, channels=2), b"a"),
        (b"\x8ea", StreamForm("audio", "pcm_mulaw", rate=8000, channels=1), b"a"),
        (b"\x3ea", StreamForm("audio", "pcm_s16le", rate=44100, channels=1), b"a"),
        (b"\x0ca", StreamForm("audio", "pcm_u8", rate=44100, channels=1), b"a"),
        (b"\x1da", StreamForm("audio", "adpcm_swf", rate=44100, channels=2), b"a"),
        (b"\x46a", StreamForm("audio", "nellymoser", rate=16000, channels=1), b"a"),
        (b"\x6aa", StreamForm("audio", "nellymoser", rate=22050, channels=1), b"a"),
        (b"\xb2a", StreamForm("audio", "speex", rate=16000, channels=1), b"a"),
        (b"\xd2a", StreamForm("audio", "flv audio 13"), b"a"),
    ],
)
def test_old_sounds_say_all_in_their_tags(tag: bytes, form: StreamForm, data: bytes) -> None:
    (packet,) = read(FlvReader(), (AUDIO, tag, 5))
    assert packet == SourcePacket(form, data, 5000, 5000)


def test_codecs_that_nobody_knows_are_named() -> None:
    found = read(
        FlvReader(),
        (VIDEO, b"\x18abc", 0),
        (VIDEO, b"\x14\x01abc", 0),
        (VIDEO, enhanced(1, b"vvc1", b"abc"), 0),
        (VIDEO, enhanced(1, b"\0\xff x", b"abc"), 0),
        (AUDIO, enhanced_sound(1, b"dtsc", b"abc"), 0),
    )
    names = [packet.form.codec for packet in found]
    assert names == ["flv video 8", "vp6f", "flv vvc1", "flv ???x", "flv dtsc"]
    assert found[1].form.config == b"\1"


@pytest.mark.parametrize(
    ("config", "rate", "channels"),
    [
        ("1210", 44100, 2),
        ("1188", 48000, 1),
        ("1190", 48000, 2),
        ("2b920800", 44100, 2),  # HE-AAC
        ("eb8a0800", 44100, 2),  # HE-AAC v2
        ("11b8", 48000, 8),
        ("1780" + "00" * 2, 0, 0),
        ("f8e6", 48000, 0),
    ],
)
def test_an_aac_configuration_says_rate_and_channels(config: str, rate: int, channels: int) -> None:
    reader = FlvReader()
    (packet,) = read(reader, (AUDIO, b"\xaf\x00" + bytes.fromhex(config), 0), (AUDIO, b"\xaf\x01abc", 0))
    assert (packet.form.rate, packet.form.channels) == (rate, channels)


def test_times_are_unwrapped_and_pictures_are_shown_out_of_order() -> None:
    reader = FlvReader()
    times = [0xFFFFFFF0, 0xFFFFFFFF, 8, 4, 0xFFFFFFFE, 30]
    found = read(reader, (VIDEO, avc(0, AVC_CONFIG), times[0]), *((VIDEO, avc(1, UNIT, -5), time) for time in times))
    assert [packet.dts_us for packet in found] == [1000 * (2**32 + n) for n in (-16, -1, 8, 4, -2, 30)]
    assert all(packet.pts_us == packet.dts_us - 5000 for packet in found)
    longest = LONGEST_COMPOSITION_MS
    assert len(read(reader, (VIDEO, avc(1, UNIT, longest), 40), (VIDEO, avc(1, UNIT, longest + 1), 40))) == 1


def test_nanoseconds_of_enhanced_rtmp_are_kept() -> None:
    nanoseconds = (250_000).to_bytes(3, "big")
    large = b"\xff" + (299).to_bytes(2, "big") + bytes(300) + b"\x10"  # another modifier, of 300 bytes
    for modifiers in (b"\x02" + nanoseconds + b"\x01", large[:-1] + b"\x17" + b"\x02" + nanoseconds + b"\x01"):
        tag = b"\x97" + modifiers + b"av01" + b"\x12\0"
        (packet,) = read(FlvReader(), (VIDEO, tag, 3))
        assert (packet.dts_us, packet.pts_us, packet.data) == (3250, 3250, b"\x12\0")
    (packet,) = read(FlvReader(), (AUDIO, b"\x97\x02" + nanoseconds + b"\x01ac-3abc", 3))
    assert packet.dts_us == 3250


def test_of_several_tracks_the_first_is_taken() -> None:
    reader = FlvReader()
    size = (3).to_bytes(3, "big")
    found = read(
        reader,
        (VIDEO, b"\x96\x01av01\x00abc", 0),  # one track: number 0
        (VIDEO, b"\x96\x01av01\x01xyz", 0),  # one track: number 1
        (VIDEO, b"\x96\x11av01\x01" + size + b"xyz\x00" + size + b"def", 10),  # many tracks, one codec
        (VIDEO, b"\x96\x21vp09\x01" + size + b"xyzav01\x00" + size + b"ghi", 20),  # many codecs
        (AUDIO, b"\x95\x11Opus\x00" + size + b"jkl\x01" + size + b"xyz", 30),
    )
    assert [packet.data for packet in found] == [b"abc", b"def", b"ghi", b"jkl"]
    assert [packet.form.codec for packet in found] == ["av1", "av1", "av1", "opus"]
    assert reader.skipped == 1


def test_frames_that_are_none_are_left_out_without_a_count() -> None:
    reader = FlvReader()
    tags = [
        (VIDEO, b"\x57\x00", 0),  # a command
        (VIDEO, b"\xd1\x00", 0),
        (VIDEO, enhanced(4, b"hvc1", amf.encode("colorInfo", {})), 0),
        (VIDEO, enhanced(5, b"av01", b"x"), 0),
        (VIDEO, b"", 0),
        (AUDIO, b"", 0),
        (AUDIO, b"\xaf\x00\x12\x10", 0),
        (AUDIO, b"\xaf\x01", 0),
        (AUDIO, enhanced_sound(2, b"Opus", b""), 0),
        (DATA, amf.encode("onTextData", {"text": "x"}), 0),
        (DATA, amf.encode("onMetaData"), 0),
        (20, b"what", 0),
    ]
    assert read(reader, *tags) == []
    assert reader.skipped == 0


@pytest.mark.parametrize(
    "tag",
    [
        (VIDEO, b"\x17"),
        (VIDEO, b"\x17\x01\0"),
        (VIDEO, avc(0, b"")),
        (VIDEO, avc(0, b"\1\x42\0\x1e")),
        (VIDEO, avc(0, bytes(70_000))),
        (VIDEO, b"\x90hvc"),
        (VIDEO, b"\x97\xff"),
        (VIDEO, b"\x97\x00x"),
        (VIDEO, b"\x96\x11av01\x00\xff\xff\xff"),
        (VIDEO, avc(1, b"\0\0\0\x05abcd")),
        (VIDEO, avc(1, b"\0\0\0\x04abcd\0")),
        (VIDEO, avc(1, b"\xff\xff\xff\xffabcd")),
        (AUDIO, b"\xaf"),
        (AUDIO, b"\xaf\x00"),
        (AUDIO, b"\x91Opu"),
        (DATA, b"\x03\x00"),
    ],
)
def test_what_is_malformed_is_left_out_and_too_much_of_it_is_no_flv(tag: tuple[int, bytes]) -> None:
    reader = FlvReader()
    assert read(reader, (VIDEO, avc(0, AVC_CONFIG), 0), (*tag, 0)) == []
    assert reader.skipped == 1
    assert len(read(reader, (VIDEO, avc(1, UNIT), 0))) == 1
    assert read(reader, *[(*tag, 0)] * (MOST_MALFORMED - 1)) == []
    with pytest.raises(RtmpError, match="no FLV"):
        reader.receive(*tag, 0)


def test_what_metadata_claim_is_bounded() -> None:
    reader = FlvReader()
    claims: dict[str, amf.Value] = {
        "width": 1e9,
        "encoder": "x" * 1000,
        "name\n": 1.0,
        "text": "a\x1b[0m",
        "nested": {"a": 1.0},
        "not": float("nan"),
        "stereo": True,
        "maker": "me",
    }
    reader.receive(DATA, amf.encode("onMetaData", amf.Associative(claims)), 0)
    assert reader.facts == {"width": 1e9, "stereo": True, "maker": "me"}
    reader.receive(DATA, amf.encode("onMetaData", {f"n{n}": 0.0 for n in range(1000)}), 0)
    assert len(reader.facts) == MOST_FACTS


@given(st.lists(st.tuples(st.sampled_from((AUDIO, VIDEO, DATA)), st.binary(max_size=40), st.integers(0, 2**32 - 1))))
def test_anything_is_packets_or_an_error(tags: list[tuple[int, bytes, int]]) -> None:
    reader = FlvReader()
    with contextlib.suppress(RtmpError):
        for packet in read(reader, (VIDEO, avc(0, AVC_CONFIG), 0), *tags):
            assert packet.data
            assert abs(packet.pts_us - packet.dts_us) <= LONGEST_COMPOSITION_MS * 1000
