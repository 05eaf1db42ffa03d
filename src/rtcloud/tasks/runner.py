"""Runs one task on this worker: job after job until the robot has left and every file was reported.

Between two attempts the last one is retired: its process is gone for sure (it holds a lock), what it left open is
completed, and its journal is read, so nothing that was in the pipe is lost.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from rtcloud.callbacks import outbox
from rtcloud.store.database import DatabaseClosedError
from rtcloud.store.objects import DISK_FULL
from rtcloud.tasks import files, leases, lifecycle, records
from rtcloud.tasks.attempts import GivenUpError, is_sound, sole, write_pid
from rtcloud.tasks.cleaning import clean_spool, keep_spool
from rtcloud.tasks.context import WorkerContext
from rtcloud.tasks.journal import scan_journal
from rtcloud.tasks.kinds import TaskKind
from rtcloud.tasks.lifecycle import CloseFiles, Desired, Leave, Rest, StartJob, Task
from rtcloud.tasks.process import JobProcess, JobProtocolError
from rtcloud.tasks.protocol import (
    AnyJobEvent,
    Ended,
    FileClosed,
    Heartbeat,
    Instruction,
    Noted,
    Order,
    Pass,
    Stop,
    Token,
    Update,
)
from rtcloud.tasks.task import Identity

_REPLAYED_AT_ONCE = 200
_DOOR_SECONDS = 2.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: what 308 says, and ``recording show``
FULL = (DISK_FULL, "the disk of the recording server is nearly full; the recording goes on when there is room")

_log = logging.getLogger(__name__)
_events = msgspec.json.Decoder(AnyJobEvent)


class Runner:
    def __init__(self, context: WorkerContext, task_id: str) -> None:
        self._context = context
        self._task_id = task_id
        self._job: JobProcess | None = None
        self._wake = asyncio.Event()
        self._draining = False
        self._told_stop = False
        self._told_revision = 0
        self._token_at = 0.0
        self._waits_for_room = False  # the job was let go because the disk is nearly full
        self._has_ended = False  # the job has made its last report: it has a moment to exit by itself
        #: whether a job of the task ran until this worker let it go
        self.has_let_go = False

    async def run(self) -> None:
        """Until no job is needed any more, the worker drains, or the task is another worker's."""
        await self._run_jobs()
        with contextlib.suppress(DatabaseClosedError):
            await clean_spool(self._context, self._task_id)  # nothing is uploaded of a task without files

    async def _run_jobs(self) -> None:
        while not self._draining:
            try:
                if await self._step():
                    return
            except (records.LeaseLostError, DatabaseClosedError, GivenUpError):
                return
            except Exception:
                _log.exception("task failed, trying again", extra={"task_id": self._task_id})
                await self._pause(self._context.timing.again)

    def drain(self) -> None:
        """Let the job go: it closes its files and exits; the task stays accepted."""
        self._draining = True
        self._wake.set()
        if self._job is not None:
            self._let_go(self._job)

    def abandon(self) -> None:
        """The task is not ours any more: the job must not go on, unless it has said that it ends."""
        if self._job is not None and not self._has_ended:
            self._job.kill()

    async def refresh(self, desired: Desired, revision: int) -> None:
        """The row says this; tell the job what it does not know. Also sends tokens in time."""
        job, timing = self._job, self._context.timing
        space = self._context.space
        if job is not None and space is not None and space.is_full:
            await self._make_wait(job)
        if desired is Desired.STOPPED:
            self._wake.set()  # a pause before the next attempt is pointless
        if job is None or self._is_let_go:
            return
        now = self._context.clock.monotonic()
        is_new = revision > self._told_revision or (desired is Desired.STOPPED and not self._told_stop)
        if not is_new and now - self._token_at < timing.token:
            return
        task = await self._load()
        if job is not self._job:
            return  # its successor was told the row's state at its start
        try:
            if task.revision > self._told_revision:
                kind, revision = self._kind(task), task.revision
                params, passes = msgspec.Raw(kind.job_params(task)), await self._passes(task, kind)
                if job is not self._job or self._told_revision >= revision:
                    return
                self._tell(job, Update(params=params, revision=revision, passes=passes))
                self._told_revision = revision
            if task.desired is Desired.STOPPED and not self._told_stop:
                self._tell(job, Stop(leave_code=task.stop_code, at_ms=task.stop_ms or 0))
                self._told_stop = True
            elif now - self._token_at >= timing.token:
                kind = self._kind(task)
                token, passes = self._token(task, kind), self._make_passes(kind.passes(task))
                self._tell(job, Token(token=token, passes=passes))
                self._token_at = now
        except JobProtocolError:
            job.kill()

    async def _make_wait(self, job: JobProcess) -> None:
        """Lets the job go while it can still close its files; ``_start`` waits until there is room again."""
        task = await self._load()
        may_wait = self._kind(task).waits_for_room and task.leave_code is None
        if may_wait and job is self._job and not self._is_let_go and not self._told_stop:
            self._waits_for_room = True
            _log.warning("the disk is nearly full: a job is let go", extra={"task_id": self._task_id})
            self._let_go(job)

    @property
    def _is_let_go(self) -> bool:
        return self._draining or self._waits_for_room

    # -- steps between jobs --------------------------------------------------------------------------------------

    async def _step(self) -> bool:
        task = await self._load()
        kind = self._kind(task)
        if task.attempts:
            is_whole = await self._retire(task, kind, task.attempts - 1)
            if not is_whole and (kind.waits_for_room or task.leave_code is not None):
                await self._tell_full(task)
                await self._pause(self._context.timing.again)
                return False
            task = await self._load()
        counts = await self._context.database.read(lambda connection: files.count(connection, self._task_id))
        needs_finish = kind.needs_finish(task, counts)
        match lifecycle.decide(task, needs_finish=needs_finish, max_restarts=kind.max_restarts):
            case Rest():
                return True
            case Leave(leave_code):
                await self._write(
                    lambda connection, now_ms: records.leave(
                        connection, self._context.sealer, kind, self._task_id, self._context.worker, leave_code, now_ms
                    )
                )
            case CloseFiles():
                if needs_finish and not kind.is_uploaded(task, "segment"):
                    await self._keep()
                await self._write(
                    lambda connection, now_ms: records.close_files(
                        connection, self._context.sealer, kind, self._task_id, self._context.worker, now_ms
                    )
                )
                self._context.bus.publish(records.FILES_TOPIC, self._task_id)
            case StartJob() as start:
                await self._start(task, kind, start)
        return False

    async def _keep(self) -> None:
        """What was recorded is nowhere else, and no file could be made of it."""
        directory = self._context.directory(self._task_id)
        await asyncio.get_running_loop().run_in_executor(None, keep_spool, directory)
        extra = {"task_id": self._task_id, "folder": str(directory)}
        _log.error("no file could be made of what was recorded, which is kept", extra=extra)

    async def _retire(self, task: Task, kind: TaskKind, attempt: int) -> bool:
        """False: the disk has no room for the ends of its files; try again before anything else becomes of them."""
        is_whole = True
        context, directory = self._context, self._context.directory(self._task_id) / str(attempt)
        loop, now_ms = asyncio.get_running_loop(), context.clock.now_ms()
        if not directory.is_dir():
            return is_whole
        async with sole(directory, context.clock, context.timing.orphan, is_given_up=lambda: self._draining):
            try:
                await loop.run_in_executor(None, kind.recover, directory, now_ms)
            except Exception as error:
                is_whole = getattr(error, "errno", None) not in _NO_ROOM
                _log.exception("recovering an attempt failed", extra={"task_id": self._task_id, "attempt": attempt})
            known = await context.database.read(lambda connection: records.reported(connection, self._task_id, attempt))
            events = await loop.run_in_executor(
                None,
                lambda: [event for event in scan_journal(directory) if event.sequence not in known and is_sound(event)],
            )
        for first in range(0, len(events), _REPLAYED_AT_ONCE):
            await self._apply(kind, attempt, events[first : first + _REPLAYED_AT_ONCE])
        return is_whole

    async def _start(self, task: Task, kind: TaskKind, start: StartJob) -> None:
        signal_url = await self._context.database.read(records.signal_url)
        if not start.finish and (signal_url is None or not await _is_open(signal_url)):
            await self._pause(self._context.timing.again)  # no room server runs now: keep the attempt
            return
        if start.delay_ms and not start.finish:
            await self._pause(start.delay_ms / 1000)
            if (await self._load()).desired is not task.desired:
                return  # decide again
        if self._draining or not await self._has_room(task, start):
            return
        directory = self._context.directory(self._task_id) / str(start.attempt)
        order = Order(
            task_id=task.task_id,
            kind=task.kind,
            attempt=start.attempt,
            sdk_app_id=task.ref.sdk_app_id,
            numeric=task.ref.numeric,
            room_id=task.ref.room_id,
            user_id=task.user_id,
            signal_url=_websocket(signal_url or ""),
            token=self._token(task, kind),
            spool=str(directory),
            params=msgspec.Raw(kind.job_params(task)),
            passes=() if start.finish else await self._passes(task, kind),
            images=self._context.images,
            allow_private=self._context.allow_private,
            revision=task.revision,
            finish=start.finish,
        )
        await asyncio.get_running_loop().run_in_executor(None, lambda: directory.mkdir(parents=True, exist_ok=True))
        # The process before its attempt: one that cannot be started uses none up. It does nothing without its order.
        job = await self._context.start_job()
        try:
            await self._write(
                lambda connection, _: records.begin_attempt(connection, self._task_id, self._context.worker)
            )
        except BaseException:
            job.kill()
            job.close()
            raise
        self._context.counters.jobs_started += 1
        if start.attempt:
            self._context.counters.jobs_restarted += 1
        _log.info("job starts", extra={"task_id": self._task_id, "attempt": start.attempt, "finish": start.finish})
        await self._watch(job, kind, order, task)

    async def _has_room(self, task: Task, start: StartJob) -> bool:
        """Waits for room on the disk: for what a job writes until it is let go, or for the whole that it makes at the
        end. False: decide again."""
        space, directory = self._context.space, self._context.directory(self._task_id)
        if space is None or not (self._kind(task).waits_for_room or start.finish):
            return True
        loop, is_told = asyncio.get_running_loop(), False
        needed = await loop.run_in_executor(None, _size, directory) if start.finish else 0  # nobody writes there now
        while True:
            if space.has(needed):
                return True
            if not is_told:
                is_told = True
                extra = {"task_id": self._task_id, "needed": needed, "free": space.free}
                _log.warning("a job waits for room on the disk", extra=extra)
                await self._tell_full(task)
            await self._pause(self._context.timing.again)
            if self._draining or (await self._load()).desired is not task.desired:
                return False

    async def _tell_full(self, task: Task) -> None:
        def work(connection: Connection, now_ms: int) -> None:
            mine = records.load_mine(connection, self._context.sealer, self._task_id, self._context.worker)
            records.mark_refused(connection, self._kind(task), mine, *FULL, now_ms)

        try:
            await self._write(work)
        except OperationalError:  # the database may be what has no room; the log has it
            _log.exception("telling of the full disk failed", extra={"task_id": self._task_id})

    # -- while a job runs ----------------------------------------------------------------------------------------

    async def _watch(self, job: JobProcess, kind: TaskKind, order: Order, task: Task) -> None:
        timing, began = self._context.timing, self._context.clock.monotonic()
        self._job, self._told_revision, self._told_stop = job, order.revision, False
        self._token_at = began
        self._has_ended = self._waits_for_room = False
        self._context.counters.running += 1
        try:
            write_pid(Path(order.spool), job.pid)
            job.send(msgspec.json.encode(order) + b"\n")
            if order.finish:
                self._tell(job, Stop(leave_code=task.leave_code or 0))
                self._told_stop = True
            if self._draining:
                self._let_go(job)
            else:
                current = await self._load()
                await self.refresh(current.desired, current.revision)
            await self._follow(job, kind, order.attempt)
            self.has_let_go = self._draining and not self._waits_for_room
            async with asyncio.timeout(timing.exit):
                await job.wait()
        except TimeoutError:
            self._context.counters.jobs_killed_silent += 1
            _log.warning("job is silent, killed", extra={"task_id": self._task_id, "attempt": order.attempt})
        except JobProtocolError as error:
            self._context.counters.jobs_killed_broken += 1
            extra = {"task_id": self._task_id, "attempt": order.attempt, "reason": str(error)}
            _log.warning("job breaks the protocol, killed", extra=extra)
        finally:
            self._job = None
            self._context.counters.running -= 1
            job.kill()
            job.close()
            status = await job.wait()
            _log.info("job ended", extra={"task_id": self._task_id, "attempt": order.attempt, "status": status})
        if self._waits_for_room or (status and not self._has_ended and await self._is_disk_full()):
            await self._write(lambda connection, _: leases.suspend(connection, self._task_id, self._context.worker))
        if kind.forgets_restarts and self._context.clock.monotonic() - began >= timing.steady:
            await self._write(
                lambda connection, _: records.forget_restarts(connection, self._task_id, self._context.worker)
            )

    async def _follow(self, job: JobProcess, kind: TaskKind, attempt: int) -> None:
        """Apply what the job reports until its events end."""
        patience = self._context.timing.first_line
        while True:
            line = await self._read(job, patience)
            if line is None:
                return
            patience = self._context.timing.silence
            try:
                event = _events.decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                raise JobProtocolError("a line is not an event") from error
            if isinstance(event, Heartbeat):
                continue
            if not is_sound(event):
                raise JobProtocolError("an event names something outside the job's directory")
            if isinstance(event, Noted):
                extra = {"task_id": self._task_id, "code": event.code, "note": event.message[:500]}
                _log.info("job notes", extra=extra)
                self._context.counters.note(event.code)
            self._has_ended = isinstance(event, Ended)  # before the row says so: then the task is nobody's
            await self._apply(kind, attempt, [event])
            if self._has_ended:
                return

    async def _read(self, job: JobProcess, patience: float) -> bytes | None:
        """A line. A job that was let go may be silent while it closes its files: its time is measured by itself."""
        try:
            async with asyncio.timeout(patience):
                return await job.read_line()
        except TimeoutError:
            if not self._is_let_go:
                raise
        return await job.read_line()

    async def _apply(self, kind: TaskKind, attempt: int, events: Sequence[AnyJobEvent]) -> None:
        context = self._context

        def work(connection: Connection, now_ms: int) -> None:
            for event in events:
                records.apply_event(
                    connection, context.sealer, kind, self._task_id, context.worker, attempt, event, now_ms
                )

        while True:
            try:
                await self._write(work)
                break
            except OperationalError:  # locked for long, or the disk is full: the job need not die of it
                extra = {"task_id": self._task_id, "attempt": attempt}
                _log.exception("a job's report cannot be written, trying again", extra=extra)
                await asyncio.sleep(context.timing.again)
        if any(isinstance(event, FileClosed) for event in events):
            context.bus.publish(records.FILES_TOPIC, self._task_id)

    async def _is_disk_full(self) -> bool:
        """At this moment: a job that died of it is as good as let go."""
        space = self._context.space
        if space is None:
            return False
        await asyncio.get_running_loop().run_in_executor(None, space.look)
        return space.is_full

    # -- helpers -------------------------------------------------------------------------------------------------

    async def _passes(self, task: Task, kind: TaskKind) -> tuple[Pass, ...]:
        """For all that the job is beside the task's own robot. Where the robot goes is noted."""
        identities = kind.passes(task)
        rooms = [task.ref, *(one.ref for one in identities if one.user_id == task.user_id)]
        await self._write(lambda connection, _: records.note_rooms(connection, self._task_id, rooms))
        return self._make_passes(identities)

    def _make_passes(self, identities: Sequence[Identity]) -> tuple[Pass, ...]:
        make = self._context.make_robot_token
        return tuple(
            Pass(numeric=one.ref.numeric, room_id=one.ref.room_id, user_id=one.user_id, token=make(one))
            for one in identities
        )

    def _token(self, task: Task, kind: TaskKind) -> str:
        return self._context.make_robot_token(Identity(task.ref, task.user_id, robot=kind.is_robot))

    def _let_go(self, job: JobProcess) -> None:
        job.end_instructions()
        asyncio.get_running_loop().call_later(self._context.timing.closing, job.kill)

    def _tell(self, job: JobProcess, instruction: Instruction) -> None:
        job.send(msgspec.json.encode(instruction) + b"\n")

    async def _load(self) -> Task:
        context = self._context
        return await context.database.read(
            lambda connection: records.load_mine(connection, context.sealer, self._task_id, context.worker)
        )

    def _kind(self, task: Task) -> TaskKind:
        return self._context.kinds[task.kind]

    async def _write(self, work: Callable[[Connection, int], None]) -> None:
        now_ms = self._context.clock.now_ms()
        await self._context.database.write(lambda connection: work(connection, now_ms))
        self._context.bus.publish(outbox.TOPIC)

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()


async def _is_open(url: str) -> bool:
    """Whether somebody listens there. Attempts are few: none is spent on a closed door."""
    try:
        async with asyncio.timeout(_DOOR_SECONDS):
            parts = urlsplit(url)
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _size(directory: Path) -> int:
    """What a file made of all the media that a task has kept would take, at most."""
    total = 0
    for path in directory.glob("*/keep/*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _websocket(url: str) -> str:
    return "ws" + url.removeprefix("http") if url.startswith("http") else url
