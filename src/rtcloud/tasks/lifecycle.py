"""The life of a task: accepted → running → ending → uploading → ended. Pure.

An attempt is one job process. A task whose job died goes on in the next attempt; after as many of them as its kind
allows it is left with ``GIVE_UP_CODE``. An attempt that ended because its worker let it go is not ``spent``: it counts
for the names of files only. ``leave_code`` is set exactly once, when the robot has left the room for good; from then on
attempts only finish what is missing, and are counted anew: what was recorded before too many deaths is still delivered.
Who reads a state must be ready to meet a later one: states never go back, except running → accepted when a worker lets
its job go.
"""

from dataclasses import dataclass
from enum import StrEnum

from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.protocol import AnyJobEvent, Ended, Left, Started

MAX_RESTARTS = 3  # ha1 … ha3
FINISH_RESTARTS = 3  # to make what is missing, once the robot has left
GIVE_UP_CODE = 3  # 302: the server took the robot out
#: before each attempt, the last from then on: media is back within five seconds of a first failure
RESTART_DELAYS_MS = (0, 200, 1_000, 2_000, 5_000, 10_000)


class State(StrEnum):
    ACCEPTED = "accepted"
    RUNNING = "running"
    ENDING = "ending"
    UPLOADING = "uploading"
    ENDED = "ended"


class Desired(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"


OPEN_STATES = (State.ACCEPTED, State.RUNNING, State.ENDING)  # a job may run
LIVE_STATES = (*OPEN_STATES, State.UPLOADING)  # a worker has something to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    task_id: str
    kind: str
    ref: RoomRef
    user_id: str  # the robot
    params: bytes  # the accepted request, opened: may hold storage keys
    desired: Desired
    stop_code: int
    stop_ms: int | None
    state: State
    revision: int
    attempts: int
    spent: int
    worker: str | None
    created_ms: int
    expires_ms: int
    ended_ms: int | None
    leave_code: int | None
    progress: str

    def __repr__(self) -> str:
        return f"Task({self.task_id}, {self.state}, attempts={self.attempts})"  # never the params: they hold secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFile:
    task_id: str
    name: str
    kind: str
    attempt: int
    sequence: int
    user_id: str
    track_type: str
    media_id: str
    begin_ms: int
    end_ms: int | None
    size: int
    uploaded_ms: int | None


@dataclass(frozen=True, slots=True)
class StartJob:
    attempt: int
    finish: bool
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Say for the job that the robot has left."""

    leave_code: int


@dataclass(frozen=True, slots=True)
class CloseFiles:
    """No job will report files any more: only uploads are left."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing for a job to do."""


Step = StartJob | Leave | CloseFiles | Rest


def decide(task: Task, *, needs_finish: bool, max_restarts: int | None = MAX_RESTARTS) -> Step:
    """What to do with a task that has no job now. ``needs_finish``: its kind misses a product that a job could make.
    ``max_restarts`` None: its job is started again for as long as the task is wanted."""
    if task.state in (State.UPLOADING, State.ENDED):
        return Rest()
    delay_ms = RESTART_DELAYS_MS[min(task.spent, len(RESTART_DELAYS_MS) - 1)]
    if task.leave_code is None:
        if task.desired is Desired.STOPPED:
            return Leave(task.stop_code)
        may_start = max_restarts is None or task.spent <= max_restarts
        return StartJob(task.attempts, False, delay_ms) if may_start else Leave(GIVE_UP_CODE)
    if needs_finish and task.spent <= FINISH_RESTARTS:
        return StartJob(task.attempts, True, delay_ms)
    return CloseFiles()


@dataclass(frozen=True, slots=True)
class Move:
    """The changes of the row that an event causes; None: as it was."""

    state: State | None = None
    leave_code: int | None = None
    desired: Desired | None = None


def counts(task: Task, event: AnyJobEvent) -> bool:
    """Whether an event may change the task. A leave with code 0 that nobody asked for is a job let go, not an end."""
    match event:
        case Left():
            return task.leave_code is None and (event.leave_code != 0 or task.desired is Desired.STOPPED)
        case Ended():
            return task.leave_code is not None and task.state is not State.ENDED
        case _:
            return task.state is not State.ENDED


def move(task: Task, event: AnyJobEvent) -> Move:
    """For an event that ``counts``."""
    match event:
        case Started() if task.state is State.ACCEPTED:
            return Move(state=State.RUNNING)
        case Left():
            return Move(state=State.ENDING, leave_code=event.leave_code, desired=Desired.STOPPED)
        case Ended():
            return Move(state=State.UPLOADING)
        case _:
            return Move()
