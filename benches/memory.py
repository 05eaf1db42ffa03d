"""Resident memory of an idle server, a few seconds after its start."""

import tempfile
import time
from pathlib import Path

from benches.figures import Figure
from tests.kit.server import Server, resident_mib

BUDGET_MIB = 200.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        time.sleep(3)
        resident = resident_mib(server.pid)
    return [Figure("memory", "serve, idle", resident, "MiB", BUDGET_MIB)]
