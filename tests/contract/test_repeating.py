"""What is repeated, what the run tells of it, and that processes which repeat at once do not wait for each other."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit import repeating
from tests.kit.pressure import Reading, read, share_between
from tests.kit.turns import Turns
from tests.kit.waiting import wait_until

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
INI = """[pytest]
addopts = --import-mode=importlib -p no:cacheprovider
markers = e2e
  interop
"""
#: A machine on which somebody waits all the time, or nobody; while the plugin sleeps it is calm at once, or never.
CONFTEST = """
from pathlib import Path
from tests.kit.pressure import Reading
from tests.kit.repeating import Repeating
from tests.kit.turns import Turns

SHARE, CALM, HERE = {share}, {calm}, Path(__file__)

class FakeMachine:
    now = 0.0
    waited = 0.0

    def read(self, now):
        FakeMachine.now += 1
        FakeMachine.waited += SHARE
        return Reading(self.now, 2, 0.0, 0.0, self.waited)

    def record(self, seconds, share):
        FakeMachine.now += seconds
        FakeMachine.waited += seconds * share

    def sleep(self, seconds):
        FakeMachine.now += seconds
        FakeMachine.waited += 0 if CALM else seconds
        with HERE.with_name("slept").open("a") as log:
            log.write("slept\\n")

def pytest_configure(config):
    machine = FakeMachine()
    door, room = HERE, HERE.with_name("machine")
    room.touch()
    turns = Turns(door, room) if {turns} else None
    config.machine = machine
    config.pluginmanager.register(Repeating(turns, machine.read, sleep=machine.sleep))
"""
#: ``times(name)``: how often it was called in the run.
COUNTING = """
from pathlib import Path
import pytest

def times(name):
    path = Path(__file__).with_name(name)
    count = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(count))
    return count
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Of a file of tests, on a machine with that pressure."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run_one(text: str, *options: str, share: float = 0.9, calm: bool = True, turns: bool = False) -> object:
        pytester.makeini(INI)
        pytester.makeconftest(CONFTEST.format(share=share, calm=calm, turns=turns))
        pytester.makepyfile(test_it=COUNTING + text)
        return pytester.runpytest_subprocess(*options)  # apart: it has signals, warnings and processes of its own

    return run_one  # type: ignore[return-value]


FAILS_ONCE = """
@pytest.mark.e2e
def test_it():
    assert times("it") == 2, "too late by 72 ms"
"""


def test_what_failed_under_pressure_is_repeated_once_and_told(run: Run) -> None:
    result = run(FAILS_ONCE)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*repeated on a machine under pressure: test_it.py::test_it*",
            "somebody waited for a core during 90% of its time, when its call failed:",
            "*too late by 72 ms*",
        ]
    )


@pytest.mark.parametrize("options", [("--maxfail=1",), ()])
def test_a_test_that_fails_twice_has_failed(run: Run, options: tuple[str, ...]) -> None:
    result = run(FAILS_ONCE.replace("== 2", "> 2"), *options)
    result.assert_outcomes(failed=1)
    assert ("repeated on a machine" in result.stdout.str()) is not bool(options)


def test_on_a_quiet_machine_a_failure_counts_at_once(run: Run) -> None:
    result = run(FAILS_ONCE, share=repeating.SHORT - 0.01)
    result.assert_outcomes(failed=1)
    assert "repeated on a machine" not in result.stdout.str()


def test_what_is_no_matter_of_time_is_not_repeated(run: Run) -> None:
    run(FAILS_ONCE.replace("@pytest.mark.e2e", "")).assert_outcomes(failed=1)


def test_what_fails_at_its_end_is_not_repeated(run: Run) -> None:
    text = """
@pytest.fixture(scope="{}")
def server():
    yield
    assert times("end") > 1, "the server died"

@pytest.mark.e2e
@pytest.mark.parametrize("number", [1, 2])
def test_it(server, number):
    assert times("it") == {}
"""
    run(text.format("function", 1), "-k", "1").assert_outcomes(passed=1, errors=1)


