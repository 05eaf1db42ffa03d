"""The worker: takes tasks that nobody runs, keeps one job process for each, uploads their files.

A worker is a row with a lease that it renews, and a lock on a file of its own that it holds as long as its process
lives. A task belongs to the worker named in its row. Others take it when the lock is free (the process is dead: at
once) or the lease has run out (it hangs: after ``LEASE_MS``); what the old owner still writes is refused.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rtcloud.clock import Clock
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database, DatabaseClosedError
from rtcloud.store.objects import Stores
from rtcloud.store.sealing import Sealer
from rtcloud.store.space import Space
from rtcloud.tasks import leases, records
from rtcloud.tasks.attempts import boot_id
from rtcloud.tasks.context import Timing, WorkerContext
from rtcloud.tasks.kinds import TaskKind
from rtcloud.tasks.process import JobProcess
from rtcloud.tasks.runner import Runner
from rtcloud.tasks.spare import Spare
from rtcloud.tasks.task import Identity
from rtcloud.tasks.uploader import Uploader

LEASE_MS = 10_000
RENEW_SECONDS = 2.0
POLL_SECONDS = 1.0
#: Where no hint comes from the process that takes the calls. Recordings run 300 ms behind: one that is told of its end
#: sooner than that records nothing beyond it.
POLL_ALONE_SECONDS = 0.2
#: -P: nothing is imported from the directory in which the server was started
JOB_COMMAND = (sys.executable, "-P", "-m", "rtcloud.cli", "job")

_log = logging.getLogger(__name__)


class Supervisor:
    """``run`` until ``drain`` was called (and returned) or it is cancelled."""

    def __init__(
        self,
        *,
        directory: Path,
        database: Database,
        sealer: Sealer,
        bus: Bus,
        clock: Clock,
        kinds: Sequence[TaskKind],
        stores: Stores,
        make_robot_token: Callable[[Identity], str],
        command: Sequence[str] = JOB_COMMAND,
        environment: Mapping[str, str] = os.environ,
        timing: Timing | None = None,
        allow_private: bool = False,
        capacity: int = 0,
        space: Space | None = None,
        keeps_spare: bool = False,
        poll: float = POLL_SECONDS,
    ) -> None:
        """``keeps_spare``: a job process waits for the next order, so that it begins at once. ``poll``: seconds until
        it looks for tasks again without a hint."""
        self._poll = poll
        self._spare = Spare(command, environment) if keeps_spare else None
        self._locks = directory / "workers"
        self.context = WorkerContext(
            worker=f"worker-{os.getpid()}-{secrets.token_hex(6)}",
            database=database,
            sealer=sealer,
            bus=bus,
            clock=clock,
            kinds={kind.name: kind for kind in kinds},
            spool=directory / "spool",
            start_job=self._spare.take if self._spare else lambda: JobProcess.start(command, environment),
            make_robot_token=make_robot_token,
            timing=timing or Timing(),
            images=str(directory / "images"),
            allow_private=allow_private,
            capacity=capacity,
            space=space,
        )
        self.uploader = Uploader(self.context, stores)
        self._runners: dict[str, Runner] = {}
        self._mourned: frozenset[str] = frozenset()  # dead workers that are known as such
        self._draining = asyncio.Event()
        self._done = asyncio.Event()

    async def run(self) -> None:
        context = self.context
        context.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Also one that is older: journals hold addresses with their keys, and pictures show people.
        context.spool.chmod(0o700)
        self._locks.mkdir(parents=True, exist_ok=True)
        own = self._locks / f"{context.worker}.lock"
        try:
            with own.open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                await self._renew()
                async with asyncio.TaskGroup() as group:
                    background = [
                        group.create_task(self._keep_lease(), name="worker lease"),
                        group.create_task(self.uploader.run(), name="uploader"),
                    ]
                    if self._spare is not None:
                        background.append(group.create_task(self._spare.run(), name="spare job"))
                    await self._supervise()
                    for task in background:
                        task.cancel()
                with contextlib.suppress(DatabaseClosedError):
                    await context.database.write(lambda connection: leases.remove_worker(connection, context.worker))
        finally:
            own.unlink(missing_ok=True)
            self._done.set()

    async def drain(self) -> None:
        """Start nothing new, let every job close its files (at most 10 s), hand back the tasks."""
        self._draining.set()
        self.context.bus.publish(records.TOPIC)
        await self._done.wait()

    async def _supervise(self) -> None:
        with self.context.bus.subscribe(records.TOPIC) as hints:
            async with asyncio.TaskGroup() as group:
                while not self._draining.is_set():
                    try:
                        await self._look(group)
                    except DatabaseClosedError:
                        break
                    except Exception:
                        _log.exception("looking for tasks failed")
                    await hints.wait(self._poll)
                for runner in self._runners.values():
                    runner.drain()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Take what is free; tell the jobs what changed; stop those that are not ours any more."""
        context = self.context
        dead = await self._dead_workers()
        if not self._mourned.issuperset(dead):  # one may have died between the end of a task and the end of its spool
            self._mourned = frozenset(dead)
            group.create_task(self.uploader.sweep(), name="spool sweep")
        now_ms = context.clock.now_ms()
        if await context.database.read(lambda connection: leases.claimable(connection, dead, now_ms)):
            await context.database.write(lambda connection: leases.claim(connection, context.worker, dead, now_ms))
        mine = await context.database.read(lambda connection: records.list_mine(connection, context.worker))
        for task_id in self._runners.keys() - {row.task_id for row in mine}:
            self._runners[task_id].abandon()
        for row in mine:
            runner = self._runners.get(row.task_id)
            if runner is not None:
                await self._refresh(runner, row)
            elif row.needs_runner:
                self._runners[row.task_id] = runner = Runner(context, row.task_id)
                group.create_task(self._run(row.task_id, runner), name=f"task {row.task_id}")

    async def _refresh(self, runner: Runner, row: records.Held) -> None:
        """A task that cannot be told anything holds no other one back."""
        try:
            await runner.refresh(row.desired, row.revision)
        except (records.LeaseLostError, DatabaseClosedError):
            pass
        except Exception:
            _log.exception("telling a job failed", extra={"task_id": row.task_id})

    async def _run(self, task_id: str, runner: Runner) -> None:
        try:
            await runner.run()
        finally:
            del self._runners[task_id]
            if self._draining.is_set():
                try:
                    await self.context.database.write(
                        lambda connection: leases.release(
                            connection, task_id, self.context.worker, let_go=runner.has_let_go
                        )
                    )
                except DatabaseClosedError:
                    pass
                except Exception:  # it is free all the same when this process is gone; other jobs still close files
                    _log.exception("handing back a task failed", extra={"task_id": task_id})

    async def _dead_workers(self) -> list[str]:
        context = self.context
        others = await context.database.read(lambda connection: leases.other_workers(connection, context.worker))
        return [worker for worker in others if _is_dead(self._locks / f"{worker}.lock")]

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._renew()
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("renewing the lease failed")

    async def _renew(self) -> None:
        context, until_ms = self.context, self.context.clock.now_ms() + LEASE_MS
        await context.database.write(
            lambda connection: leases.renew_lease(
                connection,
                context.worker,
                pid=os.getpid(),
                boot_id=boot_id(),
                until_ms=until_ms,
                capacity=context.capacity,
            )
        )


def _is_dead(lock: Path) -> bool:
    """Whether no process holds the worker's lock. The file of a dead one is removed."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.unlink(missing_ok=True)
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False
