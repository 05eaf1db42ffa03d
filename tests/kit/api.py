"""The cloud API alone, served on a loopback port, with rooms and tasks that remember what they were asked.

For tests of the API's edge; the rest of the product is not needed.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256

import uvloop
from starlette.applications import Starlette

from rtcloud import errors, http
from rtcloud.accounts.entities import Credentials
from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.actions.context import Services
from rtcloud.clock import Clock, SystemClock
from rtcloud.gateway.server import Gateway, GatewaySettings, routes
from rtcloud.images.fetching import ImageError
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Kind
from rtcloud.store.database import Database, open_database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks.task import Change, NewTask, TaskFile, TaskView
from rtcloud.watermarks.store import Watermarks


@dataclass
class FakeRooms:
    """``open`` holds the rooms that exist."""

    open: dict[RoomRef, set[str]] = field(default_factory=dict)
    blocked: dict[tuple[RoomRef, str], frozenset[str]] = field(default_factory=dict)

    async def remove_users(self, room: RoomRef, user_ids: Sequence[str]) -> None:
        if room not in self.open:
            raise errors.room_not_found(room.room_id)
        self.open[room] -= set(user_ids)

    async def block_user(self, room: RoomRef, user_id: str, kinds: frozenset[Kind]) -> None:
        if room not in self.open:
            raise errors.room_not_found(room.room_id)
        if user_id not in self.open[room]:
            raise errors.user_not_found(user_id)
        self.blocked[room, user_id] = kinds

    def has_user(self, room: RoomRef, user_id: str) -> bool:
        return user_id in self.open.get(room, ())

    async def dismiss(self, room: RoomRef) -> None:
        if self.open.pop(room, None) is None:
            raise errors.room_not_found(room.room_id)


@dataclass
class FakeTasks:
    """A task goes from state to state when the test says so. ``capacity`` in thousandths of a core; 0: no limit."""

    accepted: dict[str, NewTask] = field(default_factory=dict)
    views: dict[str, TaskView] = field(default_factory=dict)
    failure: Exception | None = None
    capacity: int = 0

    async def accept(self, task: NewTask) -> None:
        if self.failure is not None:
            raise self.failure
        self.accepted[task.task_id] = task
        self.views[task.task_id] = TaskView(task.task_id, task.kind, "accepted", "running", task.expires_ms)

    async def find(self, task_id: str, sdk_app_id: int) -> TaskView | None:
        task = self.accepted.get(task_id)
        return self.views[task_id] if task is not None and task.ref.sdk_app_id == sdk_app_id else None

    async def application_of(self, task_id: str) -> int | None:
        task = self.accepted.get(task_id)
        return task.ref.sdk_app_id if task is not None else None

    async def stop(self, task_id: str, leave_code: int = 0) -> None:
        self.views[task_id] = replace(self.views[task_id], desired_state="stopped")

    async def count_open(self, sdk_app_id: int, kind: str) -> int:
        return sum(
            self.views[task_id].state != "ended"
            for task_id, task in self.accepted.items()
            if task.ref.sdk_app_id == sdk_app_id and task.kind == kind
        )

    async def has_robot(self, room: RoomRef, user_id: str) -> bool:
        tasks = [task for task in self.accepted.values() if (task.ref, task.user_id) == (room, user_id)]
        return any([await self.params(task.task_id, room.sdk_app_id) is not None for task in tasks])

    async def running_params(self, sdk_app_id: int, kind: str) -> list[bytes]:
        found = [await self.params(task_id, sdk_app_id) for task_id, task in self.accepted.items() if task.kind == kind]
        return [params for params in found if params is not None]

    async def has_leaving(self, sdk_app_id: int) -> bool:
        mine = [self.views[task_id] for task_id, task in self.accepted.items() if task.ref.sdk_app_id == sdk_app_id]
        return any(
            view.state == "ending" or (view.desired_state == "stopped" and view.state in ("accepted", "running"))
            for view in mine
        )

    async def load(self) -> tuple[int, int]:
        open_ones = (task for task_id, task in self.accepted.items() if self.views[task_id].state != "ended")
        return sum(task.load for task in open_ones), self.capacity

    async def params(self, task_id: str, sdk_app_id: int) -> bytes | None:
        view = await self.find(task_id, sdk_app_id)
        runs = view is not None and view.desired_state == "running" and view.state in ("accepted", "running")
        return self.accepted[task_id].params if runs else None

    async def update(self, task_id: str, sdk_app_id: int, change: Change) -> bytes | None:
        before = await self.params(task_id, sdk_app_id)
        if before is None:
            return None
        after, output, load = change(before)
        before_load = self.accepted[task_id].load
        load = before_load if load is None else load
        self.accepted[task_id] = replace(self.accepted[task_id], params=after, output=output, load=load)
        return after

    def move(self, task_id: str, state: str, *files: TaskFile) -> None:
        self.views[task_id] = replace(self.views[task_id], state=state, files=files)


class FakeImages:
    """Every address holds a picture, but for those in ``dead``, which say why not."""

    def __init__(self) -> None:
        self.dead: dict[str, str] = {}
        self.kept: list[tuple[int, str]] = []

    async def keep(self, sdk_app_id: int, url: str) -> str:
        if url in self.dead:
            raise ImageError(self.dead[url])
        self.kept.append((sdk_app_id, url))
        return f"{sha256(url.encode()).hexdigest()}.png"


@dataclass
class Api:
    """``gateway`` is the ASGI application; ``endpoint`` is host:port when it is served."""

    gateway: Gateway
    accounts: Accounts
    credentials: Credentials
    rooms: FakeRooms
    tasks: FakeTasks
    database: Database
    endpoint: str = ""

    async def close(self) -> None:
        await self.database.close()


async def open_api(clock: Clock | None = None, settings: GatewaySettings | None = None) -> Api:
    """With one account, its key pair and its application, in memory."""
    chosen = clock or SystemClock()
    database = open_database(None)
    sealer = Sealer(bytes(32))
    accounts = await Accounts.load(database, sealer, chosen)
    await accounts.ensure_first(chosen.now_ms())
    rooms, tasks = FakeRooms(), FakeTasks()
    services = Services(rooms, tasks, chosen, accounts, Sessions(sealer, accounts), Watermarks(database), FakeImages())
    gateway = Gateway(services, settings=settings)
    return Api(gateway, accounts, accounts.credentials(""), rooms, tasks, database)


@contextmanager
def serve_api(settings: GatewaySettings | None = None) -> Iterator[Api]:
    """Served as the product serves it, in a thread of its own."""
    opened: list[Api] = []
    ready = threading.Event()
    servers: list[http.HttpServer] = []

    async def main() -> None:
        api = await open_api(settings=settings)
        listener = http.bind("127.0.0.1", 0)
        server = http.make_server(Starlette(routes=routes(api.gateway)), graceful_seconds=1)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            api.endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
            opened.append(api)
            servers.append(server)
        ready.set()
        await serving
        await api.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20), "the server did not start"
    assert opened, "the server did not start"
    try:
        yield opened[0]
    finally:
        servers[0].should_exit = True
        thread.join(20)
