"""What every part of a worker uses: its name, the services under it, its patience and its figures."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rtcloud.clock import Clock
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database
from rtcloud.store.objects import safe_segment
from rtcloud.store.sealing import Sealer
from rtcloud.store.space import Space
from rtcloud.tasks.kinds import TaskKind
from rtcloud.tasks.process import JobProcess
from rtcloud.tasks.task import Identity


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    silence: float = 5.0  # without a line: the job is killed
    first_line: float = 15.0  # a job that starts has to load its codecs first
    exit: float = 5.0  # from the end of its events to the end of the process
    closing: float = 10.0  # from EOF on its stdin
    orphan: float = 6.0  # for the job of a dead worker, which saw EOF when that died
    token: float = 240.0  # between two robot tokens
    steady: float = 60.0  # a job that ran so long did well
    again: float = 1.0  # after an unexpected failure of ours


#: kinds of notes that are counted: jobs know few
NOTES = 64


@dataclass(slots=True)
class Counters:
    """For /metrics."""

    jobs_started: int = 0
    jobs_restarted: int = 0
    jobs_killed_silent: int = 0
    jobs_killed_broken: int = 0
    running: int = 0  # goes up and down
    noted: Counter[str] = field(default_factory=Counter)  # by ``Noted.code``

    def note(self, code: str) -> None:
        if code in self.noted or len(self.noted) < NOTES:
            self.noted[code] += 1


@dataclass(frozen=True, slots=True)
class WorkerContext:
    worker: str
    database: Database
    sealer: Sealer
    bus: Bus
    clock: Clock
    kinds: Mapping[str, TaskKind]
    spool: Path
    start_job: Callable[[], Awaitable[JobProcess]]
    make_robot_token: Callable[[Identity], str]
    timing: Timing = field(default_factory=Timing)
    counters: Counters = field(default_factory=Counters)
    images: str = ""  # directory of checked pictures
    allow_private: bool = False  # what jobs push to may be in private networks
    space: Space | None = None  # of the spool's disk; None: there is always room
    capacity: int = 0  # thousandths of this machine's cores that tasks may plan to use; 0: no limit

    def directory(self, task_id: str) -> Path:
        return self.spool / safe_segment(task_id)
