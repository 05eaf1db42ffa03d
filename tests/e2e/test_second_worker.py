"""Workers in processes of their own on one data directory: when one dies, the other goes on with its recording."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import probes
from tests.kit.browser import RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Receiver
from tests.kit.robot import robot
from tests.kit.server import COMMAND, READY, Server

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 4201
TAKEN_OVER_S = 15.0


@contextlib.contextmanager
def worker(data: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    with (data.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(COMMAND), "serve", "--roles", "worker", "--data", str(data)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(READY)
        yield process
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def holder(data: Path, task_id: str) -> int:
    """The process of the worker that has the task."""
    with contextlib.closing(sqlite3.connect(data / "rtcloud.db")) as database:
        query = "select pid from workers join tasks on tasks.worker = workers.id where task_id = ?"
        (pid,) = database.execute(query, (task_id,)).fetchone()
    return int(pid)


async def test_another_worker_goes_on_with_the_recording_of_a_killed_one(tmp_path: Path, receiver: Receiver) -> None:
    data = tmp_path / "data"
    with (
        Server(data, "--roles", "api,signal,media,sender") as server,
        worker(data, "one") as one,
        worker(data, "two") as two,
    ):
        server.set_callbacks(receiver.url, receiver.key)
        cloud = Cloud(server)
        async with robot(**server.ticket("alice", ROOM)) as alice:
            await alice.publish(RED, 440)
            task_id = await asyncio.to_thread(cloud.start_recording, ROOM, width=640, height=360)
            await receiver.expect(304, within=40)
            first = holder(data, task_id)
            assert first in (one.pid, two.pid)
            os.kill(first, signal.SIGKILL)
            moved = await receiver.expect(306, within=TAKEN_OVER_S)
            assert moved.info["TaskId"] == task_id
            assert holder(data, task_id) == one.pid + two.pid - first
            await asyncio.to_thread(cloud.stop_recording, task_id)
            await receiver.expect(310, within=40)
    folder = data / "files/recordings/calls" / task_id
    assert probes.decode_all(next(folder.glob("*.mp4"))) == ""
    assert receiver.types().count(302) == 1
