"""Bounds on connections that have not published."""

from rtcloud.ingest.push.crowd import Bounds, Crowd, origin_of

BOUNDS = Bounds(connections=6, waiting=4, per_address=2)


def filled(count: int) -> Crowd:
    crowd = Crowd(BOUNDS)
    for number in range(count):
        assert crowd.enter(number, f"192.0.2.{number}")
    return crowd


def test_whoever_waits_longest_makes_room() -> None:
    crowd = filled(4)
    assert crowd.superfluous() is None
    assert crowd.enter("new", "198.51.100.1")
    assert crowd.superfluous() == 0
    assert crowd.superfluous() is None
    assert (crowd.held, crowd.waiting) == (4, 4)


def test_one_address_cannot_take_all_places() -> None:
    crowd = Crowd(BOUNDS)
    assert crowd.enter(1, "192.0.2.1")
    assert crowd.enter(2, "::ffff:192.0.2.1")
    assert not crowd.enter(3, "192.0.2.1")
    crowd.settle(1)
    assert crowd.enter(4, "192.0.2.1")
    crowd.leave(2)
    assert crowd.enter(5, "192.0.2.1")


def test_those_who_published_are_never_sent_away() -> None:
    crowd = Crowd(BOUNDS)
    for number in range(6):
        assert crowd.enter(number, f"192.0.2.{number}")
        crowd.settle(number)
    assert not crowd.enter("new", "198.51.100.1")
    crowd.leave(3)
    assert crowd.enter("new", "198.51.100.1")
    assert crowd.enter("newer", "198.51.100.2")
    assert crowd.superfluous() == "new"
    assert crowd.held == 6


def test_a_network_of_ipv6_is_one_stranger() -> None:
    assert origin_of("2001:db8::1") == origin_of("2001:db8::ffff:1")
    assert origin_of("2001:db8::1") != origin_of("2001:db8:1::1")
    assert origin_of("fe80::1%eth0") == origin_of("fe80::2")
    assert origin_of("somewhere") == "somewhere"
