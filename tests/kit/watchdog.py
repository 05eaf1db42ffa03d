"""A process of tests that stands still says where each of its threads is, and ends: then its test has failed, and
pytest-xdist goes on in another process. Without it one test that hangs takes the whole run with it.

pytest-timeout ends a test by raising in its main thread, once. That does not help where native code keeps the thread,
where the exception is caught, or where what it leaves behind keeps the test from being taken down.
"""

import faulthandler
import os
from collections.abc import Iterator
from typing import Any

import pytest

#: After the time-out of a test: to take down what it left.
GRACE_S = 120.0
#: Longer than any module that has the machine to itself.
TURN_S = 1_200.0
#: Of the process that hears from the others: a test ends somewhere, or a process that waited for too long.
SILENCE_S = 1_500.0


class Watchdog:
    """The plugin; of each process of a run, its own. Its timer is a thread that needs no Python to go off."""

    def __init__(self, *, hears: bool, grace_s: float = GRACE_S, turn_s: float = TURN_S) -> None:
        """``hears`` is whether the tests run elsewhere."""
        self._hears = hears
        self._grace_s = grace_s
        self._turn_s = turn_s
        self._stderr = os.dup(2)  # while a test runs, 2 is a file that dies with the process
        self._limit_s = turn_s

    def waits(self) -> None:
        """For its turn, from now on."""
        self._arm(self._turn_s)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self) -> None:
        if self._hears:
            self._arm(SILENCE_S)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._arm(time_out(item) + self._grace_s)
        try:
            done: Any = yield
        finally:
            faulthandler.cancel_dump_traceback_later()
        return done

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self) -> None:
        """pytest puts every such timer off at a failure; what comes then is where it is needed."""
        self._arm(self._limit_s)

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        os.close(self._stderr)

    def _arm(self, seconds: float) -> None:
        self._limit_s = seconds
        faulthandler.dump_traceback_later(seconds, file=self._stderr, exit=True)


def time_out(item: pytest.Item) -> float:
    """Of pytest-timeout, in seconds: the test's own, the command line's, or that of pyproject.toml."""
    marker = item.get_closest_marker("timeout")
    own = marker.args[0] if marker is not None else None
    return float(own or item.config.getoption("timeout") or item.config.getini("timeout"))
