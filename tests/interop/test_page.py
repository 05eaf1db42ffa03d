"""The measuring instruments themselves: the test page's source and the file probes, without any server."""

import base64
import statistics
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.kit import probes
from tests.kit.browser import BLUE, PageFiles, is_near

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.interop,
    pytest.mark.alone,  # where the page waits for a core, a flash comes later than its beep: that is what is measured
]


async def test_the_source_shows_and_plays_what_the_probes_measure(
    browser: Browser, page_files: PageFiles, tmp_path: Path
) -> None:
    page = await browser.new_page()
    await page.goto(page_files.url)
    script = "([options, ms]) => window.kit.recordSource(options, ms)"
    encoded = await page.evaluate(script, [{"color": BLUE, "hz": 700}, 6000])
    await page.close()
    path = tmp_path / "source.webm"
    path.write_bytes(base64.b64decode(encoded))

    assert is_near(probes.mean_color(probes.picture_at(path, 3), probes.Region(0.2, 0.4, 0.8, 0.6)), BLUE)
    samples, rate, _ = probes.sound(path)
    assert -30 < probes.tone_level(samples, rate, 700) < -15
    assert probes.tone_level(samples, rate, 500) < -60

    beeps, flashes = probes.beeps(path), probes.flashes(path, probes.Region(0, 0.03, 1, 0.12))
    assert len(beeps) >= 4
    apart = probes.offsets(beeps, flashes)
    assert len(apart) >= 4
    # The browser's recorder begins its two tracks at its own moments; what the source adds must be steady.
    assert abs(statistics.mean(apart)) < 0.050
    assert statistics.pstdev(apart) < 0.010
