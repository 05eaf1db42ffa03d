"""A packed minute gives back what was put in, to the precision that is kept."""

import contextlib
import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.stats.samples import COLUMNS, MINUTE_MS, MOST_PER_MINUTE, Minute, Sample, minute_of, unpack

MINUTE = 28_333_333
BEGIN = MINUTE * MINUTE_MS


def value(name: str) -> st.SearchStrategy[float | None]:
    if name.endswith("_loss"):
        return st.none() | st.floats(0, 1)
    if name.endswith("_bitrate"):
        return st.none() | st.integers(0, 200_000_000)
    return st.none() | st.integers(0, 100_000)


SAMPLES = st.lists(
    st.builds(
        Sample,
        at_ms=st.integers(BEGIN, BEGIN + MINUTE_MS - 1),
        **{one.name: value(one.name) for one in fields(Sample)[1:]},
    ),
    max_size=MOST_PER_MINUTE,
)


def tolerance(name: str) -> dict[str, float]:
    if name.endswith("_loss"):
        return {"abs": 0.0005 + 1e-9}
    return {"rel": 0.015, "abs": 1} if name.endswith("_bitrate") else {"abs": 0}


def packed(samples: list[Sample]) -> bytes:
    minute = Minute(MINUTE)
    for sample in samples:
        assert minute.add(sample)
    return minute.pack()


@given(SAMPLES)
def test_what_is_packed_is_unpacked(samples: list[Sample]) -> None:
    found = unpack(MINUTE, packed(samples))
    assert len(found) == len(samples)
    for sample, kept in zip(samples, found, strict=True):
        assert 0 <= sample.at_ms - kept.at_ms < 100
        for _, name, _scale in COLUMNS:
            given_value, kept_value = getattr(sample, name), getattr(kept, name)
            if given_value is None:
                assert kept_value is None
            else:
                assert kept_value == pytest.approx(given_value, **tolerance(name))  # type: ignore[arg-type]


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\x00" + data))
def test_anything_else_is_refused_or_read(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        unpack(MINUTE, data)


def test_a_minute_of_a_steady_call_is_small() -> None:
    steady = [
        Sample(
            BEGIN + n * 2000,
            uplink_loss=0.0,
            downlink_loss=0.002 * (n % 3),
            rtt_ms=20 + n % 4,
            uplink_bitrate=1_200_000 + 7_919 * (n % 13),
            downlink_bitrate=3_600_000 + 15_013 * (n % 11),
            video_width=1280,
            video_height=720,
        )
        for n in range(30)
    ]
    assert len(packed(steady)) < 160


def test_what_is_no_measure_is_unknown() -> None:
    odd = Sample(BEGIN, rtt_ms=-1, uplink_loss=math.nan, downlink_loss=math.inf, uplink_bitrate=10**15)
    (kept,) = unpack(MINUTE, packed([odd]))
    assert (kept.rtt_ms, kept.uplink_loss) == (None, None)
    assert kept.downlink_loss is not None  # at the end of what can be kept
    assert kept.uplink_bitrate is not None


def test_a_column_that_comes_late_is_unknown_before() -> None:
    found = unpack(MINUTE, packed([Sample(BEGIN), Sample(BEGIN + 2000, rtt_ms=9), Sample(BEGIN + 4000)]))
    assert [one.rtt_ms for one in found] == [None, 9, None]


def test_one_stream_has_no_more_than_its_share_of_a_minute() -> None:
    minute = Minute(MINUTE)
    assert all(minute.add(Sample(BEGIN + n)) for n in range(MOST_PER_MINUTE))
    assert not minute.add(Sample(BEGIN))
    assert len(minute) == MOST_PER_MINUTE


def test_columns_keep_their_numbers() -> None:
    """They are in databases: new fields of Sample go to the end."""
    assert [name for _, name, _ in COLUMNS[:6]] == [
        "uplink_loss",
        "downlink_loss",
        "rtt_ms",
        "jitter_ms",
        "uplink_bitrate",
        "downlink_bitrate",
    ]
    assert [number for number, _, _ in COLUMNS] == list(range(1, 22))
    assert minute_of(BEGIN + 59_999) == MINUTE
