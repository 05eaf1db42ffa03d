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

import msgspec

JOURNAL = "journal.jsonl"
LOCK = "job.lock"
LINE_BYTES = 64 * 1024


class Order(msgspec.Struct, kw_only=True):
    task_id: str
    kind: str  # recording
    attempt: int  # 0, then n for ``han``
    sdk_app_id: int
    numeric: bool
    room_id: str
    user_id: str  # the robot
    signal_url: str  # ws://host:port
    token: str  # short-lived join token of the robot
    spool: str  # this attempt's directory; the only place the job writes
    params: msgspec.Raw  # the accepted request of the API, without storage keys
    revision: int = 0
    finish: bool = False  # the robot has left for good: do not join, make what is missing (MP4) and report it


class Instruction(msgspec.Struct, tag_field="type", tag=True, kw_only=True):
    pass


class Update(Instruction, tag="update"):
    params: msgspec.Raw
    revision: int


class Token(Instruction, tag="token"):
    """A fresh join token, sent before the last one expires."""

    token: str


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


class Left(JobEvent, tag="left"):
    """The job is done with the room; files may still follow. ``leave_code`` as in callback 302."""

    leave_code: int


class Ended(JobEvent, tag="ended"):
    """The last event: every file was reported."""


AnyInstruction = Update | Token | Stop
AnyJobEvent = Heartbeat | Started | FileOpened | FileClosed | Noted | Left | Ended
