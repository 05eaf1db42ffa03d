"""Reading H.264: what x264 says of itself is read as it is, and nothing that strangers send does harm."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.ingest import fitness, h264
from rtcloud.ingest.copying import H264Reader
from rtcloud.ingest.fitness import Limits
from rtcloud.ingest.media import SourcePacket, StreamForm
from tests.kit.media_files import every, grey, silent_about_order, video


def sps(width: int, height: int, pix_fmt: str = "yuv420p", **further: object) -> h264.Sequence:
    packets = video("libx264", grey(width, height, pix_fmt), every(25, 0.2), **further)  # type: ignore[arg-type]
    (unit, *_) = h264.configuration(packets[0].form.config).sets
    return h264.sequence(unit)


def test_sizes_are_those_after_cropping() -> None:
    assert (lambda s: (s.width, s.height))(sps(642, 358)) == (642, 358)
    assert (lambda s: (s.width, s.height))(sps(641, 359, "yuv444p")) == (641, 359)


@pytest.mark.parametrize(
    ("pix_fmt", "further", "seen"),
    [
        ("yuv420p", {"options": {"profile": "baseline"}}, (66, 1, 8, True, (1, 1), 0)),
        ("yuv420p", {"b_frames": 2, "options": {"b-pyramid": "none"}}, (100, 1, 8, True, (1, 1), 1)),
        ("yuv420p10le", {}, (110, 1, 10, True, (1, 1), 0)),
        ("yuv422p", {"sar": (16, 11)}, (122, 2, 8, True, (16, 11), 0)),
        ("yuv420p", {"sar": (101, 99), "options": {"x264-params": "interlaced=1"}}, (100, 1, 8, False, (101, 99), 0)),
        (
            "yuv420p",
            {"options": {"x264-params": "nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900"}},
            (100, 1, 8, True, (1, 1), 0),
        ),
        ("yuv420p", {"options": {"x264-params": "cqm=jvt"}}, (100, 1, 8, True, (1, 1), 0)),
    ],
)
def test_what_an_encoder_promises(pix_fmt: str, further: dict[str, object], seen: tuple[object, ...]) -> None:
    said = sps(640, 360, pix_fmt, **further)
    assert (said.profile, said.chroma, said.depth, said.frames_only, said.sar, said.reorder) == seen


def test_order_may_be_left_unsaid() -> None:
    packets = silent_about_order(video("libx264", grey(640, 360), every(25, 0.2)))
    (unit, *_) = h264.configuration(packets[0].form.config).sets
    assert h264.sequence(unit).reorder is None


def test_keyframes_carry_the_newest_parameter_sets_once() -> None:
    packets = video("libx264", grey(320, 180), every(25, 0.4), gop=5, options={"tune": "zerolatency"}, configured=False)
    reader = H264Reader(packets[0].form, Limits())
    for packet in packets:
        unit = reader.read(packet)
        assert unit is not None
        kinds = [each[0] & 31 for each in h264.nal_units(unit.data)]
        assert kinds[:2] == [h264.SPS, h264.PPS] if packet.keyframe else h264.SPS not in kinds
        assert kinds.count(h264.SPS) == int(packet.keyframe)


def test_what_says_nothing_is_left_out_and_messages_stay() -> None:
    packets = video(
        "libx264",
        grey(320, 180),
        every(25, 0.1),
        options={"x264-params": "aud=1:filler=1:nal-hrd=cbr:vbv-maxrate=800:vbv-bufsize=800:bitrate=800"},
        configured=False,
    )
    (first, *_) = packets
    given_kinds = {each[0] & 31 for each in h264.nal_units(first.data)}
    assert h264.DELIMITER in given_kinds
    unit = H264Reader(first.form, Limits()).read(first)
    assert unit is not None
    assert {each[0] & 31 for each in h264.nal_units(unit.data)} == given_kinds - h264.NOISE
    assert h264.SEI in given_kinds


def test_slices_of_one_picture_stay_together() -> None:
    packets = video(
        "libx264", grey(640, 360), every(25, 0.2), options={"tune": "zerolatency", "x264-params": "slices=4"}
    )
    unit = H264Reader(packets[1].form, Limits()).read(packets[1])
    assert unit is not None
    assert [each[0] & 31 for each in h264.nal_units(unit.data)] == [h264.SLICE] * 4


def test_keyframes_that_are_no_beginning_are_not_copied() -> None:
    packets = video(
        "libx264",
        grey(320, 180),
        every(25, 1),
        gop=10,
        options={"x264-params": "open-gop=1:bframes=0:keyint=10:min-keyint=1:scenecut=0", "tune": "zerolatency"},
    )
    reader = H264Reader(packets[0].form, Limits())
    claimed = SourcePacket(packets[3].form, packets[3].data, 0, 0, keyframe=True)
    reader.read(packets[0])
    unit = reader.read(claimed)
    assert unit is not None
    assert unit.unfit == fitness.OPEN_GOP


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_more(data: bytes) -> None:
    for parse in (h264.configuration, h264.sequence, h264.slice_kind, lambda d: h264.sequence(b"\x67" + d)):
        with contextlib.suppress(ValueError, IndexError if not data else ValueError):
            parse(data)
    for config in (b"", data, b"\x01\x42\x00\x1f\xff\xe0\x00"):
        reader = H264Reader(StreamForm("video", "h264", config), Limits())
        reader.read(SourcePacket(reader_form := StreamForm("video", "h264", config), data, 0, 0))
        assert reader_form.codec == "h264"


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_parameter_set_is_read_or_refused(position: int, value: int) -> None:
    packets = _small()
    config = bytearray(packets[0].form.config)
    config[position % len(config)] = value
    reader = H264Reader(StreamForm("video", "h264", bytes(config)), Limits())
    for packet in packets:
        reader.read(packet)


_kept: list[SourcePacket] = []


def _small() -> list[SourcePacket]:
    if not _kept:
        _kept.extend(video("libx264", grey(64, 64), every(25, 0.2)))
    return _kept
