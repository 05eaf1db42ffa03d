"""The whole recorder job for the benchmark of single streams: everybody sends into a real room."""

import statistics
import tempfile
import time
from pathlib import Path

from tests.kit.acts import Act
from tests.kit.cloud import Cloud
from tests.kit.server import Server, cpu_seconds
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

ROOM = 3561
SETTLE_S, WINDOW_S = 8.0, 6.0


def job_core(people: int, windows: int, act: Act, merged: int) -> tuple[float, float]:
    """CPU seconds of the job process per second of recording, the median of ``windows``; and of the server that
    forwards to it."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server, Stage(server) as stage:
        stage.enter_all(ROOM, {f"person{number:02}": act for number in range(people)})
        cloud = Cloud(server)
        task_id = cloud.start_recording(ROOM, output_format=0, RecordMode=1, AvMerge=merged)
        spool = server.data / "spool" / task_id / "0"
        files = people * (1 if merged else 2)
        wait_until(lambda: len([*spool.glob("*.ts")]) >= files, f"{files} files", within=60)
        time.sleep(SETTLE_S)
        (pid,) = server.jobs().values()
        shares = []
        for _ in range(windows):
            cpu, began = [cpu_seconds(each) for each in (pid, server.pid)], time.monotonic()
            time.sleep(WINDOW_S)
            spent = time.monotonic() - began
            shares.append(
                [(cpu_seconds(each) - before) / spent for each, before in zip((pid, server.pid), cpu, strict=True)]
            )
        cloud.stop_recording(task_id)
        wait_until(lambda: not server.jobs(), "the job ends", within=60)
    job, forwarding = (statistics.median(each) for each in zip(*shares, strict=True))
    return job, forwarding
