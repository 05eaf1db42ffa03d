"""How often one user may begin a push."""

from rtcloud.ingest.push.frequency import Frequency


def begins(frequency: Frequency, user: str, now: float) -> bool:
    if not frequency.allows(user, now):
        return False
    frequency.note(user, now)
    return True


def test_who_comes_too_often_waits_until_the_oldest_beginning_has_passed() -> None:
    frequency = Frequency(most=3, within_s=60)
    assert [begins(frequency, "ann", now) for now in (0, 1, 2, 3, 59)] == [True, True, True, False, False]
    assert begins(frequency, "bea", 3)
    assert begins(frequency, "ann", 60)
    assert not begins(frequency, "ann", 60.5)
    assert begins(frequency, "ann", 61)


def test_only_so_many_users_are_remembered() -> None:
    frequency = Frequency(most=1, users=2)
    for user in ("ann", "bea", "cleo"):
        assert begins(frequency, user, 0)
    assert not begins(frequency, "cleo", 1)
    assert not begins(frequency, "bea", 1)
    assert begins(frequency, "ann", 1)
