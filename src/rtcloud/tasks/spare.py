"""A job process that waits: it has loaded its codecs, which takes longer than all the rest of a start, and gets its
order when a task needs a job.

There is at most one. Its successor is loaded a moment after it was taken, when the job itself has begun; several
tasks at once start as many processes as ever. It knows nothing and holds nothing but its memory: it may die at any
time, and ends with its worker (the end of its stdin).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from rtcloud.tasks.process import JobProcess

#: the argument that says: load everything before the order is there
READY = "--ready"
#: seconds from the start, and from each use, to the next one: whoever begins needs the machine more
REST_S = 2.0
#: after one that ended by itself, or could not be started
AGAIN_S = 30.0

_log = logging.getLogger(__name__)


class Spare:
    """``take`` always gives a process; only while ``run`` runs it may be one that waited."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, rest_s: float = REST_S) -> None:
        self._command = command
        self._environment = environment
        self._rest_s = rest_s
        self._waiting: JobProcess | None = None
        self._left = asyncio.Event()  # of the one that waits: taken, or gone

    @property
    def pid(self) -> int | None:
        """Of the one that waits."""
        return None if self._waiting is None else self._waiting.pid

    async def take(self) -> JobProcess:
        job, self._waiting = self._waiting, None
        if job is not None:
            self._left.set()
            if not job.exited.done():
                return job
            job.close()
        return await JobProcess.start(self._command, self._environment)

    async def run(self) -> None:
        """Keeps one until it is cancelled."""
        pause = self._rest_s
        try:
            while True:
                await asyncio.sleep(pause)
                pause = await self._keep_one()
        finally:
            await self._end()

    async def _keep_one(self) -> float:
        """Until it was taken or is gone; how long to wait before the next."""
        left = self._left = asyncio.Event()
        try:
            job = self._waiting = await JobProcess.start([*self._command, READY], self._environment)
        except OSError:
            _log.warning("a job cannot be started ahead of its time", exc_info=True)
            return AGAIN_S
        job.exited.add_done_callback(lambda _: left.set())
        await left.wait()
        if self._waiting is not job:
            return self._rest_s
        _log.warning("a job that waited for its order ended", extra={"status": job.exited.result()})
        await self._end()
        return AGAIN_S

    async def _end(self) -> None:
        job, self._waiting = self._waiting, None
        if job is not None:
            job.kill()
            job.close()
            await job.wait()
