"""The shell of a job process, the same for every kind of job.

``main`` reads the order from stdin, takes the lock of the attempt's spool directory, and runs the kind's own coroutine
with a ``JobShell``: instructions in, events out. It keeps the promises of ``tasks.protocol``: an event is in the
journal before it is sent; a heartbeat goes out each second while the loop lives and the kind's own check says so; EOF
on stdin ends the job within ``CLOSE_WITHIN`` seconds. SIGTERM and SIGINT are ignored: they are sent to whole process
groups, and the worker says what it wants on stdin.
"""

import asyncio
import contextlib
import fcntl
import importlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path

import msgspec

from rtcloud.aio import spawn
from rtcloud.clock import Clock, SystemClock
from rtcloud.tasks.journal import Journal
from rtcloud.tasks.protocol import LOCK, AnyInstruction, AnyJobEvent, Heartbeat, Order

EVENTS_FD = 3
CLOSE_WITHIN = 5.0
#: events waiting for a pipe nobody empties; beyond this heartbeats are left out
MAX_WAITING = 100
#: until a journal that cannot be written is tried again
AGAIN_S = 1.0
MAX_LINE = 4 << 20
#: kind of order → "module:coroutine function", which gets the shell and returns the exit status
KINDS = {
    "recording": "rtcloud.egress.recording.job:run",
    "relay": "rtcloud.egress.publishing.job:run",
    "push": "rtcloud.ingest.push.job:run",
    "ingest": "rtcloud.ingest.pull.job:run",
}
#: what every kind loads later beside its own module
ENGINE = "rtcloud.client.native"

_log = logging.getLogger(__name__)
_instructions = msgspec.json.Decoder(AnyInstruction)


class Lines:
    """Lines of a descriptor. Not a buffered file: its lock, held by a thread that waits in it, would abort the
    interpreter's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def next(self) -> bytes | None:
        """The next line without its end; None at the end of the stream, and for what is longer than ``MAX_LINE``."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            data = os.read(self._descriptor, 1 << 16) if searched <= MAX_LINE else b""
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


