"""Memory of an idle server a few seconds after its start: its own process, and all of them together."""

import tempfile
import time
from pathlib import Path

from benches.figures import Figure
from tests.kit.server import Server, children, pss_mib, resident_mib

BUDGET_MIB = 200.0
#: the job that waits for its order has loaded everything by then
SETTLE_S = 6.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        time.sleep(SETTLE_S)
        resident = resident_mib(server.pid)
        together = sum(pss_mib(pid) for pid in (server.pid, *children(server.pid)))
    return [
        Figure("memory", "serve, idle", resident, "MiB", BUDGET_MIB),
        Figure("memory", "serve, idle, with the job that waits", together, "MiB", BUDGET_MIB),
    ]
