"""A server and its workers in processes of their own on one data directory, and somebody who kills them."""

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.deaths import Death
from tests.kit.receiver import Receiver
from tests.kit.server import Server
from tests.kit.slowness import Slowness
from tests.kit.workers import Worker, holder, job_of, marked

MARK = "RTCLOUD_TEST_SITE"
#: of a server, on a machine that has much else to do
READY_S = 60.0


class Site:
    """One data directory with a server and ``workers`` beside it; without them the server is the worker, too."""

    def __init__(self, directory: Path, workers: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._mark = str(directory)
        environment = {MARK: self._mark}
        self.data = directory / "data"
        roles = ("--roles", "api,signal,media,sender") if workers else ()
        self.server = Server(self.data, *roles, environment=environment)
        self.workers = [Worker(self.data, f"worker-{number}", environment) for number in range(workers)]
        self.receiver = Receiver()
        self.slowness = Slowness()

    @contextlib.contextmanager
    def open(self) -> Iterator["Site"]:
        with self.receiver, self.slowness:
            try:
                self.server.start(within=READY_S)
                for worker in self.workers:
                    worker.start()
                self.server.set_callbacks(self.receiver.url, self.receiver.key)
                yield self
            finally:
                for worker in self.workers:
                    worker.stop()
                if self.server.alive:
                    self.server.stop()

    def has_to_tell(self) -> bool:
        """Whether a callback still waits."""
        with contextlib.closing(sqlite3.connect(self.data / "rtcloud.db")) as database:
            query = "select count(*) from callbacks where state = 'pending'"
            return bool(database.execute(query).fetchone()[0])

    def processes(self) -> list[int]:
        return marked(MARK, self._mark)

    def strike(self, death: Death, task_ids: list[str]) -> "Fallen":
        """Kill, and start again what died but for the jobs."""
        jobs = [pid for task_id in task_ids if death.ends_job and (pid := job_of(self.data, task_id))]
        doomed: list[Worker] = []
        if death.ends_worker:
            holders = {holder(self.data, task_id) for task_id in task_ids}
            doomed = [worker for worker in self.workers if worker.pid in holders] or self.workers[:1]
        others = [worker.pid for worker in self.workers if worker not in doomed]
        at = time.time()
        # One signal after the other, and nothing is waited for in between.
        for pid in [*(worker.pid for worker in doomed), *jobs, *([self.server.pid] if death.ends_server else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if death.victim == "drained" else signal.SIGKILL)
        for worker in doomed:
            worker.stop() if death.victim == "drained" else worker.kill()
        if death.ends_server:
            self.server.kill()
        time.sleep(death.back_s if doomed or death.ends_server else 0)
        if death.ends_server:
            self.server.start(within=READY_S)
        back = time.time() if death.ends_server else at
        for worker in doomed:
            worker.start()
        if doomed and len(doomed) == len(self.workers):
            back = time.time()
        return Fallen(death, at, back, others)


@dataclass
class Fallen:
    """A death that happened, and when (Unix seconds): from ``back`` on a worker and the server could go on."""

    death: Death
    at: float
    back: float
    others: list[int]  # the workers' processes that live on
    heirs: list[int | None] = field(default_factory=list)  # of each task the worker that went on with it