class JobShell:
    """What a job's coroutine sees of the worker. ``report`` may be called from any thread, the rest on the loop."""

    def __init__(self, order: Order, stdin: Lines, events_fd: int, clock: Clock) -> None:
        self.order = order
        self.clock = clock
        self.directory = Path(order.spool)
        #: None is the end of stdin: the worker is gone
        self.instructions: asyncio.Queue[AnyInstruction | None] = asyncio.Queue()
        #: heartbeats stop while this says False
        self.is_healthy: Callable[[], bool] = lambda: True
        self._stdin = stdin
        self._events_fd = events_fd
        self._journal = Journal(self.directory)
        self._outbox: queue.SimpleQueue[AnyJobEvent | Future[None] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_events, name="job-events", daemon=True)
        self.gone = threading.Event()
        self._is_over = threading.Event()
        self._is_read = True  # the pipe; only the writer looks

    def report(self, event: AnyJobEvent) -> None:
        self._outbox.put(event)

    async def reported(self) -> None:
        """Returns when everything reported so far is in the journal: whoever reads it then finds it there."""
        written: Future[None] = Future()
        self._outbox.put(written)
        await asyncio.wrap_future(written)

    async def run(self, work: Callable[["JobShell"], Awaitable[int]]) -> int:
        loop = asyncio.get_running_loop()
        self._writer.start()
        threading.Thread(target=self._read_instructions, args=(loop,), name="job-stdin", daemon=True).start()
        beating = spawn(self._beat(), name="heartbeat")
        try:
            return await work(self)
        finally:
            beating.cancel()
            self._is_over.set()
            self._outbox.put(None)
            await asyncio.to_thread(self._writer.join, CLOSE_WITHIN)
            self._journal.close()

    async def _beat(self) -> None:
        while True:
            if self.is_healthy() and self._outbox.qsize() < MAX_WAITING:
                self.report(Heartbeat(at_ms=self.clock.now_ms()))
            await asyncio.sleep(1)

    def _read_instructions(self, loop: asyncio.AbstractEventLoop) -> None:
        while (line := self._stdin.next()) is not None:
            if not line.strip():
                continue
            try:
                instruction = _instructions.decode(line)
            except msgspec.DecodeError:
                _log.warning("instruction does not parse", extra={"size": len(line)})
                continue
            self._hand_over(loop, instruction)
        self.gone.set()
        self._hand_over(loop, None)

    def _hand_over(self, loop: asyncio.AbstractEventLoop, instruction: AnyInstruction | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it
            loop.call_soon_threadsafe(self.instructions.put_nowait, instruction)

    def _write_events(self) -> None:
        """Journals and sends. When nobody reads the pipe any more, the journal alone goes on."""
        while (event := self._outbox.get()) is not None:
            if isinstance(event, Future):
                if event.set_running_or_notify_cancel():
                    event.set_result(None)
            elif isinstance(event, Heartbeat):
                self._send_beat(event)
            elif (line := self._journaled(event)) is not None:
                self._send(line)

    def _journaled(self, event: AnyJobEvent) -> bytes | None:
        """On a full disk the job lives on, and waits with what it has to say; None when it ends before there is room:
        then the worker knows no more than of one that was killed."""
        is_told = False
        while True:
            try:
                return self._journal.append(event)
            except OSError as error:
                if not is_told:
                    _log.error("the journal cannot be written", extra={"reason": str(error)})
                is_told = True
            if self._is_over.wait(AGAIN_S):
                return None
            if self.is_healthy():
                self._send_beat(Heartbeat(at_ms=self.clock.now_ms()))

    def _send_beat(self, beat: Heartbeat) -> None:
        if not self.gone.is_set():
            self._send(msgspec.json.encode(beat) + b"\n")

    def _send(self, line: bytes) -> None:
        if self._is_read:
            try:
                _write_all(self._events_fd, line)
            except OSError:
                self._is_read = False


def main(stdin_fd: int = 0, events_fd: int = EVENTS_FD, clock: Clock | None = None, *, ready: bool = False) -> int:
    """The command ``rtcloud job``; the exit status: 0 done (or let go by the worker), 1 failed, 2 not startable.
    ``ready``: everything is loaded before the order comes, and none may ever come."""
    stdin = Lines(stdin_fd)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if ready:
        for module in (ENGINE, *(target.partition(":")[0] for target in KINDS.values())):
            importlib.import_module(module)
    line = stdin.next()
    if line is None and ready:
        return 0
    try:
        order = msgspec.json.decode(line or b"", type=Order)
    except msgspec.DecodeError as error:
        _log.error("order does not parse", extra={"reason": str(error)})
        return 2
    target = KINDS.get(order.kind)
    if target is None:
        _log.error("unknown kind of job", extra={"kind": order.kind})
        return 2
    directory = Path(order.spool)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _log.error("another process works on this attempt", extra={"spool": order.spool})
            return 2
        try:
            os.set_inheritable(events_fd, False)
        except OSError:
            _log.error("the descriptor for events is not open", extra={"descriptor": events_fd})
            return 2
        module, _, name = target.partition(":")
        work = getattr(importlib.import_module(module), name)
        shell = JobShell(order, stdin, events_fd, clock or SystemClock())
        threading.Thread(target=_exit_when_gone, args=(shell.gone,), name="job-limit", daemon=True).start()
        try:
            status = asyncio.run(shell.run(work))
        except Exception:
            _log.exception("job failed", extra={"task_id": order.task_id, "kind": order.kind})
            status = 1
    return int(status)


def _exit_when_gone(gone: threading.Event) -> None:
    """The worker may already have given the task to another: whatever still hangs here must not go on."""
    gone.wait()
    time.sleep(CLOSE_WITHIN)
    os._exit(1)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
