"""Recording as a kind of task: what its job may see, where its files go, what is told (``telling``). Pure, but for
``recover``."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rtcloud.egress.recording.committing import HLS
from rtcloud.egress.recording.request import decode, encode, with_keys, without_keys
from rtcloud.egress.recording.telling import Progress, Teller
from rtcloud.store.objects import Bucket
from rtcloud.tasks.kinds import Reaction, Refusal, Trouble
from rtcloud.tasks.lifecycle import MAX_RESTARTS, Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent
from rtcloud.tasks.task import Identity


class RecordingKind:
    name = "recording"
    products = frozenset({"mp4", "index"})
    waits_for_room = True
    max_restarts: int | None = MAX_RESTARTS
    forgets_restarts = False  # the names of files count them
    is_robot = True

    def passes(self, task: Task) -> Sequence[Identity]:
        return ()

    def job_params(self, task: Task) -> bytes:
        return encode(without_keys(decode(task.params)))

    def folder(self, task: Task) -> Sequence[str]:
        return decode(task.params).filing.folder(task.task_id)

    def bucket(self, task: Task) -> Bucket:
        return decode(task.params).filing.bucket

    def is_uploaded(self, task: Task, file_kind: str) -> bool:
        return file_kind not in HLS or decode(task.params).filing.keeps_hls

    def needs_finish(self, task: Task, files: Mapping[str, int]) -> bool:
        return bool(decode(task.params).filing.extension) and files.get("segment", 0) > 0

    def recover(self, directory: Path, now_ms: int) -> None:
        from rtcloud.egress.recording.recovery import recover  # loads the codecs, which a worker seldom needs

        recover(directory, now_ms)

    def on_event(self, task: Task, attempt: int, event: AnyJobEvent) -> Reaction:
        teller = _teller(task, event.at_ms)
        teller.on_event(attempt, event)
        return _reaction(teller)

    def on_probed(self, task: Task, refusal: Refusal | None, now_ms: int) -> Reaction:
        teller = _teller(task, now_ms)
        teller.on_probed(refusal)
        return _reaction(teller)

    def on_uploaded(self, task: Task, file: TaskFile, now_ms: int) -> Reaction:
        teller = _teller(task, now_ms)
        teller.on_uploaded(file)
        return _reaction(teller)

    def on_uploads(self, task: Task, pending: Mapping[str, int], products: Sequence[TaskFile], now_ms: int) -> Reaction:
        teller = _teller(task, now_ms)
        teller.on_uploads(pending, products)
        return _reaction(teller)

    def with_keys(self, params: bytes, access_key: str, secret_key: str) -> bytes:
        return encode(with_keys(decode(params), access_key, secret_key))

    def trouble(self, progress: str) -> Trouble | None:
        return msgspec.json.decode(progress, type=Progress).told_trouble()

    def on_refused(self, task: Task, code: str, message: str, now_ms: int) -> Reaction:
        teller = _teller(task, now_ms)
        teller.on_refused(code, message)
        return _reaction(teller)


def _teller(task: Task, at_ms: int) -> Teller:
    progress = msgspec.json.decode(task.progress, type=Progress)
    return Teller(task, at_ms, progress, decode(task.params).filing)


def _reaction(teller: Teller) -> Reaction:
    return Reaction(msgspec.json.encode(teller.progress).decode(), teller.callbacks, teller.entries)
