"""Limits of calls: windows, overrides, who is counted apart."""

from dataclasses import replace

import pytest

from rtcloud.apimodel.model import load_model
from rtcloud.errors import ServiceError
from rtcloud.gateway.limits import RateLimiter

MODEL = load_model()
REMOVE = MODEL.actions["RemoveUser"]


def allowed(limiter: RateLimiter, calls: int, now_ms: int = 0, account: str = "a", region: str = "r") -> int:
    return sum(is_allowed(limiter, now_ms, account, region) for _ in range(calls))


def is_allowed(limiter: RateLimiter, now_ms: int, account: str, region: str) -> bool:
    try:
        limiter.check(account, REMOVE, region, now_ms)
    except ServiceError:
        return False
    return True


def test_each_window_allows_the_documented_number() -> None:
    limiter = RateLimiter()
    assert allowed(limiter, 30, now_ms=999) == 20
    assert allowed(limiter, 30, now_ms=1000) == 20
    with pytest.raises(ServiceError, match="RequestLimitExceeded: RemoveUser may be called 20 times per second"):
        limiter.check("a", REMOVE, "r", 1999)


def test_accounts_and_regions_are_counted_apart() -> None:
    limiter = RateLimiter()
    assert allowed(limiter, 30) == 20
    assert allowed(limiter, 30, region="other") == 20
    assert allowed(limiter, 30, account="b") == 20


def test_limits_can_be_replaced_and_lifted() -> None:
    assert allowed(RateLimiter({"RemoveUser": 3}), 30) == 3
    assert allowed(RateLimiter({"RemoveUser": 0}), 500) == 500


def test_longer_windows_are_kept() -> None:
    limiter, usage = RateLimiter(), MODEL.actions["DescribeTrtcRoomUsage"]
    assert usage.seconds_per_request == 15
    limiter.check("a", usage, "r", 0)
    with pytest.raises(ServiceError, match="15 seconds"):
        limiter.check("a", usage, "r", 14_999)
    limiter.check("a", usage, "r", 15_000)


def test_action_without_a_documented_limit_has_the_default_one() -> None:
    limiter, action = RateLimiter(), replace(REMOVE, requests_per_second=None)
    for _ in range(20):
        limiter.check("a", action, "r", 0)
    with pytest.raises(ServiceError):
        limiter.check("a", action, "r", 0)
