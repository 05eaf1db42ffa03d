"""How much is asked of one address at a time, learnt from how it answers. Pure.

An address starts with ``FIRST_PLACES`` attempts at once and gets twice as many with each answer, up to
``MOST_PLACES``; each attempt that ends without an answer halves them. After ``PATIENCE`` such attempts in a row its
breaker opens: for ``open_ms`` its attempts count as failed without being made; then one is made, and its end decides.

The breaker stays open for less than the time between two attempts of an event, so those of an event that is alone are
all made. Any HTTP answer, an error too, shows that the receiver lives: what it answers concerns one event; only
silence, which holds places, is the address's.
"""

from dataclasses import dataclass

FIRST_PLACES = 2
MOST_PLACES = 16
PATIENCE = 5


@dataclass(slots=True)
class Receiver:
    open_ms: int = 5_000
    under_way: int = 0
    allowed: int = FIRST_PLACES
    unanswered: int = 0  # in a row
    proven: bool = False  # its last attempt was answered
    open_until_ms: int | None = None  # None: the breaker is closed
    used_ms: int = 0

    def is_open(self, now_ms: int) -> bool:
        """Attempts fail without being made."""
        return self.open_until_ms is not None and now_ms < self.open_until_ms

    def is_idle(self, since_ms: int) -> bool:
        return self.under_way == 0 and self.used_ms < since_ms

    def places(self, now_ms: int) -> int:
        """How many attempts may begin now."""
        if self.is_open(now_ms):
            return 0
        allowed = self.allowed if self.open_until_ms is None else 1
        return max(0, allowed - self.under_way)

    def begin(self, now_ms: int) -> None:
        self.under_way += 1
        self.used_ms = now_ms

    def end(self, *, answered: bool, now_ms: int) -> None:
        self.under_way -= 1
        self.used_ms = now_ms
        self.proven = answered
        if answered:
            self.allowed = min(self.allowed * 2, MOST_PLACES)
            self.unanswered = 0
            self.open_until_ms = None
            return
        self.allowed = max(self.allowed // 2, 1)
        self.unanswered += 1
        if self.unanswered >= PATIENCE and not self.is_open(now_ms):
            self.open_until_ms = now_ms + self.open_ms
