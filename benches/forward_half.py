"""How late packets come when the server has a third to a half of a core's work.

A crowd takes in what twenty cameras send, on the other core, and is late itself. So those who are measured are a
process of their own there, with real-time priority: the cameras, and one of their viewers, the last to join. Delay is
from the cameras' ``write`` to that viewer's socket read; the engine's hold (5 ms) is part of it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benches.figures import Figure
from benches.forward import LOAD, ROOT, RUNS, SECONDS, Case, order_of, pin
from tests.kit.server import Server

CAMERAS, VIEWERS = 20, 100
HOLD_MS, MOST_MS = 5.0, 5.0
PRIORITY = 10


def run() -> list[Figure]:
    case = Case(f"{CAMERAS} × 720p → 100", ("video",), CAMERAS, VIEWERS)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data", "--media-cpu-limit", "0") as server:
        found = measure(case, server)
    share, delays = (statistics.median(each["share"] for each in found), {})
    for p in (50, 95, 99):
        delays[p] = statistics.median(each[f"p{p}"] for each in found) / 1000
    print(f"  {case.name}: {share:.0%} of a core; delay p50 {delays[50]:.1f}, p99 {delays[99]:.1f} ms", flush=True)
    return [
        Figure("forward_half", f"{case.name}, share of a core", share, ""),
        Figure("forward_half", f"{case.name}, delay p50", delays[50], "ms"),
        Figure("forward_half", f"{case.name}, delay p99 with a hold of 5 ms", delays[99], "ms", MOST_MS + HOLD_MS),
    ]


def measure(case: Case, server: Server, runs: int = RUNS, seconds: float = SECONDS) -> list[dict[str, float]]:
    core = pin(server)

    def tickets(role: str, names: range) -> list[dict[str, str]]:
        return [server.ticket(f"{role}{number}", 1, scene="live", role=role) for number in names]

    crowd = tickets("audience", range(case.subscribers - 1))
    cameras = tickets("anchor", range(case.publishers)) + tickets(
        "audience", range(case.subscribers, case.subscribers + 1)
    )
    many = order_of(replace(case, publishers=0), server.pid, crowd, 0, seconds, held=True)
    few = order_of(case, server.pid, cameras, runs, seconds, held=True)
    with _load(many, core) as watching, _load(few, core, priority=PRIORITY) as sending:
        for process in (watching, sending):
            _next(process)
        _go_on(sending)
        found: list[dict[str, float]] = _next(sending)["runs"]
        _go_on(watching)
        _next(watching)
    return found


@contextmanager
def _load(order: dict[str, object], core: int, *, priority: int = 0) -> Iterator[subprocess.Popen[str]]:
    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        if priority:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))

    process = subprocess.Popen(
        [sys.executable, str(LOAD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=prepare,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()


def _next(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the load failed with {process.wait()}")
    said: dict[str, Any] = json.loads(line)
    return said


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
