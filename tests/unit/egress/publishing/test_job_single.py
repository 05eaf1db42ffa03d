"""One stream, without encoding its video: what comes out, and when."""

from dataclasses import dataclass
from typing import Any

import av
import pytest

from rtcloud.client.sei import SeiMessage, read
from rtcloud.egress.passing import nal_units
from rtcloud.egress.publishing.carrying import Batch, Carrier
from rtcloud.egress.publishing.handover import Handover
from rtcloud.egress.publishing.single import SingleStream
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.form import KeyframeWanted, MixFormat, SubscriptionWanted, Wish

FORM = MixFormat(
    width=64, height=64, fps=15, video_bitrate=1, gop_seconds=1, sample_rate=48_000, channels=2, audio_bitrate=64_000
)
SILENT = MixFormat(
    **{name: getattr(FORM, name) for name in FORM.__dataclass_fields__ if name != "audio"},
    audio=False,
)
START = 1_000_000_000
SPS, PPS = b"\0\0\0\1\x67\x42\xc0\x1e", b"\0\0\0\1\x68\xce"
IDR, P = b"\0\0\0\1\x65key", b"\0\0\0\1\x41next"


@dataclass
class Frame:
    data: bytes
    capture_us: int | None
    arrival_us: int
    track: str = "v"
    rtp_time: int = 0
    keyframe: bool = False
    contiguous: bool = True


class Stream(SingleStream):
    """With what it wrote, wished and refused."""

    def __init__(self, form: MixFormat = SILENT, messages: Any = lambda keyframe, time: []) -> None:
        self.packets: list[EncodedPacket] = []
        self.wishes: list[Wish] = []
        self.refused: list[str] = []
        super().__init__(form, self.packets.append, self.wishes.append, messages, self.refused.append)
        self.watch("v")

    def take(self, data: bytes, at_us: int, *, late_us: int = 20_000, contiguous: bool = True) -> None:
        keyframe = IDR[:5] in data or b"\x9d\x01\x2a" in data
        arrival = START + at_us + late_us
        self.push("v", Frame(data, START + at_us, arrival, keyframe=keyframe, contiguous=contiguous), arrival)


def opus(count: int) -> list[bytes]:
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    packets = []
    for index in range(count):
        block = av.AudioFrame(format="s16", layout="mono", samples=960)
        block.planes[0].update(bytes(1920))
        block.sample_rate, block.pts = 48_000, index * 960
        packets += [bytes(packet) for packet in encoder.encode(block)]
    return packets


def test_access_units_go_on_as_they_are_at_the_distance_they_were_captured() -> None:
    stream = Stream()
    stream.take(SPS + PPS + IDR, 0)
    stream.take(P + b"1", 70_000, late_us=90_000)
    stream.take(P + b"2", 130_000)
    stream.advance(START + 1_000_000)
    assert [packet.data for packet in stream.packets] == [SPS + PPS + IDR, P + b"1", P + b"2"]
    assert [packet.time for packet in stream.packets] == [0, 6_300, 11_700]
    assert [packet.keyframe for packet in stream.packets] == [True, False, False]


def test_nothing_begins_before_the_first_keyframe_which_is_asked_for() -> None:
    stream = Stream()
    stream.advance(START)
    stream.take(P, 0)
    stream.advance(START + 100_000)
    assert (stream.packets, stream.origin_us) == ([], None)
    assert stream.wishes == [SubscriptionWanted("v", True), KeyframeWanted("v")]
    stream.take(SPS + PPS + IDR, 200_000)
    assert stream.origin_us == START + 200_000


def test_a_missing_keyframe_is_asked_for_twice_a_second() -> None:
    stream = Stream()
    for moment in range(0, 2_000_000, 100_000):
        stream.advance(START + moment)
    assert stream.wishes.count(KeyframeWanted("v")) == 4


def test_after_a_hole_nothing_comes_until_the_next_keyframe() -> None:
    stream = Stream()
    stream.take(SPS + PPS + IDR, 0)
    stream.take(P + b"hole", 70_000, contiguous=False)
    stream.take(P + b"after", 140_000)
    stream.advance(START + 200_000)
    assert stream.wishes[-1] == KeyframeWanted("v")
    stream.take(SPS + PPS + IDR, 210_000)
    stream.advance(START + 1_000_000)
    assert [packet.keyframe for packet in stream.packets] == [True, True]


def test_parameter_sets_that_came_once_stand_at_every_keyframe() -> None:
    stream = Stream()
    stream.take(SPS + PPS + IDR, 0)
    stream.take(IDR, 1_000_000)
    stream.advance(START + 2_000_000)
    assert [unit[0] & 31 for unit in nal_units(stream.packets[1].data)] == [7, 8, 5]


def test_times_rise_strictly_whatever_the_capture_times_say() -> None:
    stream = Stream()
    stream.take(SPS + PPS + IDR, 100_000)
    for at in (90_000, 100_000, 40_000, 110_000):
        stream.take(P, at)
    stream.advance(START + 1_000_000)
    times = [packet.time for packet in stream.packets]
    assert len(times) == 5
    assert times == sorted(set(times))


def test_another_codec_is_told_once_and_h264_again() -> None:
    stream = Stream()
    stream.take(b"\x10\0\0\x9d\x01\x2avp8", 0)
    stream.take(b"\x10\0\0\x9d\x01\x2avp8", 100_000)
    assert stream.refused == ["VP8"]
    assert stream.origin_us is None
    stream.take(SPS + PPS + IDR, 200_000)
    assert stream.refused == ["VP8", ""]
    stream.advance(START + 1_000_000)
    assert len(stream.packets) == 1


