"""What a run that is cut off must have said before: which tests took long, with the time since the run began, and what
failed. The end of the run, which says it in order, may never come."""

import time
from collections import defaultdict
from collections.abc import Callable

import pytest

#: Set-up and tear-down included.
LONG_S = 20.0
MOST_TOLD = 4_000


class Progress:
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
        if report.failed:
            self._tell(f"its {report.when} failed", report)
            if self._terminal is not None:
                self._terminal.write_line(report.longreprtext[-MOST_TOLD:])
        elif report.when == "teardown" and self._taken[report.nodeid] >= LONG_S:
            self._tell("", report)
        if report.when not in ("setup", "call"):  # a process that died has no "when"
            del self._taken[report.nodeid]

    def _tell(self, what: str, report: pytest.TestReport) -> None:
        if self._terminal is None:
            return
        minutes, seconds = divmod(int(self._now() - self._begin), 60)
        self._terminal.ensure_newline()
        line = f"{minutes:3}:{seconds:02} {self._taken[report.nodeid]:4.0f} s {report.nodeid} {what}"
        self._terminal.write_line(line.rstrip())
