import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.rtmp.chunks import AUDIO, SET_CHUNK_SIZE, VIDEO, ChunkReader, ChunkWriter, Message
from rtcloud.rtmp.errors import RtmpError

_MESSAGES = st.lists(
    st.tuples(
        st.sampled_from((4, 5, 6)),
        st.builds(
            Message,
            st.sampled_from((AUDIO, VIDEO)),
            st.binary(max_size=700),
            st.one_of(st.integers(0, 100), st.integers(0xFFFFF0, 0x1000010), st.integers(0, 0xFFFFFFFF)),
            st.integers(0, 2),
        ),
    ),
    max_size=12,
)


@given(_MESSAGES, st.integers(1, 900), st.lists(st.integers(1, 300), min_size=1, max_size=5))
def test_messages_arrive_as_they_were_sent_however_they_were_cut(
    sent: list[tuple[int, Message]], size: int, cuts: list[int]
) -> None:
    writer, reader = ChunkWriter(), ChunkReader()
    data = writer.write(Message(SET_CHUNK_SIZE, size.to_bytes(4, "big")), 2)
    writer.size = size
    data += b"".join(writer.write(message, name) for name, message in sent)
    got: list[Message] = []
    at = turn = 0
    while at < len(data):
        cut = cuts[turn % len(cuts)]
        got += reader.receive(data[at : at + cut])
        at, turn = at + cut, turn + 1
    assert got[1:] == [message for _, message in sent]


def test_headers_are_as_short_as_they_may_be() -> None:
    writer = ChunkWriter()
    assert writer.write(Message(AUDIO, b"abc", 1000, 1), 4).hex() == "040003e80000030801000000616263"
    assert writer.write(Message(AUDIO, b"abcd", 1020, 1), 4).hex() == "440000140000040861626364"
    assert writer.write(Message(AUDIO, b"abcd", 1040, 1), 4).hex() == "8400001461626364"
    assert writer.write(Message(AUDIO, b"abcd", 900, 1), 4)[0] == 0x04


def test_interleaved_streams_and_long_numbers_are_read() -> None:
    reader = ChunkReader()
    first = bytes.fromhex("040000010000c80901000000") + bytes(128)
    between = bytes.fromhex("0100010000020000010801000000aa")
    rest = bytes.fromhex("c4") + bytes(72)
    assert reader.receive(first + between + rest) == [
        Message(AUDIO, b"\xaa", 2, 1),
        Message(VIDEO, bytes(200), 1, 1),
    ]
    assert reader.receive(bytes.fromhex("00050000020000010801000000bb"))[0].data == b"\xbb"


def test_a_message_may_repeat_the_last_header_whole() -> None:
    reader = ChunkReader()
    reader.receive(bytes.fromhex("0400000a0000010801000000aa"))
    reader.receive(bytes.fromhex("84000014bb"))
    assert reader.receive(bytes.fromhex("c4cc")) == [Message(AUDIO, b"\xcc", 50, 1)]


def test_the_extended_time_may_be_left_out_in_further_chunks() -> None:
    head = bytes.fromhex("04 ffffff 000084 08 01000000 01000000") + bytes(128)
    for further in (b"\xc4\1\0\0\0rest", b"\xc4rest"):
        assert ChunkReader().receive(head + further) == [Message(AUDIO, bytes(128) + b"rest", 0x01000000, 1)]


def test_an_aborted_message_is_forgotten() -> None:
    reader = ChunkReader()
    reader.receive(bytes.fromhex("040000010000c80901000000") + bytes(128))
    reader.receive(bytes.fromhex("02000000000004020000000000000004"))
    assert reader.receive(bytes.fromhex("040000010000010901000000aa"))[0].data == b"\xaa"


@given(st.binary(max_size=400))
def test_anything_is_messages_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RtmpError):
        ChunkReader().receive(data)


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("04" "000000" "ffffff" "09" "01000000"),  # a message of 16 MiB
        bytes.fromhex("c4"),  # no header was ever there
        bytes.fromhex("02" "000000" "000004" "01" "00000000" "00000000"),  # chunks of nothing
        bytes.fromhex("02" "000000" "000004" "01" "00000000" "80000000"),
        b"".join(b"\1" + n.to_bytes(2, "big") + bytes.fromhex("000000 000001 09 01000000 00") for n in range(99)),
        (bytes.fromhex("04 000001 0000c8 09 01000000") + bytes(128)) * 2,
    ],
    ids=["message", "header", "no size", "size", "streams", "inside"],
)  # fmt: skip
def test_what_would_cost_too_much_or_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(RtmpError):
        ChunkReader().receive(data)


def test_unfinished_messages_are_bounded_together() -> None:
    reader = ChunkReader(largest_message=1000, most_unfinished=1500)
    head = "0000000003e80901000000"
    data = b"".join(bytes([name]) + bytes.fromhex(head) + bytes(128) for name in range(3, 40))
    with pytest.raises(RtmpError, match="unfinished"):
        reader.receive(data)
