"""How often an account may call: fixed windows per account, action and region, and optionally over all its calls. Pure.

Only the counts of the current windows are kept: all of a window's counts go when it ends, so memory is bounded by the
callers of one window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtcloud.apimodel.model import Action
from rtcloud.errors import ServiceError

DEFAULT_PER_SECOND = 20
EVERY_ACTION = "*"


Key = tuple[str, str, str]  # account, action, region


@dataclass(slots=True)
class _Window:
    number: int = -1
    counts: dict[Key, int] = field(default_factory=dict)


class RateLimiter:
    """``per_second`` overrides the documented limit of the actions it names, ``*`` that of every other; 0 lifts it.

    ``account_per_second`` and ``account_region_per_second`` bound all calls of an account, and those of it in one
    region; 0 is no such bound.
    """

    def __init__(
        self,
        per_second: Mapping[str, int] | None = None,
        *,
        account_per_second: int = 0,
        account_region_per_second: int = 0,
    ) -> None:
        self._overrides = dict(per_second or {})
        self._account_per_second = account_per_second
        self._account_region_per_second = account_region_per_second
        self._windows: dict[int, _Window] = {}  # by length in seconds

    def check(self, account: str, action: Action, region: str, now_ms: int) -> None:
        """Count one call, or raise ``RequestLimitExceeded…``. A refused call does not count."""
        allowed, seconds = self._limit(action)
        of_action, of_all = self._counts(seconds, now_ms), self._counts(1, now_ms)
        by_action, by_account, by_region = (account, action.name, region), (account, "", ""), (account, "*", region)
        if allowed and of_action.get(by_action, 0) >= allowed:
            period = "second" if seconds == 1 else f"{seconds} seconds"
            raise _exceeded("", f"{action.name} may be called {allowed} times per {period} and region")
        if self._account_per_second and of_all.get(by_account, 0) >= self._account_per_second:
            raise _exceeded(".UinLimitExceeded", f"an account may call {self._account_per_second} times per second")
        if self._account_region_per_second and of_all.get(by_region, 0) >= self._account_region_per_second:
            limit = f"an account may call {self._account_region_per_second} times per second and region"
            raise _exceeded(".GlobalRegionUinLimitExceeded", limit)
        if allowed:
            of_action[by_action] = of_action.get(by_action, 0) + 1
        if self._account_per_second:
            of_all[by_account] = of_all.get(by_account, 0) + 1
        if self._account_region_per_second:
            of_all[by_region] = of_all.get(by_region, 0) + 1

    def _counts(self, seconds: int, now_ms: int) -> dict[Key, int]:
        window = self._windows.get(seconds)
        if window is None:
            window = self._windows[seconds] = _Window()
        number = now_ms // (seconds * 1000)
        if window.number != number:
            window.number = number
            window.counts.clear()
        return window.counts

    def _limit(self, action: Action) -> tuple[int, int]:
        override = self._overrides.get(action.name, self._overrides.get(EVERY_ACTION))
        if override is not None:
            return override, 1
        if action.seconds_per_request is not None:
            return 1, action.seconds_per_request
        return action.requests_per_second or DEFAULT_PER_SECOND, 1


def _exceeded(kind: str, message: str) -> ServiceError:
    return ServiceError(f"RequestLimitExceeded{kind}", message)
