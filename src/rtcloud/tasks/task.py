"""A task as its callers see it: what the API hands over and what it may ask about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rtcloud.rooms.ids import RoomRef


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """What a task makes, as usage counts it. ``codec`` is the picture's (h264, h265), "" when there is none."""

    codec: str = ""
    width: int = 0
    height: int = 0
    audio: bool = True


@dataclass(frozen=True, slots=True)
class NewTask:
    """An accepted request. ``params`` is its JSON with the storage keys in it; the store seals it."""

    task_id: str
    kind: str  # recording, relay, ingest, push
    ref: RoomRef
    user_id: str  # the robot
    params: bytes = field(repr=False)
    expires_ms: int  # until then the API may be asked about the task
    now_ms: int
    output: TaskOutput | None = None
    load: int = 0  # thousandths of a core while it runs
    lists_files: bool = True  # whether the API tells its files


#: Gets the request as it is and gives what it becomes, makes and costs then (``NewTask.output``, ``load``; None:
#: as before); raises when that cannot be.
Change = Callable[[bytes], tuple[bytes, TaskOutput | None, int | None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a job is in a room: each needs a token of its own. ``robot``: as ``TaskKind.is_robot`` says."""

    ref: RoomRef
    user_id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    robot: bool = True


@dataclass(frozen=True, slots=True)
class TaskFile:
    name: str
    kind: str  # segment, index, mp4
    user_id: str  # "" when mixed
    track_type: str  # audio, video, audio_video
    begin_ms: int


@dataclass(frozen=True, slots=True)
class TaskView:
    """``state`` is that of the row: accepted, running, ending, uploading, ended. ``files`` lists indexes and MP4s."""

    task_id: str
    kind: str
    state: str
    desired_state: str  # running, stopped
    expires_ms: int
    files: tuple[TaskFile, ...] = ()
