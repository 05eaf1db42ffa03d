"""Relay as a kind of task: who its job is in which room, and what is told of its addresses and files. Pure, but for
``recover``.

401 is told each time a job reports an address. The story of an address goes on over the attempts of a task, though a
new job knows nothing of the last one: what ran before does not connect but recover. And it always ends with 0: whatever
address is still in a story when the robot has left, or when a later job does not serve it any more, is told as ended.
``RelayProgress`` (in the task's row) keeps the last status of each address whose story has not ended.

A relay that is recorded tells of its files what a recording tells (``recording.telling``); any other has none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rtcloud.callbacks.events import CallbackEvent, CdnStatus, publishing_event
from rtcloud.egress.publishing.request import (
    KIND,
    RelayRequest,
    decode,
    encode,
    feedback_attributes,
    with_keys,
    without_keys,
)
from rtcloud.egress.recording.committing import HLS
from rtcloud.egress.recording.naming import FACTS
from rtcloud.egress.recording.telling import Progress, Teller
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.objects import Bucket
from rtcloud.tasks.kinds import Reaction, Refusal, Trouble
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent, Left, OutputChanged, Started
from rtcloud.tasks.task import Identity

_RAN = (CdnStatus.RUNNING, CdnStatus.RECOVERING)
_LAST_WORDS = (CdnStatus.IDLE, CdnStatus.DISCONNECTING)


class RelayProgress(msgspec.Struct, omit_defaults=True):
    outputs: dict[str, int] = {}
    files: Progress = msgspec.field(default_factory=Progress)


class RelayKind:
    name = KIND
    products = frozenset({"mp4", "index"})
    waits_for_room = False  # those who watch need no disk
    max_restarts: int | None = None  # those who watch want it back, however often it broke
    forgets_restarts = True
    is_robot = True

    def passes(self, task: Task) -> Sequence[Identity]:
        request = decode(task.params)
        elsewhere = [Identity(ref, task.user_id) for ref in request.refs if ref != task.ref]
        return [*elsewhere, *_feeders(request, task.task_id)]

    def job_params(self, task: Task) -> bytes:
        return encode(without_keys(decode(task.params)))

    def folder(self, task: Task) -> Sequence[str]:
        recording = decode(task.params).record_params
        if recording is None:
            return []  # it reports no files
        return recording.filing.folder(task.task_id)

    def bucket(self, task: Task) -> Bucket | None:
        recording = decode(task.params).record_params
        return None if recording is None else recording.filing.bucket

    def is_uploaded(self, task: Task, file_kind: str) -> bool:
        recording = decode(task.params).record_params
        return recording is not None and (file_kind not in HLS or recording.filing.keeps_hls)

    def needs_finish(self, task: Task, files: Mapping[str, int]) -> bool:
        recording = decode(task.params).record_params
        return recording is not None and bool(recording.filing.extension) and files.get("segment", 0) > 0

    def recover(self, directory: Path, now_ms: int) -> None:
        if (directory / FACTS).exists():
            from rtcloud.egress.recording.recovery import recover  # loads the codecs, which a worker seldom needs

            recover(directory, now_ms)

    def on_event(self, task: Task, attempt: int, event: AnyJobEvent) -> Reaction:
        story = _Story(task, event.at_ms)
        match event:
            case OutputChanged() if task.leave_code is None:
                story.report(event)
            case Started() if attempt > 0:
                story.end({*story.outputs} - {one.publish_cdn_url for one in story.request.publish_cdn_params})
            case Left():
                story.end({*story.outputs})
            case _:
                pass
        if story.files is not None:
            story.files.on_event(attempt, event)
        return story.reaction()

    def on_probed(self, task: Task, refusal: Refusal | None, now_ms: int) -> Reaction:
        story = _Story(task, now_ms)
        if story.files is not None:
            story.files.on_probed(refusal)
        return story.reaction()

    def on_uploaded(self, task: Task, file: TaskFile, now_ms: int) -> Reaction:
        story = _Story(task, now_ms)
        if story.files is not None:
            story.files.on_uploaded(file)
        return story.reaction()

    def on_uploads(self, task: Task, pending: Mapping[str, int], products: Sequence[TaskFile], now_ms: int) -> Reaction:
        story = _Story(task, now_ms)
        if story.files is not None:
            story.files.on_uploads(pending, products)
        return story.reaction()

    def with_keys(self, params: bytes, access_key: str, secret_key: str) -> bytes:
        return encode(with_keys(decode(params), access_key, secret_key))

    def trouble(self, progress: str) -> Trouble | None:
        return msgspec.json.decode(progress, type=RelayProgress).files.told_trouble()

    def on_refused(self, task: Task, code: str, message: str, now_ms: int) -> Reaction:
        story = _Story(task, now_ms)
        if story.files is not None:
            story.files.on_refused(code, message)
        return story.reaction()


class _Story:
    """Collects what one change makes us tell."""

    def __init__(self, task: Task, at_ms: int) -> None:
        self.request = decode(task.params)
        self._progress = msgspec.json.decode(task.progress, type=RelayProgress)
        self.outputs = self._progress.outputs
        self.files: Teller | None = None
        filing = self.request.filing
        if filing is not None:
            self.files = Teller(task, at_ms, self._progress.files, filing)
        self._task = task
        self._at_ms = at_ms
        self._callbacks: list[CallbackEvent] = []

    def report(self, event: OutputChanged) -> None:
        status, last = event.status, self.outputs.get(event.url)
        if last is None and status in _LAST_WORDS:
            return  # its end was told already
        if status == CdnStatus.CONNECTING and last in _RAN:
            status = CdnStatus.RECOVERING
        elif status in (CdnStatus.CONNECTING, CdnStatus.RECOVERING) and last not in _RAN:
            status = CdnStatus.CONNECTING
            if last in (CdnStatus.FAILURE, CdnStatus.DISCONNECTING):
                self.end({event.url})  # the job that should have said so is dead
        self._tell(event.url, status, event.code, event.message)

    def end(self, urls: set[str]) -> None:
        for url in sorted(urls):
            if self.outputs[url] in _RAN:
                self._tell(url, CdnStatus.DISCONNECTING)
            self._tell(url, CdnStatus.IDLE)

    def reaction(self) -> Reaction:
        progress = msgspec.json.encode(self._progress).decode()
        if self.files is None:
            return Reaction(progress, self._callbacks)
        return Reaction(progress, [*self._callbacks, *self.files.callbacks], self.files.entries)

    def _tell(self, url: str, status: int, code: int = 0, message: str = "") -> None:
        if status == CdnStatus.IDLE:
            self.outputs.pop(url, None)
        else:
            self.outputs[url] = status
        task = self._task
        self._callbacks.append(
            publishing_event(
                task.ref,
                self._at_ms,
                user_id=task.user_id,
                task_id=task.task_id,
                url=url,
                status=status,
                code=code,
                message=message,
            )
        )


def _feeders(request: RelayRequest, task_id: str) -> list[Identity]:
    attributes = feedback_attributes(request, task_id)
    return [
        Identity(RoomRef(request.sdk_app_id, room.room_id_type == 0, room.room_id), room.user_id, attributes)
        for room in request.feed_back_room_params
    ]
