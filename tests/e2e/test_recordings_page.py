"""``rtcloud recording play`` in a real browser: HLS and merged files play."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from rtcloud.recordings.folder import read_folder
from rtcloud.recordings.merging import merge
from rtcloud.recordings.sections import Choice
from tests.kit.server import COMMAND
from tests.kit.singles import Track
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.interop]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a page of a mixed recording with a gap, and of a user's streams, which were merged, too."""
    folder = tmp_path / "calls" / "task"
    folder.mkdir(parents=True)
    Track(folder, "", "audiovideo", segment_seconds=2).record(0, 4).record(7, 2).close()
    Track(folder, "alice").record(0, 3).close()
    Track(folder, "alice", "video", segment_seconds=2).record(0, 3).close()
    merge(read_folder(folder), Choice())
    command = [str(COMMAND), "recording", "play", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        yield serving.stdout.readline().strip()
        serving.send_signal(signal.SIGINT)
        assert serving.wait(10) == 0


async def test_every_recording_plays_in_the_browser(browser: Browser, address: str) -> None:
    page = await browser.new_page()
    try:
        await page.goto(address)
        assert "calls/task" in await page.inner_text("h2")
        buttons = await page.query_selector_all("button")
        assert len(buttons) == 4
        for button in buttons:
            await button.click()
            await eventually(lambda: _plays(page), await button.inner_text(), within=15)
    finally:
        await page.close()


async def _plays(page: Page) -> bool:
    at, length, error = await page.evaluate(
        "() => (({currentTime, duration, error}) => [currentTime, duration, error && error.message])"
        "(document.querySelector('video'))"
    )
    assert error is None
    await asyncio.sleep(0.05)
    return bool(at > 0.3 and length is not None and length > 2.5)
