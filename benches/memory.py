"""Resident memory of an idle server, a few seconds after its start."""

import tempfile
import time
from pathlib import Path

from benches.figures import Figure
from tests.kit.server import Server

BUDGET_MIB = 200.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        time.sleep(3)
        status = Path(f"/proc/{server.pid}/status").read_text()
    kib = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return [Figure("memory", "serve, idle", kib / 1024, "MiB", BUDGET_MIB)]
