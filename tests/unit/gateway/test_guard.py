"""What strangers may send: bytes per address and altogether, failures; what is put back, and how much is remembered."""

from rtcloud.errors import ServiceError
from rtcloud.gateway.guard import Guard, GuardSettings, group_of

SMALL = GuardSettings(
    address_bytes=1000,
    address_bytes_per_second=100,
    gateway_bytes=2500,
    gateway_bytes_per_second=1000,
    failures_per_second=3,
    max_addresses=50,
)


def took(guard: Guard, address: str, size: int, now_ms: int = 0) -> str:
    try:
        guard.take(address, size, now_ms)
    except ServiceError as error:
        return error.code
    return ""


def failed(guard: Guard, address: str, now_ms: int = 0) -> str:
    try:
        guard.failed(address, now_ms)
    except ServiceError as error:
        return error.code
    return ""


def test_unproved_bytes_of_an_address_are_bounded_and_forgiven_with_time() -> None:
    guard = Guard(SMALL)
    assert [took(guard, "1.1.1.1", 400) for _ in range(3)] == ["", "", "RequestLimitExceeded.IPLimitExceeded"]
    assert took(guard, "2.2.2.2", 400) == ""
    assert took(guard, "1.1.1.1", 400, 1999) == "RequestLimitExceeded.IPLimitExceeded"
    assert took(guard, "1.1.1.1", 400, 2000) == ""


def test_unproved_bytes_of_all_addresses_are_bounded() -> None:
    guard = Guard(SMALL)
    assert [took(guard, f"1.1.1.{n}", 1000) for n in range(3)] == ["", "", "ServiceUnavailable"]
    assert took(guard, "1.1.1.9", 1000, 500) == ""


def test_proved_bytes_are_put_back() -> None:
    guard = Guard(SMALL)
    for _ in range(100):
        assert took(guard, "1.1.1.1", 1000) == ""
        guard.give("1.1.1.1", 1000, 0)
    assert took(guard, "1.1.1.2", 1000) == ""
    guard.give("9.9.9.9", 10, 0)


def test_failures_are_counted_per_second_and_stop_large_bodies_only() -> None:
    guard, exceeded = Guard(SMALL), "RequestLimitExceeded.IPLimitExceeded"
    assert [failed(guard, "1.1.1.1", n) for n in range(4)] == ["", "", "", exceeded]
    assert took(guard, "1.1.1.1", 1, 999) == exceeded
    assert failed(guard, "2.2.2.2", 999) == ""
    assert took(guard, "1.1.1.1", 1, 1000) == ""
    assert failed(guard, "1.1.1.1", 1000) == ""


def test_only_so_many_addresses_are_remembered() -> None:
    guard = Guard(SMALL)
    for n in range(1000):
        failed(guard, f"10.0.{n // 250}.{n % 250}")
        failed(guard, "1.1.1.1")
        assert len(guard._records) <= 50
    assert failed(guard, "1.1.1.1") == "RequestLimitExceeded.IPLimitExceeded"


def test_an_ipv6_customer_is_one_client() -> None:
    assert group_of("2001:db8:1:2:3::4") == group_of("2001:db8:1:2:ffff::9%eth0") == "2001:db8:1:2::/64"
    assert group_of("2001:db8:1:3::1") != group_of("2001:db8:1:2::1")
    assert group_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert (group_of(""), group_of("a:b")) == ("", "a:b")


def test_a_clock_that_goes_back_forgives_nothing() -> None:
    guard = Guard(SMALL)
    assert took(guard, "1.1.1.1", 1000, 5000) == ""
    assert took(guard, "1.1.1.1", 1000, 1000) == "RequestLimitExceeded.IPLimitExceeded"
