"""The only place that reads the machine's clocks. Everything else takes a ``Clock`` or a ``now``.

``now_ms`` is Unix time in milliseconds (what events and rows carry); ``monotonic`` is seconds for time-outs.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
