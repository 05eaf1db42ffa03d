"""Limits of calls: windows, overrides, who is counted apart."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.apimodel.model import Action, load_model
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


def test_one_number_can_replace_all_limits_but_those_that_have_their_own() -> None:
    assert allowed(RateLimiter({"*": 4}), 30) == 4
    assert allowed(RateLimiter({"*": 0, "RemoveUser": 7}), 30) == 7
    assert allowed(RateLimiter({"*": 0}), 500) == 500
    limiter, usage = RateLimiter({"*": 2}), MODEL.actions["DescribeTrtcRoomUsage"]
    for now_ms in (0, 0, 1000):
        limiter.check("a", usage, "r", now_ms)


def code(limiter: RateLimiter, action: Action, region: str = "r", account: str = "a", now_ms: int = 0) -> str:
    try:
        limiter.check(account, action, region, now_ms)
    except ServiceError as error:
        return error.code
    return ""


def test_all_calls_of_an_account_can_be_limited() -> None:
    limiter, dismiss = RateLimiter(account_per_second=3), MODEL.actions["DismissRoom"]
    assert [code(limiter, action, region) for action, region in ((REMOVE, "r"), (dismiss, "s"), (REMOVE, "t"))] == [
        ""
    ] * 3
    assert code(limiter, dismiss) == "RequestLimitExceeded.UinLimitExceeded"
    assert code(limiter, dismiss, account="b") == ""
    assert code(limiter, dismiss, now_ms=1000) == ""


def test_all_calls_in_a_region_can_be_limited() -> None:
    limiter, dismiss = RateLimiter(account_region_per_second=2), MODEL.actions["DismissRoom"]
    assert [code(limiter, action) for action in (REMOVE, dismiss)] == [""] * 2
    assert code(limiter, REMOVE) == "RequestLimitExceeded.GlobalRegionUinLimitExceeded"
    assert code(limiter, REMOVE, "other") == ""
    assert code(limiter, REMOVE, account="b") == ""


def test_a_call_that_one_limit_refuses_counts_for_none() -> None:
    limiter = RateLimiter({"RemoveUser": 1, "DismissRoom": 5}, account_per_second=2)
    for _ in range(10):
        code(limiter, REMOVE)
    assert code(limiter, MODEL.actions["DismissRoom"]) == ""


@given(st.lists(st.tuples(st.integers(0, 900), st.sampled_from("ab"), st.sampled_from(["r", "s"])), max_size=60))
def test_windows_agree_with_counting_by_hand(calls: list[tuple[int, str, str]]) -> None:
    limiter, taken, now_ms = RateLimiter({"RemoveUser": 2}), Counter[tuple[int, str, str]](), 0
    for later, account, region in calls:
        now_ms += later
        key = (now_ms // 1000, account, region)
        assert (code(limiter, REMOVE, region, account, now_ms) == "") is (taken[key] < 2)
        taken[key] = min(2, taken[key] + 1)
