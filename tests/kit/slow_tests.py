"""Tests that take long are told as they end, with the time since the run began: so a run that is cut off, or that only
elsewhere takes long, says in its own log where its time went."""

import time
from collections import defaultdict
from collections.abc import Callable

import pytest

#: Set-up and tear-down included.
LONG_S = 20.0


class SlowTests:
    """A plugin of the process that prints."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begin = now()
        self._taken: defaultdict[str, float] = defaultdict(float)
        self._terminal: pytest.TerminalReporter | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._begin = self._now()
        self._terminal = session.config.pluginmanager.get_plugin("terminalreporter")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._taken[report.nodeid] += report.duration
        if report.when != "teardown":
            return
        taken = self._taken.pop(report.nodeid)
        if taken >= LONG_S and self._terminal is not None:
            minutes, seconds = divmod(int(self._now() - self._begin), 60)
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{minutes:3}:{seconds:02} {taken:4.0f} s {report.nodeid}")
