"""What a large room costs the signalling: 200 people who come into one call at 50 a second, every fourth of whom
publishes, and 2,000 who watch a show without taking media. The crowd is in processes of its own, on the same machine.
"""

import os
import tempfile
from pathlib import Path

from benches.figures import Figure, percentile
from tests.kit.crowd import Account, Used
from tests.kit.gathering import hold, meeting, show
from tests.kit.server import Server

PEOPLE = int(os.environ.get("BENCH_PEOPLE", "200"))
WATCHERS = int(os.environ.get("BENCH_WATCHERS", "2000"))


def run() -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        held = hold(server, meeting(server, PEOPLE, PEOPLE // 4, 2.0))
        figures += _figures(f"call of {PEOPLE}", *held)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        coming, steady, accounts = hold(server, show(server, WATCHERS, 5.0))
        watchers = [each for each in accounts if each.user_id.startswith("watcher")]
        figures += _figures(f"show before {WATCHERS}", coming, steady, watchers)
    return figures


def _figures(name: str, coming: Used, steady: Used, accounts: list[Account]) -> list[Figure]:
    if any(each.faults for each in accounts):
        raise RuntimeError(f"{name}: {next(each.faults for each in accounts if each.faults)}")
    joined = percentile([each.joined_s * 1000 for each in accounts], 0.95)
    told = percentile([each.bytes / 1000 for each in accounts], 0.5)
    return [
        Figure("crowd", f"{name}, signalling while they come", coming.signalling * 100, "% of a core"),
        Figure("crowd", f"{name}, signalling then", steady.signalling * 100, "% of a core"),
        Figure("crowd", f"{name}, join p95", joined, "ms"),
        Figure("crowd", f"{name}, told to each", told, "KB"),
        Figure("crowd", f"{name}, the server", steady.mib, "MiB"),
    ]
