"""What is told of the files that a task makes: the callbacks of group 3 and when each is due. Pure.

301 with the first job in the room, 306 with each later one, 303 when the store was asked (one elsewhere) or when the
first file is ready to go up, 307 when an index names its first segment, 304 when that index is in its place, 308 when
the store refuses (once for each of its codes) and when a relay's files cannot be written any more, 309 for each
picture of the layout that cannot be had, 302 when the robot has left for good, then 305 when all HLS is in its place
and 310 when the MP4 files are. Files of the media library are told of by 311 and 312 instead (``committing``).
``Progress`` (in the task's row) notes what was told, so each comes once, whatever dies in between.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from rtcloud.callbacks.events import CallbackEvent, RecordingEvent, is_sent, recording_event
from rtcloud.egress.filing import Filing
from rtcloud.egress.recording import committing
from rtcloud.egress.recording.committing import HLS, Commitments
from rtcloud.tasks.kinds import Refusal, Trouble
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.tasks.protocol import RECORDING_FAILED, AnyJobEvent, FileClosed, ImageMissing, Left, Noted, Started
from rtcloud.vod.entry import Entry

LEFTOVER_MS = 10 * 60_000  # after the end, with the store refusing: 305 and 310 say that files remain here

IMAGES = 256  # missing ones of which a task tells

ALL_UPLOADED, LEFT_OVER, RECOVERED = 0, 1, 2  # LeaveCode of 305
MP4_MADE, MP4_LEFT_OVER, MP4_FAILED = 0, 1, 2  # Status of 310
TROUBLE_CHARACTERS = 300
REFUSALS = 8  # codes of one store that are told


class Progress(Commitments, omit_defaults=True):
    started: bool = False
    uploading: bool = False
    sliced: list[str] = []
    indexed: list[str] = []
    refused: bool = False
    images: list[str] = []  # digests of the addresses that 309 told
    refusals: list[str] = []  # the codes
    trouble: str = ""  # what keeps files, or the recording, waiting now: code and message
    trouble_ms: int = 0  # since when
    closed_ms: int = 0  # when the last file was reported
    hls_left_over: bool = False
    hls_uploaded: bool = False
    mp4_left_over: bool = False
    mp4_told: bool = False

    def told_trouble(self) -> Trouble | None:
        code, _, message = self.trouble.partition(": ")
        return Trouble(code, message, self.trouble_ms) if code else None


class Teller:
    """Collects in ``callbacks`` what one change makes us tell, and notes it in ``progress``."""

    def __init__(self, task: Task, at_ms: int, progress: Progress, filing: Filing) -> None:
        self.progress = progress
        self.callbacks: list[CallbackEvent] = []
        self.entries: list[Entry] = []
        self._task = task
        self._at_ms = at_ms
        self._filing = filing

    def on_event(self, attempt: int, event: AnyJobEvent) -> None:
        match event:
            case Started() if self._task.leave_code is None:
                self._started(attempt)
            case FileClosed():
                self._closed(event)
            case Left():
                self._left(event.leave_code)
            case ImageMissing():
                self._image_missing(event.url)
            case Noted(code=code, message=message) if code == RECORDING_FAILED:
                self._error(code, message)
            case _:
                pass

    def on_probed(self, refusal: Refusal | None) -> None:
        if not self.progress.uploading:
            self.progress.uploading = True
            self._tell(RecordingEvent.UPLOAD_START, {"Status": 0 if refusal is None else 1})
        if refusal is not None:
            self.on_refused(refusal.code, refusal.message)

    def on_uploaded(self, file: TaskFile) -> None:
        self._trouble("")
        if file.kind == "index" and file.name not in self.progress.indexed:
            self.progress.indexed.append(file.name)
            self._tell(RecordingEvent.FILE_INFO, {"FileList": file.name})

    def on_uploads(self, pending: Mapping[str, int], files: Sequence[TaskFile]) -> None:
        """``files`` are indexes and what was made at the end."""
        products = [file for file in files if file.kind not in HLS]
        self.progress.closed_ms = self.progress.closed_ms or self._at_ms
        hls_pending = any(pending.get(kind) for kind in HLS)
        is_late = self.progress.refused and self._at_ms - self.progress.closed_ms >= LEFTOVER_MS
        if not hls_pending:
            self._hls_uploaded()
        elif is_late:
            self._hls_left_over()
        if pending.get("mp4"):
            if is_late:
                self._mp4_left_over(products)
        elif products or not hls_pending:
            self._mp4_uploaded(products)
        self._commit(pending, files, is_late)

    def on_refused(self, code: str, message: str) -> None:
        self.progress.refused = True
        said = f"{code}: {message}"[:TROUBLE_CHARACTERS]
        self._trouble(said)
        self.progress.refusal = said  # stays when another file was taken
        self._error(code, message)

    def _error(self, code: str, message: str) -> None:
        if code not in self.progress.refusals and len(self.progress.refusals) < REFUSALS:
            self.progress.refusals.append(code)
            self._tell(RecordingEvent.UPLOAD_ERROR, {"Code": code, "Message": message})

    def _trouble(self, said: str) -> None:
        progress = self.progress
        progress.trouble_ms = (progress.trouble_ms or self._at_ms) if said else 0
        progress.trouble = said

    def _tell(self, event_type: RecordingEvent, payload: Mapping[str, Any]) -> None:
        if is_sent(event_type, self._filing.origin, self._filing.target):
            task = self._task
            self.callbacks.append(
                recording_event(
                    task.ref, event_type, self._at_ms, user_id=task.user_id, task_id=task.task_id, payload=payload
                )
            )

    def _started(self, attempt: int) -> None:
        self._trouble("")
        if not self.progress.started:
            self.progress.started = True
            self._tell(RecordingEvent.RECORDER_START, {"Status": 0})
        if attempt > 0:
            self._tell(RecordingEvent.FAILOVER, {"Status": 0})

    def _closed(self, event: FileClosed) -> None:
        self.progress.recorded = True
        if event.kind in HLS and not self._filing.keeps_hls:
            return
        if not self.progress.uploading:
            self.progress.uploading = True
            self._tell(RecordingEvent.UPLOAD_START, {"Status": 0})
        if event.kind == "index" and event.name not in self.progress.sliced:
            self.progress.sliced.append(event.name)
            self._tell(
                RecordingEvent.FILE_SLICE,
                {
                    "FileName": event.name,
                    "UserId": event.user_id,
                    "TrackType": event.track_type,
                    "BeginTimeStamp": str(event.begin_ms),
                },
            )

    def _image_missing(self, url: str) -> None:
        """Once for each address, however often the job begins anew."""
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        if name not in self.progress.images and len(self.progress.images) < IMAGES:
            self.progress.images.append(name)
            self._tell(RecordingEvent.DOWNLOAD_IMAGE_ERROR, {"Url": url})

    def _left(self, leave_code: int) -> None:
        if not self.progress.started and leave_code != 0:
            self.progress.started = True
            self._tell(RecordingEvent.RECORDER_START, {"Status": 1})
        self._tell(RecordingEvent.RECORDER_STOP, {"LeaveCode": leave_code})

    def _commit(self, pending: Mapping[str, int], files: Sequence[TaskFile], is_late: bool) -> None:
        if not is_sent(RecordingEvent.VOD_COMMIT, self._filing.origin, self._filing.target):
            return
        committed = committing.commit(self._task, self._filing, self.progress, pending, files, is_late, self._at_ms)
        self.entries += committed.entries
        for payload in committed.told:
            self._tell(RecordingEvent.VOD_COMMIT, payload)
        if committed.stop is not None:
            self._tell(RecordingEvent.VOD_STOP, {"Status": committed.stop})

    def _hls_uploaded(self) -> None:
        if self.progress.sliced and not self.progress.hls_uploaded:
            self.progress.hls_uploaded = True
            code = RECOVERED if self.progress.hls_left_over else ALL_UPLOADED
            self._tell(RecordingEvent.UPLOAD_STOP, {"LeaveCode": code, "Status": code})

    def _hls_left_over(self) -> None:
        if not self.progress.hls_left_over:
            self.progress.hls_left_over = True
            self._tell(RecordingEvent.UPLOAD_STOP, {"LeaveCode": LEFT_OVER, "Status": LEFT_OVER})

    def _mp4_uploaded(self, products: Sequence[TaskFile]) -> None:
        is_wanted = self._filing.extension and (products or self.progress.recorded or self.progress.sliced)
        if self.progress.mp4_told or not is_wanted:
            return
        self.progress.mp4_told = True
        self._mp4_streams(products, MP4_MADE if products else MP4_FAILED)

    def _mp4_left_over(self, products: Sequence[TaskFile]) -> None:
        if self._filing.extension and not self.progress.mp4_left_over:
            self.progress.mp4_left_over = True
            self._mp4_streams(products, MP4_LEFT_OVER)

    def _mp4_streams(self, products: Sequence[TaskFile], status: int) -> None:
        streams: dict[tuple[str, str], list[TaskFile]] = {}
        for file in products:
            streams.setdefault((file.user_id, file.media_id), []).append(file)
        for files in streams.values() or [[]]:
            self._mp4_made(files, status)

    def _mp4_made(self, files: Sequence[TaskFile], status: int) -> None:
        """One event for each stream, as the documents have it, with all of its parts."""
        self._tell(
            RecordingEvent.MP4_STOP,
            {
                "Status": status,
                "FileList": [file.name for file in files],
                "FileMessage": [
                    {
                        "FileName": file.name,
                        "UserId": file.user_id,
                        "TrackType": file.track_type,
                        "MediaId": file.media_id,
                        "StartTimeStamp": file.begin_ms,
                        "EndTimeStamp": file.end_ms,
                    }
                    for file in files
                ],
            },
        )
