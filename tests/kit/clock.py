"""A clock that moves when a test says so."""

NOW_MS = 1_700_000_000_000


class StillClock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000
