"""Fixtures for tests with real processes and browsers. Unit tests need none of them, and not the native module."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.kit.progress import Progress
from tests.kit.receiver import Receiver
from tests.kit.repeating import Repeating
from tests.kit.server import Server
from tests.kit.turns import Turns
from tests.kit.watchdog import Listener, Watchdog

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.kit.browser import Caller, PageFiles
    from tests.kit.cloud import Cloud

# How long an example takes, by the clock on the wall, says what else the machine does; pytest-timeout is enough.
hypothesis.settings.register_profile("shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("shared")

Open = Callable[[str], Awaitable["Caller"]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


_TURNS = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    turns = None
    if hasattr(config, "workerinput"):  # one of several processes, by pytest-xdist
        watchdog = Watchdog()
        turns = config.stash[_TURNS] = Turns(waits=watchdog.waits)
        config.pluginmanager.register(watchdog, "watchdog")
    else:
        config.pluginmanager.register(Progress(), "progress")
        runs_elsewhere = config.getoption("dist") != "no"
        config.pluginmanager.register(Listener() if runs_elsewhere else Watchdog(), "watchdog")
    config.pluginmanager.register(Repeating(turns), "repeating")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that need the machine to themselves come last: so all wait for it once."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A module waits for its turn before its first test; that wait is no part of the test's time."""
    turns = item.config.stash.get(_TURNS, None)
    if turns is not None:
        turns.take(item.path, alone=item.get_closest_marker("alone") is not None)
    done: Any = yield
    if turns is not None and (nextitem is None or nextitem.path != item.path):
        turns.give_back()
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the end of its servers' logs."""
    report: Any = yield
    for name in ("server", "shared_server"):
        server = getattr(item, "funcargs", {}).get(name)
        if report.failed and isinstance(server, Server):
            report.sections.append((f"{name} log", server.tail()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counted: Counter[str] = Counter()
    for report in terminalreporter.getreports(""):  # set-ups and tear-downs
        counted.update(dict(report.user_properties).get("swept", {}))
    if counted:
        parts = ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items()))
        terminalreporter.write_line(f"sweep over the API model: {counted.total()} cases ({parts})")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, on an empty data directory."""
    with Server(tmp_path / "data") as started:
        yield started
        assert started.alive, "the server died"


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module; each uses rooms of its own."""
    with Server(tmp_path_factory.mktemp("shared") / "data") as started:
        yield started
        assert started.alive, "the server died"


@pytest.fixture
def cloud(server: Server) -> "Cloud":
    from tests.kit.cloud import Cloud

    return Cloud(server)


@pytest.fixture(scope="session")
def page_files() -> Iterator["PageFiles"]:
    from tests.kit.browser import PageFiles, page_is_built

    assert page_is_built(), "the test page is not built: run `make setup`"
    files = PageFiles()
    yield files
    files.close()


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator["Browser"]:
    from tests.kit.browser import chromium

    async with chromium() as started:
        yield started


@pytest.fixture
async def open_caller(browser: "Browser", page_files: "PageFiles") -> AsyncIterator[Open]:
    """``caller = await open_caller("alice")``: a page for one person; closed after the test."""
    from tests.kit.browser import Caller

    opened: list[Caller] = []

    async def open_one(user_id: str) -> Caller:
        opened.append(await Caller.open(browser, page_files.url, user_id))
        return opened[-1]

    yield open_one
    for caller in opened:
        await caller.close()
