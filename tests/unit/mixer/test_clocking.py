"""One clock for all: steps followed, nonsense bounded, users kept in step."""

from hypothesis import given
from hypothesis import strategies as st

from rtcloud.mixer.clocking import MAX_AGE_US, ServerClock, UserClock

PATIENCE = 300_000


def test_small_delays_do_not_move_a_known_distance() -> None:
    clock = ServerClock()
    for index in range(400):
        now = 1_000_000 + index * 20_000
        clock.observe(9_000_000 + now - index % 50_000, now)
    assert clock.offset_us == 9_000_000
    assert clock.to_local(clock.to_server(123)) == 123


def test_equal_clocks_stay_equal_however_slow_the_reader_begins() -> None:
    clock = ServerClock()
    for index in range(500):
        delay = 400_000 if index < 100 else 300
        clock.observe(index * 20_000 - delay, index * 20_000)
        assert clock.offset_us == 0


def test_a_frame_from_the_future_shows_the_clocks_to_differ() -> None:
    clock = ServerClock()
    clock.observe(1_000_000, 1_100_000)
    clock.observe(2_000_000, 1_500_000)
    assert clock.offset_us == 500_000


def test_a_step_of_the_servers_clock_is_followed_within_seconds() -> None:
    clock = ServerClock()
    for index in range(200):
        clock.observe(index * 20_000, index * 20_000)
    for index in range(200, 500):
        clock.observe(index * 20_000 - 3_600_000_000, index * 20_000)
    assert clock.offset_us == -3_600_000_000


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-(2**62), 2**62)), st.integers(0, 40_000)), max_size=200))
def test_placed_times_are_bounded_by_the_arrival(frames: list[tuple[int | None, int]]) -> None:
    clock = UserClock(PATIENCE)
    now = 10**12
    for capture, gap in frames:
        now += gap
        placed = clock.place(capture, now)
        assert now - MAX_AGE_US <= placed <= now


def test_without_a_capture_time_the_usual_delay_is_assumed() -> None:
    clock = UserClock(PATIENCE)
    assert clock.place(None, 1_000_000) == 1_000_000
    for index in range(100):
        clock.place(2_000_000 + index * 20_000, 2_050_000 + index * 20_000)
    assert clock.place(None, 5_000_000) == 4_950_000


def test_a_user_who_is_always_too_late_is_moved_into_time_and_back() -> None:
    clock = UserClock(PATIENCE)
    for index in range(400):
        now = 10_000_000 + index * 20_000
        placed = clock.place(now - 900_000, now)
    assert now - placed < PATIENCE
    for index in range(400, 900):
        now = 10_000_000 + index * 20_000
        placed = clock.place(now - 20_000, now)
    assert now - placed == 20_000
