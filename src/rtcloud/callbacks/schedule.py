"""When to try a callback again, as the documents have it: at once after the first failure, then every ten seconds
until the message is a minute old; then it is parked.

The minute counts from when the event entered the outbox, or, when the sender was started after that, from its start:
time during which we were down does not count against the receiver. An event that waited for its room's turn longer
than the minute is still tried twice.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    timeout_ms: int = 5_000
    interval_ms: int = 10_000
    lifetime_ms: int = 60_000

    def next_attempt_ms(self, *, attempts: int, created_ms: int, running_since_ms: int, now_ms: int) -> int | None:
        """When to try again after ``attempts`` tries, the last of which failed at ``now_ms``; None: park it."""
        if attempts <= 1:
            return now_ms
        next_ms = now_ms + self.interval_ms
        born_ms = max(created_ms, running_since_ms)
        return next_ms if next_ms - born_ms <= self.lifetime_ms else None
