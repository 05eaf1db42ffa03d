"""SEI messages: what is put into a frame is read from it again, whatever the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage

UUID = bytes(range(16))
SPS, PPS, IDR, SLICE = b"\x67\x42\xc0\x1f", b"\x68\xce\x3c\x80", b"\x65\x88\x84\x00\x33", b"\x41\x9a\x02"


def frame(*units: bytes, start: bytes = b"\x00\x00\x00\x01") -> bytes:
    return b"".join(start + unit for unit in units)


def payloads(longest: int = sei.MAX_DATA) -> st.SearchStrategy[bytes]:
    # Zeros and small numbers, where start codes could come to be.
    troublesome = st.lists(st.integers(0, 4), min_size=1, max_size=longest).map(bytes)
    return st.binary(min_size=1, max_size=longest) | troublesome


messages = st.builds(SeiMessage, payloads(300), st.sampled_from(sorted(sei.CUSTOM_TYPES))) | st.builds(
    SeiMessage, payloads(300), st.just(sei.UNREGISTERED), st.binary(min_size=16, max_size=16)
)


@given(st.lists(messages, max_size=5), st.booleans(), st.sampled_from([b"\x00\x00\x01", b"\x00\x00\x00\x01"]))
def test_what_is_put_in_is_read_again_and_the_rest_stays(sent: list[SeiMessage], key: bool, start: bytes) -> None:
    before = frame(SPS, PPS, IDR, start=start) if key else frame(SLICE, start=start)
    with_messages = sei.insert(before, sent)
    assert sei.read(with_messages) == sent
    picture = start + (IDR if key else SLICE)
    head = before[: -len(picture)]
    assert with_messages.startswith(head)
    assert with_messages.endswith(picture)
    inside = with_messages[len(head) : len(with_messages) - len(picture)]
    # No byte of a message makes a start code, or what looks like one.
    assert inside.count(b"\x00\x00\x01") == len(sent)
    assert inside.count(b"\x00\x00\x02") == 0


@given(payloads())
def test_longest_messages_pass(data: bytes) -> None:
    assert sei.read(sei.insert(frame(IDR), [SeiMessage(data)])) == [SeiMessage(data)]


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda junk: b"\x00\x00\x01\x06" + junk))
def test_any_bytes_are_read(junk: bytes) -> None:
    for message in sei.read(junk):
        assert message.data
    assert len(sei.read(junk * 50)) <= sei.MAX_MESSAGES


def test_messages_of_several_inserts_and_of_encoders_keep_their_order() -> None:
    encoder = b"\x06\x05\x14" + UUID + b"x264\x80"
    once = sei.insert(frame(SPS, PPS, encoder, IDR), [SeiMessage(b"one")])
    twice = sei.insert(once, [SeiMessage(b"two", 5, UUID)])
    assert sei.read(twice) == [SeiMessage(b"x264", 5, UUID), SeiMessage(b"one"), SeiMessage(b"two", 5, UUID)]


def test_several_messages_of_one_unit_are_read() -> None:
    unit = b"\x06" + b"\xf3\x02ab" + b"\x01\x01\x00" + b"\xf3\x01c" + b"\x80\x00"
    assert sei.read(frame(unit, SLICE)) == [SeiMessage(b"ab"), SeiMessage(b"c")]


def test_what_follows_the_picture_is_not_looked_at() -> None:
    late = sei.insert(frame(SLICE), [SeiMessage(b"late")])[: -len(frame(SLICE))]
    assert sei.read(frame(SLICE) + late) == []


@pytest.mark.parametrize(
    "unit",
    [
        b"\x06",
        b"\x06\x80",
        b"\x06\xf3",
        b"\x06\xf3\x05ab\x80",
        b"\x06" + b"\xff" * 40,
        b"\x06\x05\x10" + UUID + b"\x80",
    ],
)
def test_broken_messages_are_left_out(unit: bytes) -> None:
    assert sei.read(frame(unit, SLICE)) == []


@pytest.mark.parametrize(
    "message",
    [
        SeiMessage(b""),
        SeiMessage(b"x" * 1001),
        SeiMessage(b"x", 244),
        SeiMessage(b"x", 4),
        SeiMessage(b"x", 255),
        SeiMessage(b"x", 5),
        SeiMessage(b"x", 5, b"short"),
        SeiMessage(b"x", 243, UUID),
    ],
)
def test_messages_that_cannot_be_sent_are_refused(message: SeiMessage) -> None:
    with pytest.raises(ValueError, match="message"):
        sei.insert(frame(SLICE), [message])


def test_frames_without_a_picture_are_refused() -> None:
    for nothing in (b"", b"\x00\x00\x01", frame(SPS, PPS), b"no frame"):
        with pytest.raises(ValueError, match="no picture"):
            sei.insert(nothing, [SeiMessage(b"x")])
    with pytest.raises(ValueError, match="at most"):
        sei.insert(frame(SLICE), [SeiMessage(b"x")] * 33)
    assert sei.insert(b"no frame", []) == b"no frame"


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_messages_stand_before_the_first_picture_of_h265_too(sent: list[bytes]) -> None:
    parameters = b"\0\0\0\1\x40\1vps\0\0\0\1\x42\1sps\0\0\0\1\x44\1pps"
    picture = b"\0\0\0\1\x26\1" + b"picture" * 9
    messages = [SeiMessage(data) for data in sent]
    frame = sei.insert(parameters + picture, messages, codec="h265")
    assert sei.read(frame, codec="h265") == messages
    assert frame.startswith(parameters)
    assert frame.endswith(picture)
    assert frame.count(b"\0\0\0\1\x4e\1") == len(messages)


def test_an_h264_frame_has_no_picture_in_h265_terms() -> None:
    with pytest.raises(ValueError, match="h265"):
        sei.insert(b"\0\0\0\1\x44\1pps", [SeiMessage(b"a")], codec="h265")


def test_the_servers_own_messages_may_be_larger() -> None:
    message = SeiMessage(bytes(20_000), 100)
    frame = b"\0\0\0\1\x65picture"
    with pytest.raises(ValueError, match="at most 1000"):
        sei.insert(frame, [message])
    assert sei.read(sei.insert(frame, [message], max_data=sei.MAX_OWN_DATA)) == [message]
