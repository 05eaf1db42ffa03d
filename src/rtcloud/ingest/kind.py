"""What both kinds of tasks that bring media in have in common: they make no files, their user is an ordinary one to the
rooms, and a job that encodes pictures is counted as such. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rtcloud.ingest.handling import load_of
from rtcloud.store.objects import Bucket
from rtcloud.tasks.kinds import Reaction, Refusal, Trouble
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent, Noted
from rtcloud.tasks.task import Identity


class IncomingKind:
    products: frozenset[str] = frozenset()
    waits_for_room = False
    is_robot = False

    def passes(self, task: Task) -> Sequence[Identity]:
        return ()

    def job_params(self, task: Task) -> bytes:
        return task.params

    def with_keys(self, params: bytes, access_key: str, secret_key: str) -> bytes:
        return params

    def folder(self, task: Task) -> Sequence[str]:
        return ()

    def bucket(self, task: Task) -> Bucket | None:
        return None

    def is_uploaded(self, task: Task, file_kind: str) -> bool:
        return False

    def needs_finish(self, task: Task, files: Mapping[str, int]) -> bool:
        return False

    def recover(self, directory: Path, now_ms: int) -> None:
        pass

    def on_event(self, task: Task, attempt: int, event: AnyJobEvent) -> Reaction:
        return Reaction(task.progress, load=load_of(event) if isinstance(event, Noted) else None)

    def on_probed(self, task: Task, refusal: Refusal | None, now_ms: int) -> Reaction:
        return Reaction(task.progress)

    def on_uploaded(self, task: Task, file: TaskFile, now_ms: int) -> Reaction:
        return Reaction(task.progress)

    def on_uploads(self, task: Task, pending: Mapping[str, int], products: Sequence[TaskFile], now_ms: int) -> Reaction:
        return Reaction(task.progress)

    def trouble(self, progress: str) -> Trouble | None:
        return None

    def on_refused(self, task: Task, code: str, message: str, now_ms: int) -> Reaction:
        return Reaction(task.progress)