def test_what_a_shared_fixture_says_at_its_end_counts(run: Run) -> None:
    result = run(
        """
@pytest.fixture(scope="module")
def server():
    yield
    assert times("end") > 1, "the server died"

@pytest.mark.e2e
@pytest.mark.parametrize("number", [1, 2])
def test_it(server, number):
    assert times("it") > 1
"""
    )
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*the server died*"])


def test_only_the_instance_that_failed_is_repeated_and_on_fixtures_set_up_anew(run: Run) -> None:
    result = run(
        """
@pytest.fixture(scope="session")
def page():
    return times("page")

@pytest.fixture(scope="module", params=["a", "b"])
def server(page):
    yield times("server")
    times("ended")

@pytest.mark.e2e
@pytest.mark.parametrize("number", [1, 2, 3])
def test_it(server, number, tmp_path):
    assert (server, number) != (1, 2), "slow"

def test_all():
    counted = [int(Path(__file__).with_name(name).read_text()) for name in ("page", "server", "ended")]
    assert counted == [2, 3, 2]  # the last one's end is to come
"""
    )
    result.assert_outcomes(passed=7)
    assert result.stdout.str().count("repeated on a machine") == 1
    result.stdout.fnmatch_lines(["*repeated on a machine under pressure: test_it.py::test_it?a-2?*"])


def test_a_shared_fixture_that_failed_is_set_up_anew(run: Run) -> None:
    result = run(
        """
@pytest.fixture(scope="module")
def server():
    assert times("server") > 1, "not up in time"

@pytest.mark.interop
@pytest.mark.parametrize("number", [1, 2])
def test_it(server, number): ...
"""
    )
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("repeated on a machine") == 1
    result.stdout.fnmatch_lines(["*when its setup failed:", "*not up in time*"])


@pytest.mark.parametrize(("seconds", "share", "failed"), [(20, 0.9, 0), (20, 0.2, 1), (1, 0.9, 1)])
def test_what_was_recorded_under_pressure_is_recorded_anew(run: Run, seconds: int, share: float, failed: int) -> None:
    """By a fixture of the module, while the tests that look at it have all the machine."""
    result = run(
        f"""
@pytest.fixture(scope="module")
def recording(request):
    request.config.machine.record({seconds}, {share})
    return times("recorded")

@pytest.mark.e2e
def test_first(recording): ...

@pytest.mark.e2e
def test_last(recording):
    assert recording == 2, "a hole of 2 s"
""",
        share=0.0,
    )
    result.assert_outcomes(passed=2 - failed, failed=failed)


def test_after_some_repeats_failures_count_at_once(run: Run) -> None:
    many = repeating.MOST_REPEATS + 2
    result = run(
        f"""
@pytest.mark.e2e
@pytest.mark.parametrize("number", range({many}))
def test_it(number):
    assert times(str(number)) == 2
"""
    )
    result.assert_outcomes(passed=repeating.MOST_REPEATS, failed=2)


def test_the_repeat_waits_for_calm_but_not_for_ever(run: Run, pytester: pytest.Pytester) -> None:
    run(FAILS_ONCE, calm=True, share=repeating.SHORT + 0.01).assert_outcomes(passed=1)
    assert (pytester.path / "slept").read_text().count("slept") == 1
    (pytester.path / "it").unlink()
    run(FAILS_ONCE, calm=False).assert_outcomes(passed=1)
    assert (pytester.path / "slept").read_text().count("slept") > 5


def test_the_time_out_counts_anew(run: Run) -> None:
    text = """
import time

@pytest.mark.interop
def test_it():
    time.sleep(60 if times("it") == 1 else 1.2)
"""
    result = run(text, "--timeout=2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*Timeout*2.0s*"])


