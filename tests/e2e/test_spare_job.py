"""The process that waits for the next task's order: it is taken, replaced, and never in the way."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rtcloud.tasks.spare import READY, Spare
from tests.kit.server import Server, children, end_by_signal, pss_mib
from tests.kit.waiting import eventually, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

#: says how it was called, then each line that it is told
ECHO = """
import os, sys
os.write(3, (" ".join(sys.argv[1:]) + "\\n").encode())
for line in sys.stdin:
    os.write(3, line.encode())
"""
IDLE_MIB = 200.0


@contextlib.asynccontextmanager
async def running(spare: Spare) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(spare.run())
        try:
            yield
        finally:
            keeping.cancel()


async def waiting(spare: Spare) -> int:
    async def pid() -> int | None:
        return spare.pid

    found = await eventually(pid, "a job waits")
    assert found is not None
    return found


def echo() -> Spare:
    return Spare((sys.executable, "-c", ECHO), os.environ, rest_s=0.05)


async def test_the_one_that_waits_is_taken_and_another_waits_after_it() -> None:
    spare = echo()
    async with running(spare):
        first = await waiting(spare)
        job, beside = await spare.take(), await spare.take()
        assert job.pid == first
        assert (await job.read_line(), await beside.read_line()) == (f"{READY}\n".encode(), b"\n")
        job.send(b"an order\n")
        assert await job.read_line() == b"an order\n"
        assert await waiting(spare) not in (first, beside.pid)
        for each in (job, beside):
            each.end_instructions()
            assert await each.wait() == 0
            each.close()
        assert spare.pid is not None
        last = spare.pid
    assert not Path(f"/proc/{last}").exists()


async def test_one_that_died_while_it_waited_is_given_to_nobody() -> None:
    spare = echo()
    async with running(spare):
        dead = await waiting(spare)
        os.kill(dead, signal.SIGKILL)
        job = await spare.take()
        job.send(b"an order\n")
        job.end_instructions()
        said = [await job.read_line(), await job.read_line()]
        assert said[1:] == [b"an order\n"] or job.pid == dead  # its death may not be known yet: its task tries again
        await job.wait()
        job.close()


def test_an_idle_server_keeps_one_small_process_that_goes_with_it(tmp_path: Path) -> None:
    def spare() -> list[int]:
        return children(server.pid)

    with Server(tmp_path / "data") as server:
        (pid,) = wait_until(spare, "a job waits", within=15)
        wait_until(lambda: "_native" in Path(f"/proc/{pid}/maps").read_text(), "it has loaded the engine", within=15)
        assert server.jobs() == {}
        assert sum(pss_mib(each) for each in (server.pid, pid)) <= IDLE_MIB
        end_by_signal(server.pid)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it goes when the server was killed")
        server.kill()
        server.start()
        (pid,) = wait_until(spare, "a job waits again", within=15)
        assert server.stop() == 0
        assert not Path(f"/proc/{pid}").exists()
