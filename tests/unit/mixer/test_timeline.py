"""Frames at their moments: jitter never heard, drift followed, holes filled, nothing kept for ever."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcloud.mixer.timeline import MAX_BYTES, MAX_FRAMES, RATE, AudioTimeline, Samples, VideoTimeline

BLOCK = 960


def tone(start: int, count: int = BLOCK, hertz: float = 400.0) -> Samples:
    return np.sin(2 * np.pi * hertz * np.arange(start, start + count) / RATE, dtype=np.float32)[None, :]


def play(timeline: AudioTimeline, start: int, blocks: int) -> Samples:
    pieces = [timeline.read(start + index * BLOCK, BLOCK) for index in range(blocks)]
    silence = np.zeros((1, BLOCK), np.float32)
    return np.concatenate([silence if piece is None else piece for piece in pieces], axis=1)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**20), st.integers(1, 40))
def test_packets_in_order_are_played_unchanged(rtp: int, at: int, count: int) -> None:
    timeline = AudioTimeline(1)
    for index in range(count):
        timeline.push(at + index * BLOCK, (rtp + index * BLOCK) & 0xFFFFFFFF, tone(index * BLOCK))
    heard = play(timeline, at, count)
    assert np.allclose(heard[:, 120:], tone(0, count * BLOCK)[:, 120:])


@settings(max_examples=25)
@given(st.integers(0, 2**16))
def test_jitter_of_placed_times_is_not_heard(seed: int) -> None:
    chance = random.Random(seed)
    timeline = AudioTimeline(1)
    for index in range(200):
        jitter = chance.randint(-90, 90)
        timeline.push(index * BLOCK + jitter, index * BLOCK, tone(index * BLOCK))
    heard = play(timeline, 0, 200)
    assert timeline.jumps == 0
    begin = int(np.argmax(np.abs(heard[0]) > 0.01))
    assert begin < 300
    # one tone throughout: no sample of the middle differs from its neighbour by more than the tone can
    assert np.abs(np.diff(heard[0, 1000:])).max() < 2 * np.pi * 400 / RATE * 1.05


@pytest.mark.parametrize("drift", [-300e-6, -50e-6, 50e-6, 300e-6])
def test_a_drifting_clock_is_followed_for_hours(drift: float) -> None:
    """Two hours of a sender whose clock is off; the position never strays more than a few milliseconds."""
    timeline = AudioTimeline(1)
    silence = np.zeros((1, BLOCK), np.float32)
    worst = 0.0
    for index in range(2 * 3600 * 50):
        real = round(index * BLOCK * (1 + drift))
        timeline.push(real, (index * BLOCK) & 0xFFFFFFFF, silence)
        worst = max(worst, abs(timeline._next - BLOCK - real))
        if index % 50 == 0:
            timeline.read(max(0, real - 14_400), BLOCK)
            timeline._blocks.clear()
            timeline._held = 0
    assert worst < RATE * 0.006
    assert timeline.jumps == 0


def test_a_lasting_large_difference_is_jumped_over() -> None:
    timeline = AudioTimeline(1)
    for index in range(50):
        timeline.push(index * BLOCK, index * BLOCK, tone(index * BLOCK))
    for index in range(50, 150):
        timeline.push(index * BLOCK + 4_800, index * BLOCK, tone(index * BLOCK))
    assert timeline.jumps >= 1
    assert abs(timeline._next - (150 * BLOCK + 4_800)) < RATE // 50


def test_a_pause_starts_anew_at_its_own_moment() -> None:
    timeline = AudioTimeline(1)
    timeline.push(0, 0, tone(0))
    timeline.push(RATE * 3, RATE * 2, tone(0))
    heard = play(timeline, 0, 152)
    assert np.abs(heard[0, BLOCK + 480 : RATE * 3]).max() == 0
    assert np.abs(heard[0, RATE * 3 + 120 :]).max() > 0.9


def test_the_first_exact_time_corrects_a_guessed_one() -> None:
    timeline = AudioTimeline(1)
    timeline.push(2_000, 0, tone(0), is_exact=False)
    timeline.push(2_000 + BLOCK, BLOCK, tone(BLOCK), is_exact=False)
    timeline.push(500 + 2 * BLOCK, 2 * BLOCK, tone(2 * BLOCK))
    assert timeline._next == 500 + 3 * BLOCK


def test_duplicates_and_late_packets_are_dropped() -> None:
    timeline = AudioTimeline(1)
    timeline.push(0, 0, tone(0))
    timeline.push(BLOCK, BLOCK, tone(BLOCK))
    timeline.push(0, 0, np.full((1, BLOCK), 5.0, np.float32))
    assert np.abs(play(timeline, 0, 2)).max() <= 1.0
    timeline.push(BLOCK + 10, BLOCK * 2 - 950, tone(0))
    assert timeline.read(2 * BLOCK, BLOCK) is not None  # the fading tail of the hole
    timeline = AudioTimeline(1)
    timeline.read(0, 10 * BLOCK)
    timeline.push(0, 0, tone(0))
    assert timeline.late == 1
    assert timeline.read(10 * BLOCK, BLOCK) is None


def test_a_hole_fades_out_without_a_click_and_then_is_silent() -> None:
    timeline = AudioTimeline(1)
    timeline.push(0, 0, tone(0))
    timeline.push(3 * BLOCK, 3 * BLOCK, tone(3 * BLOCK))
    heard = play(timeline, 0, 4)
    assert np.abs(np.diff(heard[0, 200:])).max() < 0.25
    assert np.abs(heard[0, BLOCK + 480 : 3 * BLOCK]).max() == 0
    assert np.abs(heard[0, BLOCK : BLOCK + 200]).max() > 0.2


def test_what_a_track_holds_is_bounded() -> None:
    timeline = AudioTimeline(1)
    for index in range(2000):
        timeline.push(index * BLOCK, index * BLOCK, tone(0))
    assert timeline._held <= RATE * 6
    video: VideoTimeline[int] = VideoTimeline()
    assert all(video.push(index, 10, index) for index in range(MAX_FRAMES))
    assert not video.push(MAX_FRAMES, 10, MAX_FRAMES)
    assert video.due(10**9) == []
    assert not video.push(0, MAX_BYTES + 1, 0)


@given(st.lists(st.integers(0, 1000), max_size=50), st.integers(0, 1000))
def test_due_video_comes_in_decoding_order_and_once(times: list[int], now: int) -> None:
    video: VideoTimeline[int] = VideoTimeline()
    for index, at in enumerate(times):
        video.push(at, 1, index)
    first = [frame for _, frame in video.due(now)]
    rest = [frame for _, frame in video.due(1000)]
    assert first + rest == list(range(len(times)))
    assert not rest or times[rest[0]] > now
