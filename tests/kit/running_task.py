"""A task as the store has it: one of application 1400 in room 77, which a worker runs for the first time."""

from typing import Any

from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.lifecycle import Desired, State, Task

_OF_A_RUNNING_TASK: dict[str, Any] = {
    "task_id": "T",
    "ref": RoomRef(1400, True, "77"),
    "user_id": "robot",
    "desired": Desired.RUNNING,
    "stop_code": 0,
    "stop_ms": None,
    "state": State.RUNNING,
    "revision": 0,
    "attempts": 1,
    "spent": 1,
    "worker": "w",
    "created_ms": 0,
    "expires_ms": 0,
    "ended_ms": None,
    "leave_code": None,
    "progress": "{}",
}


def running_task(kind: str, params: bytes, **members: Any) -> Task:
    return Task(kind=kind, params=params, **_OF_A_RUNNING_TASK | members)
