"""Fixtures for tests with real processes and browsers. Unit tests need none of them, and not the native module."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.receiver import Receiver
from tests.kit.server import Server

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.kit.browser import Caller, PageFiles
    from tests.kit.cloud import Cloud

Open = Callable[[str], Awaitable["Caller"]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the end of its servers' logs."""
    report: Any = yield
    for name in ("server", "shared_server"):
        server = getattr(item, "funcargs", {}).get(name)
        if report.failed and isinstance(server, Server):
            report.sections.append((f"{name} log", server.tail()))
    return report  # type: ignore[no-any-return]


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
