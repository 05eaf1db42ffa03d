"""One job process: started in a session of its own with pipes on 0 and 3, watched, killed with its whole group.

``posix_spawn`` puts descriptors exactly where the protocol wants them and runs no Python between fork and exec, so it
is safe beside the threads of the engine. What the job sends is read line by line within a bound; what it does not read
of its stdin is kept within another.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence

from rtcloud.tasks.protocol import LINE_BYTES

UNREAD_BYTES = 8 << 20  # of stdin that the job has not taken: an order is at most a few hundred KiB
_EVENTS_FD = 3
_ABOVE = 10  # our own copies of descriptors lie above those that the child is given


class JobProtocolError(Exception):
    """The job said something that the protocol does not know, or does not listen."""


class JobProcess:
    def __init__(self, pid: int, reader: asyncio.StreamReader) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._events: asyncio.BaseTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> "JobProcess":
        with contextlib.ExitStack() as ours:
            stdin_read, stdin_write = _pipe(ours)
            events_read, events_write = _pipe(ours)
            pid = os.posix_spawn(  # noqa: ASYNC221 returns as soon as the program is loaded
                command[0],
                list(command),
                dict(environment),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin_read, 0),
                    (os.POSIX_SPAWN_DUP2, 2, 1),  # logs, both of them
                    (os.POSIX_SPAWN_DUP2, 2, 2),
                    (os.POSIX_SPAWN_DUP2, events_write, _EVENTS_FD),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
            )
            reader = asyncio.StreamReader(limit=LINE_BYTES)
            job = cls(pid, reader)
            loop = asyncio.get_running_loop()
            try:
                events = open(os.dup(events_read), "rb", buffering=0)  # noqa: SIM115, ASYNC230 the transport closes it
                job._events, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), events)
                stdin = open(os.dup(stdin_write), "wb", buffering=0)  # noqa: SIM115, ASYNC230 as above
                job._stdin, _ = await loop.connect_write_pipe(asyncio.Protocol, stdin)
            except BaseException:
                job.kill()
                job.close()
                raise
        return job

    async def read_line(self) -> bytes | None:
        """The next line with its end; None at the end of the stream (a torn last line is dropped)."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError as error:
            raise JobProtocolError("a line is too long") from error

    def send(self, line: bytes) -> None:
        if self._stdin is None or self._stdin.is_closing():
            return
        self._stdin.write(line)
        if self._stdin.get_write_buffer_size() > UNREAD_BYTES:
            raise JobProtocolError("the job does not read its instructions")

    def end_instructions(self) -> None:
        """EOF on its stdin: the job is let go."""
        if self._stdin is not None:
            self._stdin.close()

    def kill(self) -> None:
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give up the pipes; the process, if it still lives, sees their end."""
        for transport in (self._stdin, self._events):
            if transport is not None:
                transport.close()

    async def wait(self) -> int:
        """Exit status, negative for a signal."""
        return await asyncio.shield(self.exited)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        try:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # somebody else reaped it
            status = -1
        if not self.exited.done():
            self.exited.set_result(status)


def _pipe(closing: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends lie above the descriptors of the child; closed with ``closing``."""
    ends = os.pipe()
    try:
        high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    for end in high:
        closing.callback(os.close, end)
    return high[0], high[1]
