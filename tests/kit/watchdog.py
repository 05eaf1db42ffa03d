"""A process of tests that stands still says where each of its threads is, and ends: then its test has failed, and the
run goes on without it. Without that one test that hangs takes the whole run with it.

pytest-timeout ends a test by raising in its main thread, once. That does not help where native code keeps the thread,
where the exception is caught, or where what it leaves behind keeps the test from being taken down: anyio waits for a
test that a time-out interrupted.
"""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: After the time-out of a test: to take down what it left.
GRACE_S = 120.0
#: Longer than any module that has the machine to itself.
TURN_S = 1_200.0
#: Of the process that hears from the others: by then one that waited for too long has ended.
SILENCE_S = 1_500.0
#: for the others to say where they are
LAST_WORDS_S = 5.0


class Watchdog:
    """The plugin of a process that runs tests. Its timer is a thread that needs no Python to go off."""

    def __init__(self, grace_s: float = GRACE_S, turn_s: float = TURN_S) -> None:
        self._grace_s = grace_s
        self._turn_s = turn_s
        self._stderr = os.dup(2)  # while a test runs, 2 is a file that dies with the process
        self._limit_s = turn_s
        faulthandler.register(signal.SIGUSR1, file=self._stderr)

    def waits(self) -> None:
        """For its turn, or for more tests, from now on."""
        self._arm(self._turn_s)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._arm(time_out(item) + self._grace_s)
        try:
            done: Any = yield
        finally:
            self.waits()
        return done

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        """pytest puts every such timer off at a failure; what comes then is where it is needed."""
        self._arm(self._limit_s)

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.unregister(signal.SIGUSR1)
        os.close(self._stderr)

    def _arm(self, seconds: float) -> None:
        self._limit_s = seconds
        faulthandler.dump_traceback_later(seconds, file=self._stderr, exit=True)


class Listener:
    """The plugin of the process that hears from those that run tests."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self._silence_s = silence_s
        self._heard = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def pytest_runtest_logreport(self) -> None:
        self._heard = time.monotonic()

    def pytest_unconfigure(self) -> None:
        self._over.set()

    def _listen(self) -> None:
        while not self._over.wait(max(0.1, self._heard + self._silence_s - time.monotonic())):
            if time.monotonic() >= self._heard + self._silence_s:
                try:
                    _end_others()
                finally:
                    os._exit(1)


def _end_others() -> None:
    """Not before the system has said what it knows of each, and each what it knows itself, if it can."""
    print(f"\nno test has ended for long\n{Path('/proc/locks').read_text()}", file=sys.__stderr__)
    pids = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    for pid in pids:
        with contextlib.suppress(OSError):  # it, or one of its threads, has just ended
            for thread in sorted(Path(f"/proc/{pid}/task").iterdir()):
                state = (thread / "stat").read_text().split(") ")[-1].split()[0]
                print(pid, thread.name, state, (thread / "wchan").read_text(), file=sys.__stderr__, flush=True)
            os.kill(pid, signal.SIGUSR1)
    time.sleep(LAST_WORDS_S)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def time_out(item: pytest.Item) -> float:
    """Of pytest-timeout, in seconds: the test's own, the command line's, or that of pyproject.toml."""
    marker = item.get_closest_marker("timeout")
    own = marker.args[0] if marker is not None else None
    return float(own or item.config.getoption("timeout") or item.config.getini("timeout"))
