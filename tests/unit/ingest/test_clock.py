"""Clocks of sources on virtual time: jumps taken out, drift followed without steps, no lasting delay."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcloud.ingest.clock import EARLY_US, Continuity, LiveClock

MINUTE_US = 60_000_000
#: where a server's clock is when a source begins
NOW_US = 1_700_000_000_000_000


def live(
    minutes: float, *, ppm: float = 0.0, jitter_us: int = 0, seed: int = 1, every_us: int = 20_000
) -> list[tuple[int, int, int]]:
    """(captured, placed, now), all on the server's clock, of a source that runs so many millionths fast."""
    clock, rolls = LiveClock(), random.Random(seed)
    out, arrived = [], 0
    for index in range(round(minutes * MINUTE_US / every_us)):
        captured = NOW_US + index * every_us
        source = round(index * every_us * (1 + ppm / 1e6)) + 77_000_000
        arrived = max(arrived, captured + round(rolls.random() ** 2 * jitter_us))
        out.append((captured, clock.place(source, arrived), arrived))
    return out


@pytest.mark.parametrize("ppm", [-100, 0, 100])
@pytest.mark.parametrize("jitter_us", [0, 200_000])
def test_half_an_hour_of_drift_and_jitter_stays_near_the_capture_without_steps(ppm: int, jitter_us: int) -> None:
    placed = live(30, ppm=ppm, jitter_us=jitter_us)
    begun = [each for each in placed if each[0] > NOW_US + 15_000_000]
    errors = [at - captured for captured, at, _ in begun]
    assert max(errors) < 10_000
    assert min(errors) > -10_000
    # 20 ms apart, give or take what slewing and the source's own error are
    assert all(abs(b - a - 20_000) <= 25 for (_, a, _), (_, b, _) in zip(begun, begun[1:], strict=False))
    assert all(at <= now + EARLY_US for _, at, now in placed)


