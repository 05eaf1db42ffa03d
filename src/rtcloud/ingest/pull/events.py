"""Pulling as a kind of task: what is told of its source. Pure.

    its first attempt gives media          → 701 Status 0
    an attempt failed                      → 701 Status 1, but only the first in an outage of a source that had run
    another one begins                     → 701 Status 2
    the last of an outage failed           → 701 Status 1, 702
    the task's end, whatever the reason    → 702, once

When its job dies, the next one's first attempt is another one: 2, then 0. The story goes on over the attempts of a task
in ``PullProgress``, in the task's row.
"""

import msgspec

from rtcloud.callbacks.events import CallbackEvent, IngestEvent, IngestStart, ingest_event
from rtcloud.ingest.kind import IncomingKind
from rtcloud.ingest.pull.request import KIND, SOURCE_GONE, UNUSABLE
from rtcloud.tasks.kinds import Reaction
from rtcloud.tasks.lifecycle import GIVE_UP_CODE, Task
from rtcloud.tasks.protocol import AnyJobEvent, Left, SourceChanged, Started

#: Jobs that die one after the other die of their source.
MAX_RESTARTS = 5
_FAILED = (SOURCE_GONE, UNUSABLE, GIVE_UP_CODE)


class PullProgress(msgspec.Struct, omit_defaults=True):
    status: int | None = None  # of the last 701
    ran: bool = False  # the source gave media, in this outage or before it
    failed: bool = False  # this outage has been told of
    attempt: int = 0  # the job that told last
    has_ended: bool = False


class IngestKind(IncomingKind):
    name = KIND
    max_restarts: int | None = MAX_RESTARTS
    forgets_restarts = True

    def on_event(self, task: Task, attempt: int, event: AnyJobEvent) -> Reaction:
        story = _Story(task, event.at_ms)
        match event:
            case SourceChanged(state=state) if task.leave_code is None:
                story.go_on(attempt)
                story.change(state)
            case Started() if task.leave_code is None:
                story.go_on(attempt)
            case Left(leave_code=leave_code):
                story.end(leave_code)
            case _:
                return super().on_event(task, attempt, event)
        return story.reaction()


class _Story:
    """Collects what one change makes us tell."""

    def __init__(self, task: Task, at_ms: int) -> None:
        self._task = task
        self._at_ms = at_ms
        self._progress = msgspec.json.decode(task.progress, type=PullProgress)
        self._callbacks: list[CallbackEvent] = []

    def go_on(self, attempt: int) -> None:
        """The job of that attempt says something."""
        progress = self._progress
        if attempt <= progress.attempt:
            return
        progress.attempt, progress.failed = attempt, False
        if progress.status not in (None, IngestStart.AGAIN):  # what the job before began last, it had no time to do
            self._tell(IngestStart.AGAIN)

    def change(self, state: str) -> None:
        progress = self._progress
        match state:
            case "running" if progress.status != IngestStart.SUCCESS:
                progress.ran, progress.failed = True, False
                self._tell(IngestStart.SUCCESS)
            case "failed" if not (progress.ran and progress.failed):
                progress.failed = True
                self._tell(IngestStart.FAILURE)
            case "again" if progress.status is not None:
                self._tell(IngestStart.AGAIN)
            case _:
                pass

    def end(self, leave_code: int) -> None:
        progress = self._progress
        if progress.has_ended:
            return
        progress.has_ended = True
        if leave_code in _FAILED and progress.status != IngestStart.FAILURE:
            self._tell(IngestStart.FAILURE)
        self._told(ingest_event(self._task.ref, IngestEvent.STOP, self._at_ms, task_id=self._task.task_id))

    def reaction(self) -> Reaction:
        return Reaction(msgspec.json.encode(self._progress).decode(), self._callbacks)

    def _tell(self, status: IngestStart) -> None:
        self._progress.status = status
        event = ingest_event(self._task.ref, IngestEvent.START, self._at_ms, task_id=self._task.task_id, status=status)
        self._told(event)

    def _told(self, event: CallbackEvent) -> None:
        self._callbacks.append(event)
