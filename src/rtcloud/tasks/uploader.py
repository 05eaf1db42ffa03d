"""Moves closed files from the spool to their place, and tells the records when each is there.

The rows are the queue: a file is pending until it is marked, so a restart goes on where the last run stopped. Files of
one task go one after the other in the order of their closing (an index after the segments it names), ``TURN`` of them
before the task whose oldest file waits longest. Tasks go side by side: ``CONCURRENCY`` of them, ``PER_PLACE`` to one
store, so a slow store holds up its own tasks only. A refused file is tried again after 1, 2, 4 … 60 s for as long as
the task lives; nothing is given up. Its task's others go meanwhile, but for indexes: they name it.

A store elsewhere is asked once, when a task's job is at work, whether it takes the task's files: wrong keys are told
while there is time, and the recording goes on into the spool.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from rtcloud.callbacks import outbox
from rtcloud.store.database import DatabaseClosedError
from rtcloud.store.objects import OUT_OF_REACH, Objects, StorageError, Stores
from rtcloud.tasks import files, records
from rtcloud.tasks.cleaning import clean_spool
from rtcloud.tasks.context import WorkerContext
from rtcloud.tasks.kinds import Refusal
from rtcloud.tasks.lifecycle import Task, TaskFile

CONCURRENCY = 16
PER_PLACE = 4
PROBES = 8  # at once
TURN = 64  # files of a task before others have theirs
TASKS_AT_ONCE = 512  # looked at
POLL_SECONDS = 1.0
LONGEST_PAUSE = 60.0
KNOWN_TASKS = 4096
KEPT = frozenset({"index"})  # rewritten by the job or by recovery; goes with the task's directory

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class UploadCounters:
    """For /metrics."""

    uploaded: int = 0
    bytes: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Pause:
    until: float
    seconds: float


class Uploader:
    def __init__(self, context: WorkerContext, stores: Stores) -> None:
        self.counters = UploadCounters()
        self._context = context
        self._stores = stores
        self._busy: dict[str, str] = {}  # the place where a task's files go now
        self._places: dict[str, str] = {}  # where each task's files go, as far as it is known
        self._pauses: dict[str, _Pause] = {}
        self._probed: set[str] = set()
        self._probes = asyncio.Semaphore(PROBES)

    @property
    def uploading(self) -> int:
        return len(self._busy)

    async def run(self) -> None:
        """Until cancelled."""
        await self.sweep()
        bus = self._context.bus
        with bus.subscribe(records.FILES_TOPIC) as hints, bus.subscribe(records.KEYS_TOPIC) as keys:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        await self._probe_new(group)
                        await self._start(group)
                    except DatabaseClosedError:
                        return
                    except Exception:
                        _log.exception("looking for files to upload failed")
                    await hints.wait(POLL_SECONDS)
                    for task_id in await keys.wait(0):
                        self._try_again(task_id)

    async def _start(self, group: asyncio.TaskGroup) -> None:
        now = self._context.clock.monotonic()
        taken = Counter(self._busy.values())
        paused = {task_id for task_id, pause in self._pauses.items() if pause.until > now}
        waiting = {task_id for task_id, place in self._places.items() if taken[place] >= PER_PLACE}
        skipped = sorted(self._busy.keys() | paused | waiting)
        found = await self._context.database.read(
            lambda connection: files.pending_tasks(
                connection, self._context.worker, limit=TASKS_AT_ONCE, without=skipped
            )
        )
        for task_id in found:
            if len(self._busy) >= CONCURRENCY:
                return
            objects = await self._objects_of(task_id)
            if objects is None or taken[objects.place] >= PER_PLACE:
                continue
            taken[objects.place] += 1
            self._busy[task_id] = objects.place
            group.create_task(self._upload_turn(task_id, objects), name=f"upload {task_id}")

    async def _objects_of(self, task_id: str) -> Objects | None:
        """Where the task's files go, if they do."""
        try:
            task = await self._load(task_id)
            bucket = self._context.kinds[task.kind].bucket(task)
            objects = None if bucket is None else self._stores.of(bucket)
        except (records.LeaseLostError, DatabaseClosedError):
            return None
        except Exception:
            _log.exception("a task's store cannot be used", extra={"task_id": task_id})
            self._pause(task_id)
            return None
        if objects is not None:
            if len(self._places) >= KNOWN_TASKS:
                self._places.clear()
            self._places[task_id] = objects.place
        return objects

    async def _upload_turn(self, task_id: str, objects: Objects) -> None:
        try:
            found = await self._context.database.read(lambda connection: files.pending(connection, task_id, limit=TURN))
            refused = await self._upload_files(found, objects)
            if refused is None:
                self._pauses.pop(task_id, None)
            else:
                await self._refused(task_id, refused)
        except (records.LeaseLostError, DatabaseClosedError):
            self._pauses.pop(task_id, None)
        except Exception:
            _log.exception("uploading failed", extra={"task_id": task_id})
            self._pause(task_id)
        finally:
            self._busy.pop(task_id, None)
            self._context.bus.publish(records.FILES_TOPIC, task_id)

    async def _upload_files(self, files: Sequence[TaskFile], objects: Objects) -> StorageError | None:
        """The first refusal. One file that the store does not want holds up no other, but for the indexes, which
        name it; with a second refusal it is the store."""
        refused: StorageError | None = None
        for file in files:
            if refused is not None and file.kind in KEPT:
                continue
            try:
                await self._upload(file, objects)
            except StorageError as error:
                if refused is not None or error.code in OUT_OF_REACH:
                    return refused or error
                refused = error
        return refused

    async def _upload(self, file: TaskFile, objects: Objects) -> None:
        context = self._context
        task = await self._load(file.task_id)
        kind = context.kinds[task.kind]
        source = context.directory(file.task_id) / str(file.attempt) / file.name
        loop, now_ms = asyncio.get_running_loop(), context.clock.now_ms
        if not await loop.run_in_executor(None, _is_plain_file, source):
            _log.error("a file to upload is not in the spool", extra={"task_id": file.task_id, "file": file.name})
            await context.database.write(
                lambda connection: records.mark_lost(connection, context.sealer, kind, file, context.worker, now_ms())
            )
        else:
            await objects.put([*kind.folder(task), file.name], source)
            is_current = await context.database.write(
                lambda connection: records.mark_uploaded(
                    connection, context.sealer, kind, file, context.worker, now_ms()
                )
            )
            self.counters.uploaded += 1
            self.counters.bytes += file.size
            if is_current and file.kind not in KEPT:
                await loop.run_in_executor(None, lambda: source.unlink(missing_ok=True))  # a large one takes its time
        context.bus.publish(outbox.TOPIC)
        await clean_spool(context, file.task_id)

    async def _refused(self, task_id: str, error: StorageError) -> None:
        context = self._context
        self.counters.refused += 1
        self._pause(task_id)
        extra = {"task_id": task_id, "code": error.code, "reason": error.message}
        _log.warning("the store refused a file", extra=extra)

        def work(connection: Connection) -> None:
            task = records.load_mine(connection, context.sealer, task_id, context.worker)
            kind, now_ms = context.kinds[task.kind], context.clock.now_ms()
            records.mark_refused(connection, kind, task, error.code, error.message, now_ms)

        try:
            await context.database.write(work)
            context.bus.publish(outbox.TOPIC)
        except (records.LeaseLostError, DatabaseClosedError):
            pass
        except Exception:  # a full disk refuses both; the refusal is told when it comes again
            _log.exception("noting a refusal failed", extra={"task_id": task_id})

    def _try_again(self, task_id: str) -> None:
        """Now; the task "" is every one."""
        for each in [task_id] if task_id else [*self._pauses]:
            self._pauses.pop(each, None)

    def _pause(self, task_id: str) -> None:
        last = self._pauses.get(task_id)
        seconds = 1.0 if last is None else min(last.seconds * 2, LONGEST_PAUSE)
        self._pauses[task_id] = _Pause(self._context.clock.monotonic() + seconds, seconds)

    # -- asking the store --------------------------------------------------------------------------------------------

    async def _probe_new(self, group: asyncio.TaskGroup) -> None:
        running = await self._context.database.read(
            lambda connection: records.running(connection, self._context.worker)
        )
        self._probed &= running
        for task_id in running - self._probed:
            self._probed.add(task_id)
            objects = await self._objects_of(task_id)
            if objects is not None and objects.is_remote:
                group.create_task(self._probe(task_id, objects), name=f"probe {task_id}")

    async def _probe(self, task_id: str, objects: Objects) -> None:
        context, refusal = self._context, None
        try:
            task = await self._load(task_id)
            kind = context.kinds[task.kind]
            async with self._probes:
                try:
                    await objects.probe(kind.folder(task))
                except StorageError as error:
                    refusal = Refusal(error.code, error.message)
                    extra = {"task_id": task_id, "code": error.code, "reason": error.message}
                    _log.warning("the store does not take a task's files", extra=extra)
            await context.database.write(
                lambda connection: records.mark_probed(
                    connection, context.sealer, kind, task_id, context.worker, refusal, context.clock.now_ms()
                )
            )
            context.bus.publish(outbox.TOPIC)
        except (records.LeaseLostError, DatabaseClosedError):
            pass
        except Exception:  # the first file shows it, too
            _log.exception("asking a store failed", extra={"task_id": task_id})

    # -- helpers -----------------------------------------------------------------------------------------------------

    async def _load(self, task_id: str) -> Task:
        context = self._context
        return await context.database.read(
            lambda connection: records.load_mine(connection, context.sealer, task_id, context.worker)
        )

    async def sweep(self) -> None:
        """Spool directories that a crash left behind after the end of their tasks."""
        try:
            directories = await asyncio.get_running_loop().run_in_executor(None, _directories, self._context.spool)
            for directory in directories:
                await clean_spool(self._context, directory.name)
        except Exception:
            _log.exception("looking for left spool directories failed")


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _directories(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []
