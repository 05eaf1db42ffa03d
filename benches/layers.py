"""How soon a page shows the size that it asks for, of a camera that Chromium sends in layers, and for how long its
picture stands still meanwhile.
"""

import asyncio
import itertools
import tempfile
from pathlib import Path

from benches.figures import Figure, percentile
from tests.kit.browser import Caller, PageFiles, chromium
from tests.kit.server import Server
from tests.kit.waiting import eventually

ROUNDS = 10
SMALL, BIG = 320, 1280
WATCHED_MS = 2000
CHANGE_BUDGET_MS, FREEZE_BUDGET_MS = 1000.0, 300.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        return asyncio.run(_measure(server))


async def _measure(server: Server) -> list[Figure]:
    files = PageFiles()
    try:
        async with chromium() as browser:
            sender = await Caller.open(browser, files.url, "sender")
            watcher = await Caller.open(browser, files.url, "watcher")
            for caller in (sender, watcher):
                await caller.join(server, "layers")
            await sender.publish(codec="vp8", simulcast=True, width=1280, height=720, fps=15)

            async def is_big() -> bool:
                return (await watcher.received("sender", "video")).get("frameWidth") == BIG

            await eventually(is_big, "the watcher gets the largest layer", within=60)
            return await _figures(watcher)
    finally:
        files.close()


async def _figures(watcher: Caller) -> list[Figure]:
    took: dict[int, list[float]] = {SMALL: [], BIG: []}
    gaps: list[float] = []
    for _ in range(ROUNDS):
        for quality, wanted in (("low", SMALL), ("high", BIG)):
            shown = await watcher.call("showWhile", "sender", quality, WATCHED_MS)
            took[wanted].append(next((each["at"] for each in shown if each["width"] == wanted), float("inf")))
            gaps.append(max(after["at"] - before["at"] for before, after in itertools.pairwise(shown)))
    return [
        *(
            Figure("layers", f"asked for to {width} wide, {name}", percentile(times, share), "ms", CHANGE_BUDGET_MS)
            for width, times in took.items()
            for name, share in (("p50", 0.5), ("most", 1.0))
        ),
        Figure("layers", "longest the picture stood still", max(gaps), "ms", FREEZE_BUDGET_MS),
    ]