@settings(max_examples=25, deadline=None)
@given(st.integers(-300, 300), st.integers(0, 200_000), st.integers(0, 2**32))
def test_any_crystal_is_followed(ppm: int, jitter_us: int, seed: int) -> None:
    placed = live(4, ppm=ppm, jitter_us=jitter_us, seed=seed, every_us=33_333)
    assert all(abs(at - captured) < 15_000 for captured, at, _ in placed[len(placed) // 2 :])


def test_a_burst_at_the_beginning_leaves_no_delay() -> None:
    clock = LiveClock()
    for index in range(100):  # three seconds that waited somewhere come at once
        clock.place(index * 33_333, NOW_US + index * 100)
    late = NOW_US - 100 * 33_333 + 10_000
    for index in range(100, 400):
        placed = clock.place(index * 33_333, late + index * 33_333)
    assert placed == late + 399 * 33_333


def test_a_source_that_stood_still_is_placed_anew_within_a_second() -> None:
    clock = LiveClock()
    for index in range(500):
        clock.place(index * 20_000, NOW_US + index * 20_000)
    for index in range(500, 600):
        now = NOW_US + index * 20_000 + 5_000_000
        placed = clock.place(index * 20_000, now)
        assert placed <= now
        if index > 500 + 50:
            assert now - placed < 1_000


def test_a_stall_that_bursts_out_moves_nothing() -> None:
    clock = LiveClock()
    for index in range(500):
        clock.place(index * 20_000, NOW_US + index * 20_000)
    stalled = NOW_US + 500 * 20_000 + 2_000_000
    for index in range(500, 600):
        clock.place(index * 20_000, stalled + (index - 500) * 500)
    placed = [clock.place(index * 20_000, NOW_US + index * 20_000) for index in range(610, 700)]
    assert placed == [NOW_US + index * 20_000 for index in range(610, 700)]


def test_no_time_is_of_the_future() -> None:
    clock = LiveClock()
    clock.place(0, NOW_US)
    assert clock.place(10_000_000, NOW_US + 20_000) <= NOW_US + 20_000 + EARLY_US
    assert clock.place(10_020_000, NOW_US + 40_000) == NOW_US + 40_000


# Jumps --------------------------------------------------------------------------------------------------------------


def test_a_source_without_jumps_keeps_its_times() -> None:
    continuity = Continuity()
    assert {continuity.shift("video", index * 40_000) for index in range(100)} == {0}
    assert continuity.shift("audio", 500_000) == 0
    assert continuity.jumps == 0


@pytest.mark.parametrize("jump_us", [-3_600_000_000, -800_000, 5_000_000, 2**45])
def test_a_jump_goes_on_where_it_was_for_both_streams(jump_us: int) -> None:
    continuity = Continuity()
    video, audio = [], []
    for index in range(200):
        offset = 10_000_000 + (jump_us if index >= 100 else 0)
        at = index * 40_000 + offset
        video.append(at + continuity.shift("video", at))
        for part in range(2):
            at = index * 40_000 + part * 20_000 + offset - 30_000  # sound comes in its packets a little later
            audio.append(at + continuity.shift("audio", at))
    assert continuity.jumps == 1
    assert all(0 < b - a <= 60_000 for a, b in zip(video, video[1:], strict=False))
    assert all(-60_000 < b - a <= 60_000 for a, b in zip(audio, audio[1:], strict=False))
    assert audio[-2] - video[-1] == audio[0] - video[0] == -30_000


def test_pictures_that_come_seldom_are_no_jumps_beside_sound_that_goes_on() -> None:
    continuity = Continuity()
    for index in range(3000):
        assert continuity.shift("audio", index * 20_000) == 0
        if index % 350 == 0:  # each 7 s, as slides do
            assert continuity.shift("video", index * 20_000) == 0
    assert continuity.jumps == 0


@pytest.mark.parametrize(("pause_us", "jumps"), [(7_000_000, 0), (11_000_000, 1)])
def test_pictures_alone_may_pause_for_ten_seconds(pause_us: int, jumps: int) -> None:
    continuity = Continuity()
    for index in range(10):
        continuity.shift("video", index * pause_us)
    assert continuity.jumps == 9 * jumps


def test_a_cut_continues_behind_both_streams_whatever_the_times_say() -> None:
    continuity = Continuity()
    for index in range(50):
        continuity.shift("video", index * 40_000)
        continuity.shift("audio", index * 40_000 + 300_000)
    continuity.cut()
    begin = 0 + continuity.shift("audio", 0)
    assert begin == 49 * 40_000 + 300_000 + 40_000
    assert continuity.shift("video", 80_000) == begin
    assert continuity.shift("video", 120_000) == begin


def test_reordered_pictures_leave_no_hole_at_a_cut() -> None:
    # each round: decoding begins two pictures before the first is shown, and the sound lasts as long as the pictures
    continuity = Continuity()
    shown: list[int] = []
    for _ in range(5):
        for index in range(25):
            at = index * 40_000
            shift = continuity.shift("video", at - 80_000, at)
            shown.append(at + shift)
            for part in range(2):
                continuity.shift("audio", at + part * 20_000, at + part * 20_000)
        continuity.cut()
    assert {later - earlier for earlier, later in zip(shown, shown[1:], strict=False)} == {40_000}


def test_a_moment_far_from_its_decoding_makes_no_hole_at_a_cut() -> None:
    continuity = Continuity()
    continuity.shift("video", 0, 2**50)
    continuity.cut()
    assert continuity.shift("video", 0, 0) <= 1_100_000


def test_a_stream_that_comes_after_a_cut_belongs_to_what_follows_it() -> None:
    continuity = Continuity()
    continuity.shift("audio", 1_000_000)
    continuity.cut()
    shift = continuity.shift("audio", 50_000)
    assert continuity.shift("video", 60_000) == shift


def test_a_cut_before_anything_came_is_nothing() -> None:
    continuity = Continuity()
    continuity.cut()
    assert continuity.shift("audio", 1_000_000) == 0


@given(st.lists(st.tuples(st.sampled_from(["audio", "video"]), st.integers(-(2**62), 2**62)), max_size=60))
def test_times_that_are_nonsense_give_bounded_times(packets: list[tuple[str, int]]) -> None:
    continuity = Continuity()
    for kind, at in packets:
        assert -(10**16) < at + continuity.shift(kind, at) < 10**16  # type: ignore[arg-type]
