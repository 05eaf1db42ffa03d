"""What a job process promises its worker, whatever the job is."""

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rtcloud.clock import SystemClock
from rtcloud.tasks import job
from rtcloud.tasks.job import JobShell, Lines
from rtcloud.tasks.journal import Journal, read_journal
from rtcloud.tasks.protocol import JOURNAL, LOCK, AnyJobEvent, Heartbeat, Noted, Order, Started, Stop, Token

pytestmark = pytest.mark.anyio


def order(directory: Path, kind: str = "recording") -> Order:
    return Order(
        task_id="t",
        kind=kind,
        attempt=0,
        sdk_app_id=1,
        numeric=True,
        room_id="1",
        user_id="robot",
        signal_url="ws://unused",
        token="unused",
        spool=str(directory),
        params=msgspec.Raw(b"{}"),
    )


class Worker:
    """The worker's ends of the two pipes."""

    def __init__(self) -> None:
        self._reader, self._stdin = os.pipe()
        self.stdin = Lines(self._reader)
        self._events, self.events_fd = os.pipe()

    def send(self, line: bytes) -> None:
        os.write(self._stdin, line)

    def go(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def received(self) -> list[AnyJobEvent]:
        os.close(self.events_fd)
        self.events_fd = -1
        with os.fdopen(self._events, "rb") as events:
            return [msgspec.json.decode(line, type=AnyJobEvent) for line in events]


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.go()
    for thread in threading.enumerate():
        if thread.name == "job-stdin":
            thread.join(5)
    os.close(worker._reader)


async def test_instructions_arrive_in_order_and_rubbish_is_passed_over(tmp_path: Path, worker: Worker) -> None:
    shell = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock())
    worker.send(b'{"type":"token","token":"x"}\n\nnonsense\n{"type":"unheard of"}\n')
    worker.send(b'{"type":"stop","leave_code":1}\n')
    worker.go()

    async def work(shell: JobShell) -> int:
        assert await shell.instructions.get() == Token(token="x")
        assert await shell.instructions.get() == Stop(leave_code=1)
        assert await shell.instructions.get() is None
        return 7

    assert await shell.run(work) == 7


async def test_events_are_numbered_in_the_journal_and_on_the_pipe_alike(tmp_path: Path, worker: Worker) -> None:
    shell = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock())

    async def work(shell: JobShell) -> int:
        shell.report(Started(at_ms=1))
        shell.report(Noted(at_ms=2, code="C", message="m"))
        await asyncio.sleep(1.2)
        return 0

    await shell.run(work)
    received = worker.received()
    beats = [event for event in received if isinstance(event, Heartbeat)]
    assert len(beats) == 2
    assert all(beat.sequence == 0 for beat in beats)
    events = [event for event in received if event.sequence]
    assert [event.sequence for event in events] == [1, 2]
    assert read_journal(tmp_path) == events


async def test_what_was_reported_can_be_read_in_the_journal_before_the_files_are_made_of_it(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell, sync = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock()), os.fsync
    slow = threading.Event()

    def wait_for_the_disk(descriptor: int) -> None:
        slow.wait(10)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", wait_for_the_disk)

    async def work(shell: JobShell) -> int:
        for number in range(3):
            shell.report(Noted(at_ms=number, code="C", message="m"))
        asyncio.get_running_loop().call_soon(slow.set)
        given_up = asyncio.ensure_future(shell.reported())
        await asyncio.sleep(0)
        given_up.cancel()
        await shell.reported()
        assert len(read_journal(tmp_path)) == 3
        return 0

    assert await shell.run(work) == 0


async def test_an_unhealthy_job_stops_its_heartbeat(tmp_path: Path, worker: Worker) -> None:
    shell = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock())
    shell.is_healthy = lambda: False

    async def work(shell: JobShell) -> int:
        await asyncio.sleep(1.2)
        return 0

    await shell.run(work)
    assert worker.received() == []


async def test_without_a_reader_the_journal_goes_on(tmp_path: Path, worker: Worker) -> None:
    shell = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock())
    os.close(worker._events)

    async def work(shell: JobShell) -> int:
        for number in range(50):
            shell.report(Started(at_ms=number))
        return 0

    assert await shell.run(work) == 0
    assert len(read_journal(tmp_path)) == 50
    os.close(worker.events_fd)


async def test_a_job_outlives_a_full_disk_and_says_everything_when_there_is_room(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell, sync, failures = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock()), os.fsync, 2

    def refuse(descriptor: int) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(job, "AGAIN_S", 0.05)

    async def work(shell: JobShell) -> int:
        shell.report(Started(at_ms=1))
        shell.report(Noted(at_ms=2, code="C", message="m"))
        await shell.reported()
        return 0

    assert await shell.run(work) == 0
    received = worker.received()
    assert isinstance(received[0], Heartbeat)
    events = [event for event in received if event.sequence]
    assert [event.sequence for event in events] == [1, 2]
    assert read_journal(tmp_path) == events


async def test_a_job_ends_though_the_disk_is_full(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shell = JobShell(order(tmp_path), worker.stdin, worker.events_fd, SystemClock())
    monkeypatch.setattr(os, "fsync", refuse)

    async def work(shell: JobShell) -> int:
        shell.report(Started(at_ms=1))
        return 1

    async with asyncio.timeout(job.CLOSE_WITHIN - 1):
        assert await shell.run(work) == 1
    assert read_journal(tmp_path) == []
    assert not any(event.sequence for event in worker.received())


def test_a_journal_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(Started(at_ms=1))
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"type":"ended","seq')
    assert len(read_journal(tmp_path)) == 1
    with Journal(tmp_path) as journal:
        journal.append(Started(at_ms=2))
    assert [event.sequence for event in read_journal(tmp_path)] == [1, 2]


def started_with(line: bytes, events_fd: int = 1) -> int:
    reader, writer = os.pipe()
    os.write(writer, line)
    os.close(writer)
    try:
        return job.main(reader, events_fd)
    finally:
        os.close(reader)


@pytest.mark.parametrize("line", [b"", b"nonsense\n", b'{"task_id":1}\n'])
def test_what_is_no_order_is_refused(line: bytes) -> None:
    assert started_with(line) == 2


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    line = msgspec.json.encode(order(tmp_path, "juggling")) + b"\n"
    assert started_with(line) == 2


def test_two_processes_never_work_on_one_attempt(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = msgspec.json.encode(order(tmp_path)) + b"\n"
        assert started_with(line) == 2


def test_without_the_descriptor_for_events_it_does_not_start(tmp_path: Path) -> None:
    line = msgspec.json.encode(order(tmp_path)) + b"\n"
    assert started_with(line, 987) == 2
