"""What the machinery of tasks must know of a kind (recording, relay and the rest). Rules are pure.

``Reaction.progress`` is the kind's own JSON, kept in the task's row and written with the callbacks by one transaction:
a kind notes there what it has told already, so each callback is caused once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rtcloud.callbacks.events import CallbackEvent
from rtcloud.store.objects import Bucket
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent
from rtcloud.tasks.task import Identity
from rtcloud.vod.entry import Entry


@dataclass(frozen=True, slots=True)
class Reaction:
    progress: str
    callbacks: Sequence[CallbackEvent] = ()
    entries: Sequence[Entry] = ()
    """Files that are in the media library now; the callbacks tell of them."""
    load: int | None = None
    """What the task is known to take from now on, in thousandths of a core; None: as before."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The store's own words (``StorageError``)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Trouble:
    code: str
    message: str
    since_ms: int


class TaskKind(Protocol):
    name: str
    products: frozenset[str]
    """File kinds whose rows ``on_uploads`` gets to see, those that are not uploaded at all, too; few files each."""

    waits_for_room: bool
    """Whether its jobs are let go when the disk is nearly full, to go on when there is room again."""

    max_restarts: int | None
    """After so many a task is given up; None: never."""

    forgets_restarts: bool
    """Whether those before a job that did well do not count."""

    is_robot: bool
    """Whether the rooms' limits of people do not count its user, who is one of the server's own."""

    def passes(self, task: Task) -> Sequence[Identity]:
        """Who else the job is, beside the robot in the task's room: the robot in other rooms, and further robots."""

    def job_params(self, task: Task) -> bytes:
        """The request as a job may see it: without keys."""

    def with_keys(self, params: bytes, access_key: str, secret_key: str) -> bytes:
        """The request with those keys of its bucket, if it has one."""

    def folder(self, task: Task) -> Sequence[str]:
        """Where the files go: the segments of the key before the file's name."""

    def bucket(self, task: Task) -> Bucket | None:
        """Whose bucket that folder is in; None: the task makes no files."""

    def is_uploaded(self, task: Task, file_kind: str) -> bool:
        """Whether files of this kind leave the spool at all."""

    def needs_finish(self, task: Task, files: Mapping[str, int]) -> bool:
        """Whether a job could still make something; ``files`` counts the reported files by kind."""

    def recover(self, directory: Path, now_ms: int) -> None:
        """Complete what a dead attempt left in ``directory`` and add it to its journal. Not pure: runs in a thread."""

    def on_event(self, task: Task, attempt: int, event: AnyJobEvent) -> Reaction:
        """A job reported ``event``; ``task`` is as it was before."""

    def on_probed(self, task: Task, refusal: Refusal | None, now_ms: int) -> Reaction:
        """A store elsewhere was asked whether it takes the task's files. May be called again."""

    def on_uploaded(self, task: Task, file: TaskFile, now_ms: int) -> Reaction: ...

    def on_uploads(self, task: Task, pending: Mapping[str, int], products: Sequence[TaskFile], now_ms: int) -> Reaction:
        """No more files will be reported; ``pending`` counts by kind those not uploaded yet. May be called again."""

    def trouble(self, progress: str) -> Trouble | None:
        """What keeps the files of a task with that ``progress`` waiting now."""

    def on_refused(self, task: Task, code: str, message: str, now_ms: int) -> Reaction:
        """The store refused a file; it is tried again."""
