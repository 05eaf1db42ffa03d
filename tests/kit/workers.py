"""Workers in processes of their own beside a server: on its data directory, started, killed, and found again."""

import contextlib
import os
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Self

from tests.kit.server import COMMAND, READY


class Worker:
    """``with Worker(data, name) as worker:``. Its log is ``data/../<name>.log``, all runs one after the other."""

    def __init__(self, data: Path, name: str, environment: dict[str, str] | None = None) -> None:
        self.data = data
        self.log = data.parent / f"{name}.log"
        self._environment = environment or {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns once the ready line was printed."""
        assert not self.alive, "runs already"
        command = [str(COMMAND), "serve", "--roles", "worker", "--data", str(self.data), "--allow-private"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(READY), self.log.read_text(errors="replace")[-4000:]

    def kill(self) -> None:
        """SIGKILL to the worker only: its jobs see the end of their stdin."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: tasks are handed over."""
        if self.alive:
            self._end(signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process is not None, "was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        assert process is not None
        process.send_signal(number)
        try:
            process.wait(20)
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()


def holder(data: Path, task_id: str) -> int | None:
    """The process of the worker that has the task."""
    with contextlib.closing(sqlite3.connect(data / "rtcloud.db")) as database:
        query = "select pid from workers join tasks on tasks.worker = workers.id where task_id = ?"
        found = database.execute(query, (task_id,)).fetchone()
    return None if found is None else int(found[0])


def job_of(data: Path, task_id: str) -> int | None:
    """The process of the task's last attempt, if it lives."""
    for attempt in sorted((data / "spool" / task_id).glob("*/job.pid"), key=lambda path: -int(path.parent.name)):
        with contextlib.suppress(OSError, IndexError, ValueError):  # it is just being written
            pid = int(attempt.read_text().split()[0])
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            return None if state == "Z" else pid
        return None
    return None


def marked(variable: str, value: str) -> list[int]:
    """Every process that was started with this in its environment, or by one that was."""
    entry = f"{variable}={value}".encode()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if entry in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
    return found
