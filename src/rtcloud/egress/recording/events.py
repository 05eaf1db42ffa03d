"""What a recording tells: the callbacks of group 3 and when each is due. Pure, but for ``recover``.

301 with the first job in the room, 306 with each later one, 303 when the first file is ready to go up, 307 when an
index names its first segment, 304 when that index is in its place, 302 when the robot has left for good, then 305 when
all HLS is in its place and 310 when the MP4 files are. ``Progress`` (in the task's row) notes what was told, so each
comes once, whatever dies in between.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rtcloud.callbacks.events import CallbackEvent, Origin, RecordingEvent, Storage, is_sent, recording_event
from rtcloud.egress.recording.request import RecordingRequest, decode, encode, without_keys
from rtcloud.tasks.kinds import Reaction
from rtcloud.tasks.lifecycle import MAX_RESTARTS, Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent, FileClosed, Left, Started
from rtcloud.tasks.task import Identity

HLS = ("segment", "index")
LEFTOVER_MS = 10 * 60_000  # after the end, with the store refusing: 305 says that files remain here

ALL_UPLOADED, LEFT_OVER, RECOVERED = 0, 1, 2  # LeaveCode of 305
MP4_MADE, MP4_FAILED = 0, 2  # Status of 310


class Progress(msgspec.Struct, omit_defaults=True):
    started: bool = False
    uploading: bool = False
    sliced: list[str] = []
    indexed: list[str] = []
    refused: bool = False
    closed_ms: int = 0  # when the last file was reported
    hls_left_over: bool = False
    hls_uploaded: bool = False
    mp4_told: bool = False


class RecordingKind:
    name = "recording"
    products = frozenset({"mp4"})
    max_restarts: int | None = MAX_RESTARTS

    def passes(self, task: Task) -> Sequence[Identity]:
        return ()

    def job_params(self, task: Task) -> bytes:
        return encode(without_keys(decode(task.params)))

    def folder(self, task: Task) -> Sequence[str]:
        storage = decode(task.params).storage_params.cloud_storage
        return [storage.bucket, *storage.file_name_prefix, task.task_id]

    def is_uploaded(self, task: Task, file_kind: str) -> bool:
        return file_kind not in HLS or decode(task.params).record_params.keeps_hls

    def needs_finish(self, task: Task, files: Mapping[str, int]) -> bool:
        return decode(task.params).record_params.makes_mp4 and files.get("segment", 0) > 0

    def recover(self, directory: Path, now_ms: int) -> None:
        from rtcloud.egress.recording.recovery import recover  # loads the codecs, which a worker seldom needs

        recover(directory, now_ms)

    def on_event(self, task: Task, attempt: int, event: AnyJobEvent) -> Reaction:
        teller = _Teller(task, event.at_ms)
        match event:
            case Started() if task.leave_code is None:
                teller.started(attempt)
            case FileClosed():
                teller.closed(event)
            case Left():
                teller.left(event.leave_code)
            case _:
                pass
        return teller.reaction()

    def on_uploaded(self, task: Task, file: TaskFile, now_ms: int) -> Reaction:
        teller = _Teller(task, now_ms)
        if file.kind == "index" and file.name not in teller.progress.indexed:
            teller.progress.indexed.append(file.name)
            teller.tell(RecordingEvent.FILE_INFO, {"FileList": file.name})
        return teller.reaction()

    def on_uploads(self, task: Task, pending: Mapping[str, int], products: Sequence[TaskFile], now_ms: int) -> Reaction:
        teller = _Teller(task, now_ms)
        teller.progress.closed_ms = teller.progress.closed_ms or now_ms
        hls_pending = any(pending.get(kind) for kind in HLS)
        if not hls_pending:
            teller.hls_uploaded()
        elif teller.progress.refused and now_ms - teller.progress.closed_ms >= LEFTOVER_MS:
            teller.hls_left_over()
        if not pending.get("mp4") and (products or not hls_pending):
            teller.mp4_uploaded(products)
        return teller.reaction()

    def on_refused(self, task: Task, code: str, message: str, now_ms: int) -> Reaction:
        teller = _Teller(task, now_ms)
        if not teller.progress.refused:
            teller.progress.refused = True
            teller.tell(RecordingEvent.UPLOAD_ERROR, {"Code": code, "Message": message})
        return teller.reaction()


class _Teller:
    """Collects what one change makes us tell."""

    def __init__(self, task: Task, at_ms: int) -> None:
        self.progress = msgspec.json.decode(task.progress, type=Progress)
        self._task = task
        self._at_ms = at_ms
        self._request: RecordingRequest = decode(task.params)
        self._callbacks: list[CallbackEvent] = []

    def tell(self, event_type: RecordingEvent, payload: Mapping[str, Any]) -> None:
        if is_sent(event_type, Origin.API, Storage.OBJECT):
            task = self._task
            self._callbacks.append(
                recording_event(
                    task.ref, event_type, self._at_ms, user_id=task.user_id, task_id=task.task_id, payload=payload
                )
            )

    def reaction(self) -> Reaction:
        return Reaction(msgspec.json.encode(self.progress).decode(), self._callbacks)

    def started(self, attempt: int) -> None:
        if not self.progress.started:
            self.progress.started = True
            self.tell(RecordingEvent.RECORDER_START, {"Status": 0})
        if attempt > 0:
            self.tell(RecordingEvent.FAILOVER, {"Status": 0})

    def closed(self, event: FileClosed) -> None:
        keeps_hls = self._request.record_params.keeps_hls
        if event.kind in HLS and not keeps_hls:
            return
        if not self.progress.uploading:
            self.progress.uploading = True
            self.tell(RecordingEvent.UPLOAD_START, {"Status": 0})
        if event.kind == "index" and event.name not in self.progress.sliced:
            self.progress.sliced.append(event.name)
            self.tell(
                RecordingEvent.FILE_SLICE,
                {
                    "FileName": event.name,
                    "UserId": event.user_id,
                    "TrackType": event.track_type,
                    "BeginTimeStamp": str(event.begin_ms),
                },
            )

    def left(self, leave_code: int) -> None:
        if not self.progress.started and leave_code != 0:
            self.progress.started = True
            self.tell(RecordingEvent.RECORDER_START, {"Status": 1})
        self.tell(RecordingEvent.RECORDER_STOP, {"LeaveCode": leave_code})

    def hls_uploaded(self) -> None:
        if self.progress.sliced and not self.progress.hls_uploaded:
            self.progress.hls_uploaded = True
            code = RECOVERED if self.progress.hls_left_over else ALL_UPLOADED
            self.tell(RecordingEvent.UPLOAD_STOP, {"LeaveCode": code, "Status": code})

    def hls_left_over(self) -> None:
        if not self.progress.hls_left_over:
            self.progress.hls_left_over = True
            self.tell(RecordingEvent.UPLOAD_STOP, {"LeaveCode": LEFT_OVER, "Status": LEFT_OVER})

    def mp4_uploaded(self, products: Sequence[TaskFile]) -> None:
        is_wanted = self._request.record_params.makes_mp4 and (products or self.progress.sliced)
        if self.progress.mp4_told or not is_wanted:
            return
        self.progress.mp4_told = True
        self.tell(
            RecordingEvent.MP4_STOP,
            {
                "Status": MP4_MADE if products else MP4_FAILED,
                "FileList": [file.name for file in products],
                "FileMessage": [
                    {
                        "FileName": file.name,
                        "UserId": file.user_id,
                        "TrackType": file.track_type,
                        "MediaId": file.media_id,
                        "StartTimeStamp": file.begin_ms,
                        "EndTimeStamp": file.end_ms,
                    }
                    for file in products
                ],
            },
        )
