"""What a worker and a job process say to each other: JSON lines.

stdin of ``rtcloud job``: the first line is the ``Order``, later lines are ``Update``, ``Token`` or ``Stop``; EOF means
the worker is gone: leave the room at once, close files within 5 s (``FileClosed``, but neither ``Left`` nor ``Ended``:
the task goes on elsewhere), exit. Descriptor 3 carries the ``JobEvent`` lines, each at most 64 KiB, with a
``Heartbeat`` each second (5 s of silence: the job is killed). Each event except the heartbeat is appended to
``{spool}/{task_id}/{attempt}/journal.jsonl`` before it is sent, with a running ``sequence`` from 1, so that a worker
that reads the journal of a dead attempt applies each exactly once. stdout and stderr are logs.

The job runs in a session of its own and holds the lock of ``job.lock`` in its attempt's directory as long as it lives.
The directories of earlier attempts lie beside its own and stay until the task has ended; a segment or MP4 is removed
from there once it is uploaded.
"""

from typing import Literal

import msgspec

JOURNAL = "journal.jsonl"
LOCK = "job.lock"
#: what ``Noted`` says when the job goes on without writing files (callback 308)
RECORDING_FAILED = "RecordingFailed"
#: What a job says of itself each second, as JSON (``Figures``), replaced atomically; and its picture, made within a
#: moment after the request appears (an empty file, removed when the picture is there). All in the attempt's directory.
FIGURES = "figures.json"
PREVIEW_REQUEST = "preview.request"
PREVIEW = "preview.png"
LINE_BYTES = 64 * 1024


class Pass(msgspec.Struct, kw_only=True, frozen=True):
    """Lets the job into a room beside the order's own, or into that one as another user."""

    numeric: bool
    room_id: str
    user_id: str
    token: str  # short-lived join token


class Figures(msgspec.Struct, kw_only=True):
    """How a job does, over the last second or so; what does not apply is None."""

    at_ms: int
    cpu: float  # cores
    fps: float | None = None
    bitrate: int | None = None  # bit/s, all of the output
    delay_ms: int | None = None  # from capture to output
    inputs: int | None = None  # tracks received
    outputs: dict[str, int] = {}  # where it goes → status
    streams: dict[str, str] = {}  # of an ingest: video, audio → what comes and what becomes of it


class Order(msgspec.Struct, kw_only=True):
    task_id: str
    kind: str  # recording, relay, ingest, push
    attempt: int  # 0, then n for ``han``
    sdk_app_id: int
    numeric: bool
    room_id: str
    user_id: str  # the robot
    signal_url: str  # ws://host:port
    token: str  # short-lived join token of the robot
    spool: str  # this attempt's directory; the only place the job writes
    params: msgspec.Raw  # the accepted request of the API, without storage keys
    passes: tuple[Pass, ...] = ()
    images: str = ""  # directory of checked pictures; the job only reads there
    allow_private: bool = False  # addresses of the request may be private
    revision: int = 0
    finish: bool = False  # the robot has left for good: do not join, make what is missing (MP4) and report it


class Instruction(msgspec.Struct, tag_field="type", tag=True, kw_only=True):
    pass


class Update(Instruction, tag="update"):
    params: msgspec.Raw
    revision: int
    passes: tuple[Pass, ...] = ()


class Token(Instruction, tag="token"):
    """A fresh join token, and fresh passes, sent before the last ones expire."""

    token: str
    passes: tuple[Pass, ...] = ()


class Stop(Instruction, tag="stop"):
    """Finish: leave, close all files, report, exit 0. ``leave_code`` is what 302 will carry. ``at_ms`` is when the stop
    was accepted: what happened in the room after it is not recorded (0: now)."""

    leave_code: int = 0
    at_ms: int = 0


class JobEvent(msgspec.Struct, tag_field="type", tag=True, kw_only=True):
    sequence: int = 0  # 0 only on heartbeats
    at_ms: int  # Unix ms


class Heartbeat(JobEvent, tag="heartbeat"):
    pass


class Started(JobEvent, tag="started"):
    """In the room and ready (301 Status 0)."""


class FileOpened(JobEvent, tag="file_opened"):
    """A segment or MP4 is being written; it may be playable up to its last flush if the job dies."""

    name: str
    kind: str  # segment, index, mp4
    begin_ms: int
    user_id: str = ""
    track_type: str = "audio_video"


class FileClosed(JobEvent, tag="file_closed"):
    """Complete; the uploader may move it. An index is reported again whenever it was rewritten."""

    name: str
    kind: str
    begin_ms: int
    end_ms: int
    size: int
    user_id: str = ""
    track_type: str = "audio_video"
    media_id: str = "mix"


class Noted(JobEvent, tag="noted"):
    """Something the operator or Describe may want to know: codec fall-backs, lost images. No personal data."""

    code: str
    message: str


class ImageMissing(JobEvent, tag="image_missing"):
    """A picture that the request names could not be had; the job goes on without it (callback 309)."""

    url: str


class OutputChanged(JobEvent, tag="output_changed"):
    """An address that the job pushes to is in this status now, or still is: ``status`` as in callback 401 (0 ended,
    1 connecting, 2 running, 3 recovering, 4 failed, 5 disconnecting). ``code`` 0 is no error."""

    url: str
    status: int
    code: int = 0
    message: str = ""


class SourceChanged(JobEvent, tag="source_changed"):
    """Of an ingest that pulls: its source gives media (``running``), is tried once more (``again``), or an attempt
    failed (``failed``). ``message`` names no address."""

    state: Literal["running", "again", "failed"]
    message: str = ""


class Left(JobEvent, tag="left"):
    """The job is done with the room; files may still follow. ``leave_code`` as in callback 302."""

    leave_code: int


class Ended(JobEvent, tag="ended"):
    """The last event: every file was reported."""


AnyInstruction = Update | Token | Stop
AnyJobEvent = (
    Heartbeat | Started | FileOpened | FileClosed | Noted | ImageMissing | OutputChanged | SourceChanged | Left | Ended
)
