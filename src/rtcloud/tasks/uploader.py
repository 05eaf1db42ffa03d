"""Moves closed files from the spool to their place, and tells the records when each is there.

The rows are the queue: a file is pending until it is marked, so a restart goes on where the last run stopped. Files of
one task go one after the other in the order of their closing (an index after the segments it names), tasks side by
side. A refused file is tried again after 1, 2, 4 … 60 s for as long as the task lives; nothing is given up.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection

from rtcloud.callbacks import outbox
from rtcloud.store.database import DatabaseClosedError
from rtcloud.store.objects import Objects, StorageError
from rtcloud.tasks import records
from rtcloud.tasks.cleaning import clean_spool
from rtcloud.tasks.context import WorkerContext
from rtcloud.tasks.lifecycle import TaskFile

CONCURRENCY = 4
BATCH = 512
POLL_SECONDS = 1.0
LONGEST_PAUSE = 60.0
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
    def __init__(self, context: WorkerContext, objects: Objects) -> None:
        self.counters = UploadCounters()
        self._context = context
        self._objects = objects
        self._busy: set[str] = set()
        self._pauses: dict[str, _Pause] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._sweep()
        with self._context.bus.subscribe(records.FILES_TOPIC) as hints:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        await self._start(group)
                    except DatabaseClosedError:
                        return
                    except Exception:
                        _log.exception("looking for files to upload failed")
                    await hints.wait(POLL_SECONDS)

    async def _start(self, group: asyncio.TaskGroup) -> None:
        now = self._context.clock.monotonic()
        skipped = self._busy | {task_id for task_id, pause in self._pauses.items() if pause.until > now}
        found = await self._context.database.read(
            lambda connection: records.pending_files(
                connection, self._context.worker, limit=BATCH, without=sorted(skipped)
            )
        )
        for task_id, files in groupby(found, key=lambda file: file.task_id):
            if len(self._busy) >= CONCURRENCY:
                return
            self._busy.add(task_id)
            group.create_task(self._upload_all(task_id, list(files)), name=f"upload {task_id}")

    async def _upload_all(self, task_id: str, files: Sequence[TaskFile]) -> None:
        try:
            for file in files:
                await self._upload(file)
            self._pauses.pop(task_id, None)
        except StorageError as error:
            await self._refused(task_id, error)
        except (records.LeaseLostError, DatabaseClosedError):
            pass
        except Exception:
            _log.exception("uploading failed", extra={"task_id": task_id})
            self._pause(task_id)
        finally:
            self._busy.discard(task_id)
            self._context.bus.publish(records.FILES_TOPIC, task_id)

    async def _upload(self, file: TaskFile) -> None:
        context = self._context
        task = await context.database.read(
            lambda connection: records.load_mine(connection, context.sealer, file.task_id, context.worker)
        )
        kind = context.kinds[task.kind]
        source = context.directory(file.task_id) / str(file.attempt) / file.name
        loop, now_ms = asyncio.get_running_loop(), context.clock.now_ms
        if not await loop.run_in_executor(None, _is_plain_file, source):
            _log.error("a file to upload is not in the spool", extra={"task_id": file.task_id, "file": file.name})
            await context.database.write(
                lambda connection: records.mark_lost(connection, context.sealer, kind, file, context.worker, now_ms())
            )
        else:
            await self._objects.put([*kind.folder(task), file.name], source)
            is_current = await context.database.write(
                lambda connection: records.mark_uploaded(
                    connection, context.sealer, kind, file, context.worker, now_ms()
                )
            )
            self.counters.uploaded += 1
            self.counters.bytes += file.size
            if is_current and file.kind not in KEPT:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(source)
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

    def _pause(self, task_id: str) -> None:
        last = self._pauses.get(task_id)
        seconds = 1.0 if last is None else min(last.seconds * 2, LONGEST_PAUSE)
        self._pauses[task_id] = _Pause(self._context.clock.monotonic() + seconds, seconds)

    async def _sweep(self) -> None:
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
