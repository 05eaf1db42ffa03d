"""How often an account may call an action: fixed windows per account, action and region. Pure.

Only the counts of the current windows are kept: all of a window's counts go when it ends, so memory is bounded by the
callers of one window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtcloud.apimodel.model import Action
from rtcloud.errors import ServiceError

DEFAULT_PER_SECOND = 20


@dataclass(slots=True)
class _Window:
    number: int = -1
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)


class RateLimiter:
    """``per_second`` overrides the documented limit of the actions it names; 0 lifts it."""

    def __init__(self, per_second: Mapping[str, int] | None = None) -> None:
        self._overrides = dict(per_second or {})
        self._windows: dict[int, _Window] = {}  # by length in seconds

    def check(self, account: str, action: Action, region: str, now_ms: int) -> None:
        """Count one call, or raise ``RequestLimitExceeded``. A refused call does not count."""
        allowed, seconds = self._limit(action)
        if allowed == 0:
            return
        window = self._windows.setdefault(seconds, _Window())
        number = now_ms // (seconds * 1000)
        if window.number != number:
            window.number = number
            window.counts.clear()
        key = (account, action.name, region)
        count = window.counts.get(key, 0)
        if count >= allowed:
            period = "second" if seconds == 1 else f"{seconds} seconds"
            raise ServiceError(
                "RequestLimitExceeded", f"{action.name} may be called {allowed} times per {period} and region"
            )
        window.counts[key] = count + 1

    def _limit(self, action: Action) -> tuple[int, int]:
        override = self._overrides.get(action.name)
        if override is not None:
            return override, 1
        if action.seconds_per_request is not None:
            return 1, action.seconds_per_request
        return action.requests_per_second or DEFAULT_PER_SECOND, 1
