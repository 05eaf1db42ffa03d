import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.rtmp.amf import DEEPEST, MOST_VALUES, Associative, Value, decode, encode
from rtcloud.rtmp.errors import RtmpError

_LEAVES = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20)
_NAMES = st.text(max_size=8)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=12
)


@given(st.lists(_VALUES, max_size=5))
def test_what_was_written_is_read(values: list[Value]) -> None:
    def depth(value: Value) -> int:
        inner = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
        return 1 + max(map(depth, inner), default=0)

    if max(map(depth, values), default=0) <= DEEPEST:
        assert decode(encode(*values)) == values


def test_the_bytes_are_those_of_the_specification() -> None:
    assert encode("connect", 1.0, {"app": "live"}, None, True).hex() == (
        "020007636f6e6e656374" "003ff0000000000000" "0300036170700200046c697665000009" "05" "0101"
    )  # fmt: skip
    assert encode(Associative(a=0.0)).hex() == "0800000001000161000000000000000000000009"
    assert decode(bytes.fromhex("0b40000000000000000000" + "06" + "1000016103" * 0)) == [2.0, None]
    long = "x" * 70_000
    assert decode(encode(long)) == [long]


@given(st.binary(max_size=200))
def test_anything_is_a_value_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RtmpError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x03\x00\x01a" * 1000,  # deep
        b"\x0a\x00\x00\x00\x01" * 1000,
        b"\x05" * (MOST_VALUES + 1),
        b"\x0a\xff\xff\xff\xff",
        b"\x02\xff\xffabc",
        b"\x0c\xff\xff\xff\xffabc",
        b"\x07\x00\x01",  # a reference
        b"\x11",
    ],
)
def test_what_is_too_deep_too_large_or_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(RtmpError):
        decode(data)
