"""A test in real time that failed while the machine had not the processor time for it has found nothing: it is repeated
once, alone on the machine, and what it then says counts.

That the machine was short is measured during the test. On a quiet one a failure counts at once, and so does everywhere
what is no matter of time: tests without real processes, and whatever fails as a test ends (a server that died, what was
left open). The bounds of the tests are the same both times. Nothing hides: each repeat is told at the end of the run,
with what it was for, and there are few of them.
"""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.kit import pressure
from tests.kit.pressure import Reading
from tests.kit.turns import Turns

REAL_TIME = ("e2e", "interop")
#: Of a test's time, in which somebody waited for a core. Alone on two quiet cores tests come to 0.0-0.2, with browsers
#: to 0.2-0.4; beside strangers with two busy loops for each core, or with builds, to 0.9-1.0.
SHORT = 0.3
#: of one process; who breaks so much has broken something
MOST_REPEATS = 5
#: Shorter ones start servers and browsers, which takes all cores anywhere.
LONG_SETUP_S = 5.0
#: Strangers, for whom no turns exist, may have gone by then.
CALM_WITHIN_S = 30.0
LOOK_S = 2.0
MOST_TOLD = 3_000
_TOLD = "repeated under pressure"


class Repeating:
    """The plugin; of each process of a run, its own."""

    def __init__(
        self,
        turns: Turns | None = None,
        read: Callable[[float], Reading] = pressure.read,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._turns = turns
        self._read = read
        self._now = now
        self._sleep = sleep
        self._left = MOST_REPEATS
        self._is_second = False
        self._module: Path | None = None
        self._share_before = 0.0  # while what the module's tests look at was made

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        if self._is_second or self._left == 0 or not _is_of_the_kind(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        if item.path != self._module:
            self._module, self._share_before = item.path, 0.0
        begin = self._read(self._now())
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        share = max(self._share_before, pressure.share_between(begin, self._read(self._now())))
        failed = next((report for report in reports if report.failed), None)
        if failed is not None and failed.when != "teardown" and reports[-1].passed and share >= SHORT:
            if (ended := _end_what_is_shared(item)) is None:
                self._repeat(item, nextitem, share, failed)
                return True
            reports.append(ended)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        """What it records for all tests of a module suffers when it is recorded, not when they look at it."""
        if fixturedef.scope == "function":
            return (yield)
        begin = self._read(self._now())
        try:
            return (yield)
        finally:
            end = self._read(self._now())
            if end.at - begin.at >= LONG_SETUP_S:
                self._share_before = max(self._share_before, pressure.share_between(begin, end))

    def _repeat(self, item: pytest.Item, nextitem: pytest.Item | None, share: float, failed: pytest.TestReport) -> None:
        self._left -= 1
        self._share_before = 0.0
        told = {"share": share, "when": failed.when, "text": failed.longreprtext[-MOST_TOLD:]}
        item.user_properties.append((_TOLD, told))
        item.config.hook.pytest_timeout_cancel_timer(item=item)  # the wait is no part of any test's time
        turn: AbstractContextManager[None] = self._turns.alone(item.path) if self._turns else nullcontext()
        with turn:
            self._wait_for_calm()
            self._is_second = True
            try:
                # Through all plugins once more, so that the time-out, too, counts anew.
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            finally:
                self._is_second = False

    def _wait_for_calm(self) -> None:
        begin = self._read(self._now())
        deadline = begin.at + CALM_WITHIN_S
        while begin.at < deadline:
            self._sleep(LOOK_S)
            end = self._read(self._now())
            if pressure.share_between(begin, end) < SHORT:
                return
            begin = end

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        reports = [each for some in terminalreporter.stats.values() for each in some]
        for report in reports:
            told: Any = dict(getattr(report, "user_properties", ())).get(_TOLD)
            if told is None or report.when != "teardown":
                continue
            terminalreporter.write_sep("_", f"repeated on a machine under pressure: {report.nodeid}")
            where = f"somebody waited for a core during {told['share']:.0%} of its time, when its {told['when']} failed"
            terminalreporter.write_line(f"{where}:\n{told['text']}")


def _is_of_the_kind(item: pytest.Item) -> bool:
    """Who stops at the first failure, or looks into it, wants it as it is."""
    option = item.config.option
    return not (option.maxfail or option.usepdb) and any(item.get_closest_marker(name) for name in REAL_TIME)


def _end_what_is_shared(item: pytest.Item) -> pytest.TestReport | None:
    """Fixtures of its module and of the run, too, are set up anew: they may be what suffered. A report if one of them
    has something to say, of which earlier tests may be the cause."""
    ending = pytest.CallInfo.from_call(lambda: item.session._setupstate.teardown_exact(None), when="teardown")
    return None if ending.excinfo is None else pytest.TestReport.from_item_and_call(item, ending)