def test_messages_are_put_into_the_pictures_and_into_nothing_else() -> None:
    stream = Stream(messages=lambda keyframe, time: [SeiMessage(b"hello", 100)])
    stream.take(SPS + PPS + IDR, 0)
    stream.take(b"\0\0\0\1\x09\x10", 70_000)  # no picture in it
    stream.advance(START + 1_000_000)
    assert read(stream.packets[0].data) == [SeiMessage(b"hello", 100)]
    assert stream.packets[1].data == b"\0\0\0\1\x09\x10"


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1", b"\0\0\1\0\0\1", b"\0" * 100, b"\xff" * 10])
def test_keyframes_that_are_none_harm_nobody(data: bytes) -> None:
    stream = Stream()
    stream.push("v", Frame(data, START, START, keyframe=True), START)
    stream.advance(START + 1_000_000)
    assert stream.picture_png() == b""


def test_what_is_never_taken_out_is_bounded() -> None:
    stream = Stream()
    stream.take(SPS + PPS + IDR, 0)
    for index in range(1_000):
        stream.take(P, 1_000_000 + index)
    stream.advance(START + 10_000_000)
    assert len(stream.packets) < 400


def test_sound_goes_on_as_silence_when_the_publisher_is_gone() -> None:
    stream = Stream(FORM)
    stream.listen("a", "ann", 1.0)
    for index, packet in enumerate(opus(10)):
        at = START + index * 20_000
        stream.push("a", Frame(packet, at, at, track="a", rtp_time=index * 960), at)
    stream.remove("a", START + 200_000)
    stream.advance(START + 1_000_000)
    assert stream.origin_us == START
    assert all(packet.codec == "aac" for packet in stream.packets)
    assert stream.packets[-1].time > 80_000


# One after another ------------------------------------------------------------------------------------------------


class Line(Carrier):
    """A carrier with what it carried."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.kept: list[EncodedPacket] = []
        super().__init__(lambda: START, self.batches.append, lambda packet, at_us: self.kept.append(packet))

    def stream(self, form: MixFormat = SILENT) -> SingleStream:
        stream = SingleStream(form, self.write, lambda wish: None, lambda keyframe, time: [], lambda codec: None)
        stream.watch("v")
        return stream


def give(stream: Any, data: bytes, at_us: int, late_us: int = 20_000) -> None:
    arrival = START + at_us + late_us
    stream.push("v", Frame(data, START + at_us, arrival, keyframe=IDR[:5] in data), arrival)


def test_a_new_source_goes_on_with_the_times_of_the_last_from_its_keyframe() -> None:
    line = Line()
    old, new = line.stream(), line.stream()
    line.follow(old)
    give(old, SPS + PPS + IDR, 0)
    done: list[bool] = []
    handover = Handover(old, new, START + 500_000, line, lambda: done.append(True), waits=True)
    for index in range(10):
        give(handover, P + b"%d" % index, 400_000 + index * 50_000)
    handover.advance(START + 700_000)
    assert not done
    give(handover, SPS + PPS + IDR, 900_000)
    handover.advance(START + 1_000_000)
    assert done
    new.advance(START + 1_200_000)
    line.flush()
    times = [packet.time for packet in line.kept]
    assert times == sorted(set(times))
    assert [packet.keyframe for packet in line.kept].index(True, 1) == len(times) - 1
    assert times[-1] == 900_000 * 9 // 100


def test_a_keyframe_from_just_before_the_change_is_not_lost() -> None:
    line = Line()
    old, new = line.stream(), line.stream()
    line.follow(old)
    give(old, SPS + PPS + IDR, 0)
    handover = Handover(old, new, START + 500_000, line, lambda: None, waits=True)
    give(handover, SPS + PPS + IDR, 490_000)
    give(handover, P, 560_000)
    handover.advance(START + 700_000)
    before = len(line.kept)
    new.advance(START + 700_000)
    assert [packet.keyframe for packet in line.kept[before:]] == [True, False]
    times = [packet.time for packet in line.kept]
    assert times == sorted(set(times))


def test_a_publisher_who_is_away_holds_a_change_up_for_no_longer_than_it_may() -> None:
    line = Line()
    old, new = line.stream(), line.stream()
    line.follow(old)
    give(old, SPS + PPS + IDR, 0)
    done: list[bool] = []
    handover = Handover(old, new, START + 500_000, line, lambda: done.append(True), waits=True)
    handover.advance(START + 1_900_000)
    assert not done
    handover.advance(START + 2_000_000)
    assert done


def test_a_loop_that_takes_nothing_gets_the_rest_from_a_keyframe_on() -> None:
    line = Line()
    stream = line.stream()
    stream.begin(START)
    line.follow(stream)
    for index in range(3_000):
        line.write(EncodedPacket("video", b"x", index, index % 100 == 0, codec="h264"))
        line.flush()
    carried = sum(len(batch.packets) for batch in line.batches)
    assert carried == 2_000
    assert line.dropped
    for batch in line.batches:
        line.taken(batch)
    line.batches.clear()
    for index in range(3_050, 3_200):
        line.write(EncodedPacket("video", b"x", index, index % 100 == 0, codec="h264"))
        line.flush()
    assert line.batches[0].packets[0][0].keyframe
    assert len(line.kept) == 3_150  # files miss nothing
