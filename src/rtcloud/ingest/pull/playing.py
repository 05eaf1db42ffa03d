"""Which source is read, from where, and what is done when it ends or breaks. Pure.

A source that never gave anything is tried four times: at once, and 0, 1 and 3 s after each failure. One that has run is
tried with longer pauses too, until it has been away for ``GIVE_UP_S``. What ends is played again as often as was asked
for; of a source that has no end, or whose end may be that of its connection, the end is a failure.
"""

from dataclasses import dataclass

from rtcloud.ingest.pull.request import PLAYED_OUT, SOURCE_GONE, IngestRequest

#: before the attempts that are told of
RETRIES_S = (0.0, 1.0, 3.0)
#: before later ones of a source that has run
PAUSES_S = (5.0, 10.0)
GIVE_UP_S = 600.0
#: who ran so long has recovered
STEADY_S = 5.0


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more after a pause. ``is_told``: of the failure that was, and of the attempt that comes."""

    after_s: float
    tells_failure: bool
    tells_attempt: bool


@dataclass(frozen=True, slots=True)
class Over:
    leave_code: int


@dataclass(frozen=True, slots=True)
class NextRound:
    pass


class Course:
    """Of one address. ``has_run``: an earlier attempt of the task got something from it. ``deadline_s`` is when
    MaxDuration is over."""

    def __init__(
        self, request: IngestRequest, *, rounds: int = 0, has_run: bool = False, deadline_s: float | None = None
    ) -> None:
        self._repeat = request.repeat_num
        self._deadline_s = deadline_s
        self._has_run = has_run
        self._failures = 0
        self._since_s: float | None = None  # when it was lost
        self._running_s: float | None = None
        self.rounds = rounds  # played to their end
        self.has_run_here = False  # not only in an earlier attempt

    def succeeded(self, now_s: float) -> None:
        """It gives media."""
        self._running_s = now_s
        self._has_run = self.has_run_here = True

    def failed(self, now_s: float) -> Again | Over:
        """It cannot be opened, or it broke."""
        was_running = self._running_s is not None
        if self._running_s is not None and now_s - self._running_s >= STEADY_S:
            self._failures, self._since_s = 0, None
        self._running_s = None
        self._since_s = now_s if self._since_s is None else self._since_s
        self._failures += 1
        tells_failure = was_running or not self._has_run or self._failures == 1
        if self._failures <= len(RETRIES_S):
            return Again(RETRIES_S[self._failures - 1], tells_failure, True)
        if not self._has_run or now_s - self._since_s >= GIVE_UP_S:
            return Over(SOURCE_GONE)
        further = self._failures - len(RETRIES_S) - 1
        return Again(PAUSES_S[min(further, len(PAUSES_S) - 1)], tells_failure, was_running)

    def ended(self, now_s: float) -> NextRound | Over:
        """A round was read to its end."""
        self._failures, self._since_s = 0, None
        self.rounds += 1
        if self.is_expired(now_s) or 0 < self._repeat <= self.rounds:
            return Over(PLAYED_OUT)
        return NextRound()

    def is_expired(self, now_s: float) -> bool:
        return self._deadline_s is not None and now_s >= self._deadline_s
