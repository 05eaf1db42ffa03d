"""The measuring instruments themselves: the test page's source and probes, without any server."""

import pytest
from playwright.async_api import Browser

from tests.kit.browser import PageFiles

pytestmark = [pytest.mark.anyio, pytest.mark.interop]


async def test_the_page_loads_and_offers_its_kit(browser: Browser, page_files: PageFiles) -> None:
    page = await browser.new_page()
    await page.goto(page_files.url)
    assert await page.evaluate("() => typeof window.kit.join") == "function"
    assert await page.evaluate("() => window.kit.state()") == "none"
    await page.close()
