from hypothesis import given
from hypothesis import strategies as st

from rtcloud.callbacks.schedule import Schedule

BORN = 1_000_000


def attempts(answer_ms: int, *, first_ms: int = BORN, running_since_ms: int = 0) -> list[int]:
    """When tries begin, after birth, if each fails ``answer_ms`` after it began."""
    begun, now = [], first_ms
    while True:
        begun.append(now - BORN)
        now += answer_ms
        following = Schedule().next_attempt_ms(
            attempts=len(begun), created_ms=BORN, running_since_ms=running_since_ms, now_ms=now
        )
        if following is None:
            return begun
        now = following


def test_refused_at_once_then_every_ten_seconds_until_a_minute_old() -> None:
    assert attempts(0) == [0, 0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]


def test_time_outs_push_the_later_attempts() -> None:
    assert attempts(5_000) == [0, 5_000, 20_000, 35_000, 50_000]


def test_an_event_that_waited_for_its_turn_is_still_tried_twice() -> None:
    assert attempts(0, first_ms=BORN + 300_000) == [300_000, 300_000]


def test_our_own_down_time_does_not_count() -> None:
    started = BORN + 3_600_000
    assert attempts(0, first_ms=started, running_since_ms=started)[-1] == 3_660_000


@given(st.integers(0, 5_000), st.integers(0, 10**7))
def test_no_attempt_begins_after_the_minute_unless_it_is_one_of_the_first_two(answer_ms: int, wait_ms: int) -> None:
    begun = attempts(answer_ms, first_ms=BORN + wait_ms)
    assert len(begun) >= 2
    assert all(at <= 60_000 for at in begun[2:])
