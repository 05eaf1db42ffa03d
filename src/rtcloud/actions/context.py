"""What an action may use: who calls, and the services behind it as interfaces.

An action takes ``(services, call, request)``, where ``request`` is a typed struct made from parameters that passed the
model's validation, and returns a struct with the documented output members (RequestId is added at the edge).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from rtcloud.accounts.entities import Application, Caller
from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.apimodel.model import Action
from rtcloud.clock import Clock
from rtcloud.egress.filing import Filing
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Kind
from rtcloud.tasks.task import Change, NewTask, TaskView
from rtcloud.watermarks.store import Watermarks


class Rooms(Protocol):
    """All raise ``errors.room_not_found`` when the room is not open, and return once the change is durable."""

    async def remove_users(self, room: RoomRef, user_ids: Sequence[str]) -> None:
        """Users who are not there are ignored."""
        ...

    async def block_user(self, room: RoomRef, user_id: str, kinds: frozenset[Kind]) -> None:
        """What of the user nobody receives from now on. Raises ``errors.user_not_found`` for one who is not there."""
        ...

    async def dismiss(self, room: RoomRef) -> None: ...

    def has_user(self, room: RoomRef, user_id: str) -> bool:
        """Whether the user is in that room now; not so of a room that is not open."""
        ...


class Tasks(Protocol):
    async def accept(self, task: NewTask) -> None:
        """Returns once the task's row is durable."""
        ...

    async def find(self, task_id: str, sdk_app_id: int) -> TaskView | None: ...

    async def application_of(self, task_id: str) -> int | None:
        """The SDKAppID of a task, ended ones too, or None."""
        ...

    async def stop(self, task_id: str, leave_code: int = 0) -> None: ...

    async def count_open(self, sdk_app_id: int, kind: str) -> int:
        """How many tasks of that kind the application has that have not ended."""
        ...

    async def has_robot(self, room: RoomRef, user_id: str) -> bool:
        """Whether a task that was not stopped is in that room, or will be, with a robot of that name."""
        ...

    async def running_params(self, sdk_app_id: int, kind: str) -> list[bytes]:
        """The requests of the application's tasks of a kind that were not stopped."""
        ...

    async def has_leaving(self, sdk_app_id: int) -> bool:
        """Whether a task of the application was stopped, or is at its end, and its robots may still be in rooms."""
        ...

    async def load(self) -> tuple[int, int]:
        """What open tasks are expected to take, and what they may take: thousandths of a core. 0 may: no limit."""
        ...

    async def params(self, task_id: str, sdk_app_id: int) -> bytes | None:
        """The request as it was accepted or updated last. None: the application has no such task, or it was stopped or
        is at its end."""
        ...

    async def update(self, task_id: str, sdk_app_id: int, change: Change) -> bytes | None:
        """In one transaction, with what ``change`` makes of the params; it may raise, and nothing is changed then. The
        new params, or None as ``params`` says."""
        ...


class Images(Protocol):
    async def keep(self, sdk_app_id: int, url: str) -> str:
        """Fetch the picture (``http…``, or ``watermark:WM_…``, one of the application's), check it and keep it; gives
        the name of its file below the images directory. Raises ``images.fetching.ImageError``, whose reason users
        understand."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    rooms: Rooms
    tasks: Tasks
    clock: Clock
    accounts: Accounts
    sessions: Sessions
    watermarks: Watermarks
    images: Images
    #: whether new tasks are refused because the server is going away
    is_stopping: Callable[[], bool] = lambda: False
    #: whether the disk has no room for further recordings
    is_full: Callable[[], bool] = lambda: False
    #: whether addresses in requests may point into private networks
    allow_private: bool = False
    #: where the addresses of files that are kept so begin: see ``Filing``
    files_at: Callable[[Filing], str] = lambda _filing: ""
    #: held while a task is counted and accepted, so that two calls cannot both take the last place
    accepting: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Call:
    """``found`` is the application that the call is about, checked to be the caller's, if it names one."""

    action: Action
    caller: Caller
    request_id: str
    region: str = ""
    found: Application | None = None

    @property
    def application(self) -> Application:
        """Of an action whose SdkAppId is required."""
        assert self.found is not None, f"{self.action.name} names no application"
        return self.found


class Nothing(msgspec.Struct):
    """The output of actions that give only a RequestId."""
