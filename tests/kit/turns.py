"""Modules of tests share the machine, or have it to themselves, among the processes of one test run.

Those that measure time, or load all cores, are marked ``alone``: no other module begins while one of them waits or
runs. A module keeps its turn from its first test to the end of its last, with whatever it has running meanwhile.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """Locks on two files that every process of the run sees; a process that ends gives back what it holds."""

    def __init__(
        self,
        door: Path = Path(__file__),
        machine: Path = Path(__file__).parent,
        waits: Callable[[], None] = lambda: None,
    ) -> None:
        self._waits = waits  # told that a wait begins; it may be long
        self._door = os.open(door, os.O_RDONLY)
        self._machine = os.open(machine, os.O_RDONLY)
        self._holder: Path | None = None
        self._is_alone = False

    def take(self, module: Path, *, alone: bool) -> None:
        if module == self._holder:
            return
        self._waits()
        fcntl.flock(self._door, fcntl.LOCK_EX)  # who waits for an empty machine lets nobody else in
        fcntl.flock(self._machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        self._holder, self._is_alone = module, alone

    def give_back(self) -> None:
        fcntl.flock(self._machine, fcntl.LOCK_UN)
        self._holder = None

    @contextmanager
    def alone(self, module: Path) -> Iterator[None]:
        """``module``, whose turn it is and which has nothing running, has the machine to itself for a while.

        It gives its turn back before it asks: two that asked while they shared would wait for each other.
        """
        if self._is_alone:
            yield
            return
        self.give_back()
        self.take(module, alone=True)
        try:
            yield
        finally:
            is_over = self._holder is None  # it gave its turn back meanwhile
            self.give_back()
            if not is_over:
                self.take(module, alone=False)
