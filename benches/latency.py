"""Glass to glass: from drawing a picture in one page to its display in another, through the server, in one browser."""

import asyncio
import tempfile
from pathlib import Path

from benches.figures import Figure, percentile
from tests.kit.browser import Caller, PageFiles, chromium
from tests.kit.server import Server

SETTLE_MS = 4000  # the jitter buffer shrinks to what the line needs
MEASURE_MS = 10_000
BUDGET_MS = 100.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        return asyncio.run(_measure(server))


async def _measure(server: Server) -> list[Figure]:
    files = PageFiles()
    figures = []
    try:
        async with chromium() as browser:
            for codec in ("h264", "vp8"):
                sender = await Caller.open(browser, files.url, "sender")
                watcher = await Caller.open(browser, files.url, "watcher")
                for caller in (sender, watcher):
                    await caller.join(server, f"latency-{codec}")
                await sender.call("publishTime", codec)
                await watcher.sees("sender")
                await watcher.call("delays", "sender", SETTLE_MS)
                delays = await watcher.call("delays", "sender", MEASURE_MS)
                for share in (0.5, 0.95):
                    name = f"glass to glass, {codec}, p{share * 100:.0f}"
                    budget = BUDGET_MS if share == 0.5 else None
                    figures.append(Figure("latency", name, percentile(delays, share), "ms", budget))
                for caller in (sender, watcher):
                    await caller.close()
    finally:
        files.close()
    return figures
