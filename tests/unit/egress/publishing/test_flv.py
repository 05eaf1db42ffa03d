import io
import struct

import av
import pytest
from av.container import InputContainer

from rtcloud.egress.publishing.flv import (
    LONGEST_HOLD_MS,
    AudioFormat,
    FlvMaker,
    FlvTag,
    Interleaver,
    parameter_sets,
)
from rtcloud.mixer.encoding import EncodedPacket, VideoCodec
from rtcloud.rtmp.amf import decode
from tests.kit.encoded import in_order, pictures, sound

STEREO = AudioFormat(48_000, 2)
_NUMBERS = {"audio": 8, "video": 9, "script": 18}


def as_file(tags: list[FlvTag]) -> io.BytesIO:
    out = b"FLV\1\5\0\0\0\t\0\0\0\0"
    for tag in tags:
        time = tag.time_ms.to_bytes(4, "big")
        head = bytes([_NUMBERS[tag.kind]]) + len(tag.data).to_bytes(3, "big") + time[1:] + time[:1] + bytes(3)
        out += head + tag.data + struct.pack(">I", 11 + len(tag.data))
    return io.BytesIO(out)


def opened(tags: list[FlvTag]) -> InputContainer:
    return av.open(as_file(tags), "r")


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_what_was_encoded_is_decoded_from_the_tags(codec: VideoCodec) -> None:
    maker = FlvMaker(codec, STEREO)
    made = [tag for packet in in_order(pictures(codec, 320, 180, 25), sound(47)) for tag in maker.make(packet)]
    with opened([*maker.headers, *made]) as container:
        frames = [(frame.width, frame.height, frame.time) for frame in container.decode(video=0)]
    assert len(frames) == 25
    assert {frame[:2] for frame in frames} == {(320, 180)}
    assert [round((frame[2] or 0) * 1000) for frame in frames] == list(range(0, 1000, 40))
    with opened([*maker.headers, *made]) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 45 * 1024
    assert [tag.time_ms for tag in made if tag.keyframe] == [0, 400, 800]
    metadata = decode(maker.headers[0].data)
    assert metadata[0] == "onMetaData"
    assert isinstance(metadata[1], dict)
    assert (metadata[1]["width"], metadata[1]["height"], metadata[1]["audiosamplerate"]) == (320, 180, 48_000)
    assert "duration" not in metadata[1]


def test_the_headers_come_before_the_first_keyframe_and_again_when_the_picture_changes() -> None:
    small, large = pictures("h264", 320, 180, 11), pictures("h264", 640, 360, 2)
    large = [EncodedPacket("video", each.data, each.time + 11 * 3600, each.keyframe, "h264") for each in large]
    maker = FlvMaker("h264", None)
    made = [[(tag.kind, tag.is_header) for tag in maker.make(packet)] for packet in [*small, *large]]
    new = [("script", True), ("video", True), ("video", False)]
    assert made == [new, *[[("video", False)]] * 10, new, [("video", False)]]
    metadata = decode(maker.headers[0].data)[1]
    assert isinstance(metadata, dict)
    assert metadata["width"] == 640


def test_headers_on_the_way_have_the_time_of_their_picture() -> None:
    maker = FlvMaker("h264", None)
    for width, time_ms in ((320, 0), (640, 7000)):
        first = pictures("h264", width, 180, 1)[0]
        tags = maker.make(EncodedPacket("video", first.data, time_ms * 90, True, "h264"))
        assert [tag.time_ms for tag in tags] == [time_ms] * 3


def test_a_month_is_no_bound() -> None:
    maker, data = FlvMaker(None, STEREO), sound(1)[0].data
    for time_ms in (2**31 - 1, 2**31 + 20, 2**32 + 20):
        (tag,) = maker.make(EncodedPacket("audio", data, time_ms * 90, True, "aac"))
        assert tag.time_ms == time_ms


def test_sound_goes_before_any_picture() -> None:
    maker = FlvMaker("h264", AudioFormat(16_000, 1))
    assert [tag.kind for packet in sound(3, rate=16_000, channels=1) for tag in maker.make(packet)] == ["audio"] * 3
    assert [(tag.kind, tag.is_header) for tag in maker.headers] == [("script", True), ("audio", True)]
    assert maker.headers[1].data[:2] == b"\xaf\x00"  # AAC is always called so


def test_pictures_wait_for_a_keyframe_and_what_was_not_asked_for_is_left_out() -> None:
    first, second, *_ = pictures("h264", 320, 180, 2)
    maker = FlvMaker("h264", None)
    assert maker.make(second) == []
    assert maker.make(sound(1)[0]) == []
    assert maker.make(pictures("h265", 320, 180, 1)[0]) == []
    assert maker.make(EncodedPacket("audio", b"\xfc\xff\xfe", 0, True, "opus")) == []
    assert len(maker.make(first)) == 3


def test_times_rise_even_where_they_were_given_equal() -> None:
    maker = FlvMaker(None, STEREO)
    data = sound(1)[0].data
    tags = [
        tag for time in (0, 0, 900, 450, 5400) for tag in maker.make(EncodedPacket("audio", data, time, True, "aac"))
    ]
    assert [tag.time_ms for tag in tags] == [0, 1, 10, 11, 60]


@pytest.mark.parametrize("data", [b"", b"\0\0\1", b"\0\0\0\1\x67" + bytes(20), b"\0\0\1\x67\xff\0\0\1\x65\xff" * 3])
def test_a_damaged_keyframe_makes_no_tags_and_the_next_one_does(data: bytes) -> None:
    maker = FlvMaker("h264", None)
    maker.make(EncodedPacket("video", data, 0, True, "h264"))
    assert [tag.keyframe for tag in maker.make(pictures("h264", 320, 180, 1)[0])][-1]


def test_parameter_sets_are_those_before_the_picture() -> None:
    data = b"\0\0\0\1\x09\xf0\0\0\0\1\x67abc\0\0\0\1\x68d\0\0\1\x65picture\0\0\1\x67late"
    assert parameter_sets(data, "h264") == (b"\x67abc", b"\x68d")
    assert parameter_sets(b"\0\0\1\x40\1v\0\0\1\x42\1s\0\0\1\x44\1p\0\0\1\x26\1x", "h265") == (
        b"\x40\1v",
        b"\x42\1s",
        b"\x44\1p",
    )


def tag(kind: str, time_ms: int) -> FlvTag:
    return FlvTag("audio" if kind == "a" else "video", time_ms, b"")


def test_both_kinds_come_in_the_order_of_their_times() -> None:
    order = Interleaver()
    given = [("v", 0), ("v", 40), ("v", 80), ("a", 5), ("a", 26), ("a", 47), ("a", 90), ("v", 120)]
    released = [each.time_ms for kind, time_ms in given for each in order.put(tag(kind, time_ms))]
    assert released == [0, 5, 26, 40, 47, 80, 90]
    assert [each.time_ms for each in order.flush()] == [120]


def test_no_kind_is_held_longer_for_the_other() -> None:
    order = Interleaver()
    released = [each.time_ms for time_ms in range(0, 1000, 20) for each in order.put(tag("a", time_ms))]
    assert released == list(range(0, 990 - LONGEST_HOLD_MS, 20))
