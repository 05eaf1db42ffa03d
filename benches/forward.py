"""Packets received by subscribers per CPU-second of the whole server process, and how late they come.

Real UDP on loopback, encrypted, the native client as load on another core. Delay is from the publisher's ``write`` to
the subscriber's socket read, both ends' work included.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benches.figures import Figure
from tests.kit.server import Server

LOAD = Path(__file__).with_name("_forward_load.py")
ROOT = Path(__file__).parent.parent
RUNS = 5
SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))


@dataclass(frozen=True)
class Case:
    name: str
    kinds: tuple[str, ...]
    publishers: int
    subscribers: int
    budget: float | None


CASES = (
    Case("720p → 50", ("video",), 1, 50, None),
    Case("720p → 100", ("video",), 1, 100, 250_000),
    Case("audio → 300", ("audio",), 1, 300, 150_000),
    Case("6 × 6 meeting", ("video", "audio"), 6, 0, 100_000),
)


def run() -> list[Figure]:
    figures: list[Figure] = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
            figures += measure(case, server)
    return figures


def measure(case: Case, server: Server) -> list[Figure]:
    cores = sorted(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cores[0]})
    tickets = [server.ticket(f"user{index}", 1) for index in range(case.publishers + case.subscribers)]
    order = {
        "url": tickets[0]["url"],
        "tokens": [ticket["token"] for ticket in tickets],
        "kinds": case.kinds,
        "publishers": case.publishers,
        "meeting": case.subscribers == 0,
        "pid": server.pid,
        "runs": RUNS,
        "seconds": SECONDS,
    }
    done = subprocess.run(
        [sys.executable, str(LOAD)],
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        timeout=60 + RUNS * SECONDS * 2,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{case.name}: the load failed\n{done.stderr}\n{server.tail(10)}")
    runs = json.loads(done.stdout)["runs"]

    def median(key: str) -> float:
        return statistics.median(run[key] for run in runs)

    per_second = statistics.median(run["packets"] / run["server_cpu"] for run in runs)
    print(
        f"  {case.name}: {per_second:,.0f} packets per CPU-second at {median('rate'):,.0f}/s "
        f"({median('rate') / per_second:.0%} of a core; load {median('load_cpu'):.0%})",
        flush=True,
    )
    return [
        Figure("forward", f"{case.name}, received", per_second, "packets/CPU-s", case.budget, "at least"),
        *[
            Figure("forward", f"{case.name}, delay p{share}", median(f"p{share}") / 1000, "ms")
            for share in (50, 95, 99)
        ],
    ]