def test_a_repeat_in_one_of_several_processes_is_told(run: Run) -> None:
    result = run(FAILS_ONCE + "\ndef test_other(): ...", "-n", "2", turns=True)
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("repeated on a machine under pressure: test_it.py::test_it") == 1


def test_who_gets_the_machine_gives_back_its_share_first(tmp_path: Path) -> None:
    door, machine = tmp_path / "door", tmp_path / "machine"
    door.touch()
    machine.touch()
    sharing = threading.Barrier(3)
    inside: list[int] = []
    done: list[int] = []

    def play(number: int) -> None:
        turns, module = Turns(door, machine), Path(f"{number}.py")
        for _ in range(5):
            turns.take(module, alone=number == 2)
            if number != 2:
                with turns.alone(module):
                    inside.append(number)
                    time.sleep(0.01)
                    assert inside.pop() == number
                    assert not inside
            turns.give_back()
        done.append(number)

    def share_then_play(number: int) -> None:
        if number != 2:
            turns = Turns(door, machine)
            turns.take(Path("first.py"), alone=False)
            sharing.wait(10)
            with turns.alone(Path("first.py")):
                pass
            turns.give_back()
        else:
            sharing.wait(10)
        play(number)

    for number in range(3):
        threading.Thread(target=share_then_play, args=(number,), daemon=True).start()
    wait_until(lambda: len(done) == 3, "all had their turns", 20, lambda: done)


def test_a_module_that_goes_on_shares_again(tmp_path: Path) -> None:
    door, machine = tmp_path / "door", tmp_path / "machine"
    door.touch()
    machine.touch()
    here, other = Turns(door, machine), Turns(door, machine)
    here.take(Path("a.py"), alone=False)
    with here.alone(Path("a.py")):
        pass
    other.take(Path("b.py"), alone=False)
    other.give_back()
    with here.alone(Path("a.py")):
        here.give_back()  # it was its last test
    other.take(Path("b.py"), alone=True)


def proc(folder: Path, *, steal: int = 0, load: str = "0.00", waited: str | None = "total=0") -> Path:
    (folder / "pressure").mkdir(parents=True)
    cpu = f"1 2 3 4 5 6 7 {steal} 0 0\n"
    (folder / "stat").write_text(f"cpu  {cpu}cpu0 {cpu}cpu1 {cpu}intr 1\n")
    (folder / "loadavg").write_text(f"{load} 0.00 0.00 1/100 1\n")
    if waited is not None:
        (folder / "pressure" / "cpu").write_text(f"some avg10=0.00 avg60=0.00 avg300=0.00 {waited}\nfull total=9\n")
    return folder


def test_pressure_is_the_share_of_time_in_which_somebody_waited(tmp_path: Path) -> None:
    first = read(10.0, proc(tmp_path / "1", waited="total=1000000"))
    last = read(20.0, proc(tmp_path / "2", waited="total=4500000", load="9.00"))
    assert share_between(first, last) == pytest.approx(0.35)
    assert share_between(last, last) == 0


def test_what_other_machines_took_is_added(tmp_path: Path) -> None:
    first = read(0.0, proc(tmp_path / "1"))
    last = read(10.0, proc(tmp_path / "2", steal=500, waited="total=1000000"))
    assert share_between(first, last) == pytest.approx(0.1 + 5 / 10 / 2)


@pytest.mark.parametrize("waited", [None, "", "total=", "total=-1"])
def test_a_kernel_that_does_not_count_tells_the_load(tmp_path: Path, waited: str | None) -> None:
    first = read(0.0, proc(tmp_path / "1", waited=waited))
    busy, quiet = proc(tmp_path / "2", waited=waited, load="8.00"), proc(tmp_path / "3", waited=waited, load="1.50")
    assert share_between(first, read(10.0, busy)) == pytest.approx(0.75)
    assert share_between(first, read(10.0, quiet)) == 0


def test_this_machine_can_be_read() -> None:
    now = read(1.0)
    assert isinstance(now, Reading)
    assert now.cores >= 1
