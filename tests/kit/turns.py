"""Modules of tests share the machine, or have it to themselves, among the processes of one test run.

Those that measure time, or load all cores, are marked ``alone``: no other module begins while one of them waits or
runs. A module keeps its turn from its first test to the end of its last, with whatever it has running meanwhile.
"""

import fcntl
import os
from pathlib import Path


class Turns:
    """Locks on files that every process of the run sees; a process that ends gives back what it holds."""

    def __init__(self) -> None:
        self._door = os.open(__file__, os.O_RDONLY)
        self._machine = os.open(Path(__file__).parent, os.O_RDONLY)
        self._holder: Path | None = None

    def take(self, module: Path, *, alone: bool) -> None:
        if module == self._holder:
            return
        fcntl.flock(self._door, fcntl.LOCK_EX)  # who waits for an empty machine lets nobody else in
        fcntl.flock(self._machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        self._holder = module

    def give_back(self) -> None:
        fcntl.flock(self._machine, fcntl.LOCK_UN)
        self._holder = None
