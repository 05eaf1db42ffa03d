"""Tells the operator what becomes of a source's streams: as the task's notes, in the log, in the task's figures.

A note costs the database a transaction, so a source that changes all the time is not told of each time.
"""

import logging
from collections import deque
from collections.abc import Callable

from rtcloud.clock import Clock
from rtcloud.ingest.handling import line, note
from rtcloud.ingest.media import Handling
from rtcloud.tasks.protocol import AnyJobEvent

#: in ``TOLD_WITHIN`` seconds; beyond it only figures say what comes
MOST_TOLD = 20
TOLD_WITHIN = 60.0

_log = logging.getLogger(__name__)


class Telling:
    """``told`` may be called from any thread; what is said again is not told again."""

    def __init__(self, report: Callable[[AnyJobEvent], None], clock: Clock) -> None:
        self._report = report
        self._clock = clock
        self._last: dict[str, Handling] = {}
        self._told: deque[float] = deque(maxlen=MOST_TOLD)

    def told(self, handling: Handling) -> None:
        if self._last.get(handling.kind) == handling:
            return
        self._last = self._last | {handling.kind: handling}
        now = self._clock.monotonic()
        if len(self._told) == MOST_TOLD and now - self._told[0] < TOLD_WITHIN:
            return
        self._told.append(now)
        self._report(note(handling, self._clock.now_ms()))
        _log.info("a stream comes in", extra={"kind": handling.kind, "handling": line(handling)})

    def streams(self) -> dict[str, str]:
        """For ``Figures``."""
        return {kind: line(handling) for kind, handling in self._last.items()}
