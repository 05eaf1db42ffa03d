"""Packets received by subscribers per CPU-second of the whole server process, and how late they come.

Real UDP on loopback, encrypted, the server's process on one core, the native client as load on another. Delay is from
the publisher's ``write`` to the subscriber's socket read, both ends' work included. Beside it, in the same run, a bare
loop (``crates/node/examples/bare.rs``) seals and sends the same packets to as many sockets: with a frame's packets for
one subscriber in one call (GSO), and each in its own. ``forward_sizes`` and ``forward_options`` measure more of it.
"""

import json
import os
import re
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
BARE_SECONDS = 2
#: The loop's cost is the system's and the cipher's: it need not be built as the product is.
CARGO = ("--quiet", "--locked", "--profile", "quick")


@dataclass(frozen=True)
class Case:
    """``uneven``: the packets of a picture differ by a byte, as browsers split theirs."""

    name: str
    kinds: tuple[str, ...]
    publishers: int
    subscribers: int  # 0: the publishers see and hear each other
    budget: float | None = None
    uneven: bool = False


@dataclass(frozen=True)
class Measured:
    per_second: float  # packets received per CPU-second
    share: float  # of a core
    load: float  # of the other core, by the clients
    delays_ms: dict[int, float]

    @property
    def rate(self) -> float:
        return self.per_second * self.share

    def __str__(self) -> str:
        return (
            f"{self.per_second:,.0f} packets per CPU-second, {self.share:.0%} of a core (load {self.load:.0%}); "
            f"delay p50 {self.delays_ms[50]:.1f}, p99 {self.delays_ms[99]:.1f} ms"
        )


CASES = (
    Case("720p → 100", ("video",), 1, 100, 250_000),
    Case("audio → 300", ("audio",), 1, 300, 150_000),
    Case("6 × 6 meeting", ("video", "audio"), 6, 0, 100_000),
)


def run() -> list[Figure]:
    figures: list[Figure] = []
    for case in CASES:
        measured = serve(case)
        whole, single = bare(case, gso=True), bare(case, gso=False)
        print(f"  {case.name}: {measured}; bare {whole:,.0f} with GSO, {single:,.0f} without", flush=True)
        figures += [
            Figure("forward", f"{case.name}, received", measured.per_second, "packets/CPU-s", case.budget, "at least"),
            Figure("forward", f"{case.name}, bare loop with GSO", whole, "packets/CPU-s"),
            Figure("forward", f"{case.name}, bare loop without", single, "packets/CPU-s"),
            Figure("forward", f"{case.name}, to the bare loop", measured.per_second / whole, "×"),
            *(Figure("forward", f"{case.name}, delay p{p}", ms, "ms") for p, ms in measured.delays_ms.items()),
        ]
    return figures + memory()


def serve(case: Case, *options: str, runs: int = RUNS, seconds: float = SECONDS) -> Measured:
    """Medians, on a server of its own with those options. All come at once, which would be refused as overload."""
    options = ("--media-cpu-limit", "0", *options)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data", *options) as server:
        return _load(case, server, runs, seconds)


def _load(case: Case, server: Server, runs: int, seconds: float) -> Measured:
    core = pin(server)
    # Those who only watch are an audience: a call has a limit.
    scene = "live" if case.subscribers else "rtc"
    roles = ["anchor"] * case.publishers + ["audience"] * case.subscribers
    tickets = [server.ticket(f"user{index}", 1, scene=scene, role=role) for index, role in enumerate(roles)]
    order = order_of(case, server.pid, tickets, runs, seconds)
    done = subprocess.run(
        [sys.executable, str(LOAD)],
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        timeout=60 + runs * seconds * 2,
        cwd=ROOT,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{case.name}: the load failed\n{done.stderr}\n{server.tail(10)}")
    found = json.loads(done.stdout)["runs"]

    def median(key: str) -> float:
        return float(statistics.median(each[key] for each in found))

    per_second = statistics.median(each["packets"] / each["server_cpu"] for each in found)
    delays_ms = {share: median(f"p{share}") / 1000 for share in (50, 95, 99)}
    return Measured(per_second, median("rate") / per_second, median("load_cpu"), delays_ms)


def pin(server: Server) -> int:
    """The server's process to one core; the other one is for who loads it."""
    cores = sorted(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cores[0]})
    return cores[-1]


def order_of(
    case: Case, pid: int, tickets: list[dict[str, str]], runs: int, seconds: float, *, held: bool = False
) -> dict[str, object]:
    """For ``LOAD``; the first of ``tickets`` publish."""
    return {
        "url": tickets[0]["url"],
        "tokens": [ticket["token"] for ticket in tickets],
        "kinds": case.kinds,
        "publishers": case.publishers,
        "meeting": case.subscribers == 0,
        "uneven": case.uneven,
        "pid": pid,
        "runs": runs,
        "seconds": seconds,
        "held": held,
    }


def bare(case: Case, *, gso: bool, runs: int = RUNS) -> float:
    """The median of the loop's packets per CPU-second. In a meeting a frame goes to all but who sent it."""
    cores = sorted(os.sched_getaffinity(0))
    videos, sounds = (case.publishers * (kind in case.kinds) for kind in ("video", "audio"))
    numbers = (case.subscribers or case.publishers - 1, BARE_SECONDS, videos, sounds, int(gso), cores[-1])
    command = ["cargo", "run", *CARGO, "--package", "rtcloud-node", "--example", "bare", "--", *map(str, numbers)]

    def once() -> float:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=ROOT,
            preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}),
        )
        return float(done.stdout.split()[0])

    return statistics.median(once() for _ in range(runs))


def memory() -> list[Figure]:
    """What the core allocates, counted by its own test."""
    command = ["cargo", "test", *CARGO, "--package", "rtcloud-sfu", "--test", "allocations", "--", "--nocapture"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout
    figures = []
    for what, per, unit, most in (
        ("allocations per forwarded packet", 1, "", 0.0),
        ("bytes per subscriber", 1024, "KiB", 150.0),
    ):
        found = re.search(rf"^([\d.]+) {what}$", said, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"the test said nothing of {what}")
        figures.append(Figure("forward", what.replace("bytes", "memory"), float(found[1]) / per, unit, most))
    return figures
