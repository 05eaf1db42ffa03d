"""The spool of a task goes when the task has ended: with its last upload, or with its last job.

Of what a file could not be made of, and which is nowhere else, it stays.
"""

import asyncio
import shutil
from pathlib import Path

from sqlalchemy import Connection

from rtcloud.tasks import records
from rtcloud.tasks.context import WorkerContext
from rtcloud.tasks.lifecycle import State

_KEPT = "kept"


def keep_spool(directory: Path) -> None:
    if directory.is_dir():  # or somebody has removed it
        (directory / _KEPT).touch()


def _remove(directory: Path) -> None:
    if not (directory / _KEPT).exists():
        shutil.rmtree(directory, ignore_errors=True)


async def clean_spool(context: WorkerContext, task_id: str) -> None:
    """Nothing is removed of a task that has not ended, or that is not known."""
    directory = context.directory(task_id)

    def has_ended(connection: Connection) -> bool:
        return records.state(connection, task_id) is State.ENDED

    if await context.database.read(has_ended):
        await asyncio.get_running_loop().run_in_executor(None, _remove, directory)
