from hypothesis import given
from hypothesis import strategies as st

from rtcloud.callbacks.receiver import FIRST_PLACES, MOST_PLACES, PATIENCE, Receiver
from rtcloud.callbacks.schedule import Schedule


def try_once(receiver: Receiver, now_ms: int, *, answered: bool) -> None:
    receiver.begin(now_ms)
    receiver.end(answered=answered, now_ms=now_ms)


def dead(now_ms: int = 0) -> Receiver:
    receiver = Receiver()
    for _ in range(PATIENCE):
        try_once(receiver, now_ms, answered=False)
    return receiver


def test_places_grow_with_answers_and_shrink_without() -> None:
    receiver, seen = Receiver(), []
    for answered in (True, True, True, True, False, False, True):
        seen.append(receiver.places(0))
        try_once(receiver, 0, answered=answered)
    assert seen == [FIRST_PLACES, 4, 8, MOST_PLACES, MOST_PLACES, 8, 4]


def test_attempts_under_way_take_places() -> None:
    receiver = Receiver()
    receiver.begin(0)
    assert receiver.places(0) == FIRST_PLACES - 1
    receiver.begin(0)
    assert receiver.places(0) == 0


def test_one_answer_forgives_all_silence() -> None:
    receiver = Receiver()
    for _ in range(PATIENCE - 1):
        try_once(receiver, 0, answered=False)
    try_once(receiver, 0, answered=True)
    try_once(receiver, 0, answered=False)
    assert not receiver.is_open(0)


def test_the_breaker_opens_and_one_attempt_decides() -> None:
    receiver = dead()
    assert receiver.is_open(4_999)
    assert receiver.places(4_999) == 0
    assert not receiver.is_open(5_000)
    assert receiver.places(5_000) == 1
    receiver.begin(5_000)
    assert receiver.places(5_000) == 0
    assert not receiver.is_open(5_000)  # the others wait for what that one comes to
    receiver.end(answered=False, now_ms=10_000)
    assert receiver.is_open(14_999)
    try_once(receiver, 15_000, answered=True)
    assert receiver.open_until_ms is None
    assert receiver.places(15_000) >= 2


def test_silence_of_attempts_begun_before_does_not_keep_it_open() -> None:
    receiver = Receiver(allowed=16, under_way=6)
    for at_ms in (0, 0, 0, 0, 0, 4_000):
        receiver.end(answered=False, now_ms=at_ms)
    assert receiver.places(5_000) == 1


def test_an_address_is_idle_when_nothing_is_under_way() -> None:
    receiver = Receiver()
    receiver.begin(10)
    assert not receiver.is_idle(99)
    receiver.end(answered=True, now_ms=20)
    assert not receiver.is_idle(20)
    assert receiver.is_idle(21)


@given(st.integers(0, 5_000))
def test_the_attempts_of_an_event_that_is_alone_are_all_made(answer_ms: int) -> None:
    schedule, receiver = Schedule(), Receiver()
    for _ in range(PATIENCE - 1):  # whatever was before
        try_once(receiver, 0, answered=False)
    now_ms = 20_000
    for attempts in range(1, 100):
        assert attempts == 2 or receiver.places(now_ms) > 0  # the repetition at once may meet the breaker
        if receiver.places(now_ms):
            receiver.begin(now_ms)
            now_ms += answer_ms
            receiver.end(answered=False, now_ms=now_ms)
        following = schedule.next_attempt_ms(attempts=attempts, created_ms=20_000, running_since_ms=0, now_ms=now_ms)
        if following is None:
            break
        now_ms = following
    assert attempts >= 5
