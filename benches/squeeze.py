"""How soon a page's picture follows its network: squeezed to 300 kb/s, and open again; and what its sound loses.

Real Chromium behind a UDP proxy; the camera, in three layers, takes all the bits it may.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from benches.figures import Figure
from tests.kit.browser import Caller, PageFiles, chromium
from tests.kit.impaired import Conditions, ImpairedPath, impaired_path
from tests.kit.server import Server
from tests.kit.waiting import eventually

ROUNDS = 3
OPEN, SQUEEZED = Conditions(delay_s=0.01), Conditions(delay_s=0.01, rate=300_000)
SMALL, BIG = 320, 1280
LISTENED_S = 5.0
STEADY_S = 10.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        return asyncio.run(_measure(server))


async def _measure(server: Server) -> list[Figure]:
    files = PageFiles()
    try:
        async with chromium() as browser, impaired_path(server.media_port) as path:
            path.up.conditions = path.down.conditions = OPEN
            sender = await Caller.open(browser, files.url, "sender")
            watcher = await Caller.open(browser, files.url, "watcher")
            await path.redirect(watcher.page)
            for caller in (sender, watcher):
                await caller.join(server, "squeeze")
            await sender.publish(codec="vp8", simulcast=True, width=1280, height=720, fps=15, noise=True)
            await _seconds_to(watcher, BIG)
            return await _figures(watcher, path)
    finally:
        files.close()


async def _figures(watcher: Caller, path: ImpairedPath) -> list[Figure]:
    small: list[float] = []
    big: list[float] = []
    broken: list[float] = []
    for _ in range(ROUNDS):
        await asyncio.sleep(STEADY_S)
        path.down.conditions = SQUEEZED
        small.append(await _seconds_to(watcher, SMALL))
        before = await watcher.received("sender", "audio")
        await asyncio.sleep(LISTENED_S)
        after = await watcher.received("sender", "audio")
        made_up, whole = (after[key] - before[key] for key in ("concealedSamples", "totalSamplesReceived"))
        broken.append(100 * made_up / whole)
        path.down.conditions = OPEN
        big.append(await _seconds_to(watcher, BIG))
    return [
        Figure("squeeze", "squeezed to 300 kb/s: the small layer after", median(small), "s"),
        Figure("squeeze", "sound made up while squeezed, most", max(broken), "%", 2),
        Figure("squeeze", "open again: the big layer after, most", max(big), "s", 8),
    ]


async def _seconds_to(watcher: Caller, width: int) -> float:
    began = time.monotonic()

    async def is_shown() -> bool:
        return (await watcher.received("sender", "video")).get("frameWidth") == width

    await eventually(is_shown, f"a picture {width} wide", within=60)
    return time.monotonic() - began
