"""A test that stands still takes no run with it, and a run that is cut off has said what it knew."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.progress import Progress

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
INI = """[pytest]
addopts = --import-mode=importlib -p no:cacheprovider
timeout = 1
"""
CONFTEST = """
import itertools
from tests.kit.progress import Progress
from tests.kit.watchdog import Listener, Watchdog

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        config.watchdog = Watchdog(grace_s=1.5, turn_s=1.5)
        config.pluginmanager.register(config.watchdog)
    else:
        config.pluginmanager.register(Progress(itertools.count(step=7.5).__next__))
        config.pluginmanager.register(Listener(silence_s=8))
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run_one(text: str, *options: str) -> object:
        pytester.makeini(INI)
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(test_it="import pytest, threading\n" + text)
        return pytester.runpytest_subprocess(*options)

    return run_one  # type: ignore[return-value]


HANGS = {
    "taken-down": """
@pytest.fixture
def stubborn():
    yield
    {wait}

def test_hangs(stubborn):
    assert False
""",
    "time-out-caught": """
def test_hangs():
    try:
        {wait}
    except BaseException:
        {wait}
""",
    "its-turn": """
def test_hangs(request):
    request.config.watchdog.waits()
    try:
        {wait}
    except BaseException:
        {wait}
""",
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_a_test_that_hangs_fails_once_and_other_modules_run(run: Run, pytester: pytest.Pytester, hang: str) -> None:
    pytester.makepyfile(test_other="def test_goes_on():\n    pass\n")
    side_by_side = ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder", "--max-worker-restart=0"]
    result = run(hang.format(wait="threading.Event().wait()"), *side_by_side)
    result.assert_outcomes(failed=1 + hang.count("assert False"), passed=1)
    result.stdout.fnmatch_lines(["*crashed while running*test_it.py::test_hangs*"])
    result.stderr.fnmatch_lines(["Timeout (0:00:0*)!", "*in test_hangs*" if "yield" not in hang else "*in stubborn*"])


def test_who_hears_nothing_says_where_the_others_are(run: Run) -> None:
    stopped = "import os, signal\n\ndef test_stops():\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    result = run(stopped, "--numprocesses=1")
    assert result.ret == 1
    result.stderr.fnmatch_lines(["no test has ended for long", "* T do_signal_stop"])


def test_what_fails_or_takes_long_is_told_as_it_ends(run: Run) -> None:
    result = run("def test_one():\n    assert 1 == 2, 'so it is'\n\ndef test_two():\n    pass\n")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*0:07 * s test_it.py::test_one its call failed", "*so it is*", "*= FAILURES =*", "*so it is*"]
    )


class Terminal:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def ensure_newline(self) -> None:
        pass

    def write_line(self, line: str) -> None:
        self.lines.append(line)


class Session:
    """As much of pytest's as is looked at."""

    def __init__(self, terminal: Terminal) -> None:
        self.config = self.pluginmanager = self
        self.get_plugin = {"terminalreporter": terminal}.get


@pytest.mark.parametrize(("call_s", "told"), [(18.5, []), (19.5, ["  2:05   20 s test_it.py::test_it"])])
def test_a_test_is_slow_with_its_set_up_and_tear_down(call_s: float, told: list[str]) -> None:
    terminal, now = Terminal(), iter([0.0, 5.0, 130.0])
    progress = Progress(lambda: next(now))
    progress.pytest_sessionstart(Session(terminal))  # type: ignore[arg-type]
    for when, duration in (("setup", 0.25), ("call", call_s), ("teardown", 0.25)):
        report = pytest.TestReport("test_it.py::test_it", ("", 0, ""), {}, "passed", None, when, duration=duration)  # type: ignore[arg-type]
        progress.pytest_runtest_logreport(report)
    assert terminal.lines == told
