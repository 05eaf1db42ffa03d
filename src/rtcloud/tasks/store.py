"""Tasks for those who ask for them (the API): accept, find, change, stop, count. Everything answered is durable."""

from rtcloud.clock import Clock
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import files, leases, records
from rtcloud.tasks.task import Change, NewTask, TaskFile, TaskView

VIEWED = ("index", "mp4")


class TaskStore:
    def __init__(self, database: Database, sealer: Sealer, bus: Bus, clock: Clock) -> None:
        self._clock = clock
        self._database = database
        self._sealer = sealer
        self._bus = bus

    async def accept(self, task: NewTask) -> None:
        await self._database.write(lambda connection: records.accept(connection, self._sealer, task))
        self._bus.publish(records.TOPIC, task.task_id)

    async def find(self, task_id: str, sdk_app_id: int) -> TaskView | None:
        return await self._database.read(lambda connection: records.view(connection, task_id, sdk_app_id, VIEWED))

    async def application_of(self, task_id: str) -> int | None:
        return await self._database.read(lambda connection: records.application_of(connection, task_id))

    async def update(self, task_id: str, sdk_app_id: int, change: Change) -> bytes | None:
        """Gives the request as ``change`` made it. None: the application has no such task, or it was stopped or is at
        its end. What ``change`` raises is raised, and nothing is changed. It runs in the database's thread."""
        now_ms = self._clock.now_ms()
        changed = await self._database.write(
            lambda connection: records.revise(connection, self._sealer, task_id, sdk_app_id, change, now_ms)
        )
        if changed is not None:
            self._bus.publish(records.TOPIC, task_id)
        return changed

    async def params(self, task_id: str, sdk_app_id: int) -> bytes | None:
        """The request as it is now. None as ``update`` says."""
        return await self._database.read(lambda c: records.params(c, self._sealer, task_id, sdk_app_id))

    async def has_robot(self, room: RoomRef, user_id: str) -> bool:
        """Whether a task that was not stopped is in that room, or will be, with a robot of that name."""
        return await self._database.read(lambda connection: records.has_robot(connection, room, user_id))

    async def has_leaving(self, sdk_app_id: int) -> bool:
        """Whether a task of the application was stopped, or is at its end, and its robots may still be in rooms."""
        return await self._database.read(lambda connection: records.has_leaving(connection, sdk_app_id))

    async def running_params(self, sdk_app_id: int, kind: str) -> list[bytes]:
        """The requests of the application's tasks of a kind that were not stopped."""
        return await self._database.read(lambda c: records.running_params(c, self._sealer, sdk_app_id, kind))

    async def load(self) -> tuple[int, int]:
        """What all running tasks use, and what there is, in thousandths of a core; 0 there: no limit."""
        now_ms = self._clock.now_ms()
        return await self._database.read(
            lambda connection: (records.used(connection), leases.capacity(connection, now_ms))
        )

    async def stop(self, task_id: str, leave_code: int = 0) -> None:
        now_ms = self._clock.now_ms()
        await self._database.write(lambda connection: records.stop(connection, task_id, leave_code, now_ms))
        self._bus.publish(records.TOPIC, task_id)

    async def count_open(self, sdk_app_id: int, kind: str) -> int:
        return await self._database.read(lambda connection: records.count_open(connection, sdk_app_id, kind))

    async def files(self, task_id: str) -> list[TaskFile]:
        """Every file of the task, also of an ended one, in the order of their beginnings."""
        found = await self._database.read(lambda connection: files.of_task(connection, task_id))
        return [TaskFile(file.name, file.kind, file.user_id, file.track_type, file.begin_ms) for file in found]

    async def open_params(self, kind: str) -> list[bytes]:
        """The params of every task of a kind that has not ended."""
        return await self._database.read(lambda connection: records.open_params(connection, self._sealer, kind))
