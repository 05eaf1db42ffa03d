"""Real Chromium, headless, with the test page: unmodified livekit-client publishing known pictures and tones."""

import functools
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from tests.kit.server import ROOT, Server
from tests.kit.waiting import eventually

PAGE_FILES = ROOT / "tests/page/dist"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--auto-select-desktop-capture-source=Entire screen",
]
RED, GREEN, BLUE, YELLOW = "#d02020", "#20a020", "#2030d0", "#d0c020"


def chromium_path() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("Chromium was not found: run `make setup`")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class PageFiles:
    """Serves the built test page from localhost, where browsers allow everything a call needs."""

    def __init__(self) -> None:
        handler = functools.partial(_QuietHandler, directory=str(PAGE_FILES))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/index.html"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Caller:
    """One page: one person in one room."""

    def __init__(self, page: Page, user_id: str) -> None:
        self.page = page
        self.user_id = user_id
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))

    @classmethod
    async def open(cls, browser: Browser, url: str, user_id: str) -> "Caller":
        caller = cls(await browser.new_page(), user_id)
        await caller.page.goto(url)
        return caller

    async def join(self, server: Server, room: int | str, *, single: bool = True, **fields: Any) -> float:
        """Through ``POST /v1/join``. Milliseconds until livekit-client was connected."""
        ticket = server.ticket(self.user_id, room, **fields)
        return float(await self.call("join", {**ticket, "singlePeerConnection": single}))

    async def publish(self, **options: Any) -> None:
        """Options of ``PublishOptions`` in the page: color, hz, codec, simulcast, video, audio, screen…"""
        await self.call("publish", options)

    async def call(self, method: str, *arguments: Any) -> Any:
        script = "([method, args]) => window.kit[method](...args)"
        return await self.page.evaluate(script, [method, list(arguments)])

    async def feature(self, method: str, *arguments: Any) -> Any:
        """A method of ``Features`` in the page."""
        script = "([method, args]) => window.kit.features[method](...args)"
        return await self.page.evaluate(script, [method, list(arguments)])

    async def events(self, name: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.page.evaluate("() => window.kit.events")
        return [event for event in found if not name or event["event"] == name]

    async def saw_event(self, name: str, within: float = 10.0, **fields: Any) -> dict[str, Any]:
        async def matching() -> list[dict[str, Any]]:
            return [each for each in await self.events(name) if fields.items() <= each.items()]

        return (await eventually(matching, f"{self.user_id}: event {name} {fields}", within))[0]

    async def received(self, user_id: str, kind: str) -> dict[str, Any]:
        """inbound-rtp statistics of what is received from a user; empty when there is nothing yet."""
        for stats in await self.call("received", user_id):
            if stats["kind"] == kind:
                return dict(stats)
        return {}

    async def sources_of(self, user_id: str, packets: int = 1) -> dict[str, int]:
        """Packets received of each source of a user, of which at least so many came."""
        counts = {each["source"]: each.get("packetsReceived", 0) for each in await self.call("received", user_id)}
        return {source: count for source, count in counts.items() if count >= packets}

    async def sees(self, user_id: str, *, frames: int = 30, within: float = 20.0) -> dict[str, Any]:
        """The video statistics once that many frames of the user were decoded."""

        async def decoded() -> dict[str, Any]:
            stats = await self.received(user_id, "video")
            return stats if stats.get("framesDecoded", 0) >= frames else {}

        return await eventually(decoded, f"{self.user_id} decodes {frames} frames of {user_id}", within)

    async def hears(self, user_id: str, *, energy: float = 1e-4, within: float = 20.0) -> dict[str, Any]:
        """The audio statistics once that much audio energy of the user was played out."""

        async def audible() -> dict[str, Any]:
            stats = await self.received(user_id, "audio")
            return stats if stats.get("totalAudioEnergy", 0.0) >= energy else {}

        return await eventually(audible, f"{self.user_id} hears {user_id}", within)

    async def color_of(self, user_id: str, source: str = "camera") -> tuple[int, int, int]:
        """The decoded colour in the middle of the user's picture."""

        async def visible() -> list[list[int]]:
            seen = await self.call("look", user_id, [[0.5, 0.5]], source)
            colors: list[list[int]] = seen["colors"]
            return colors

        red, green, blue = (await eventually(visible, f"{self.user_id} shows {user_id}"))[0]
        return red, green, blue

    async def loudness(self, user_id: str, *frequencies: float) -> list[float]:
        levels: list[float] = await self.call("listen", user_id, list(frequencies))
        return levels

    async def close(self) -> None:
        await self.page.close()


def is_near(seen: tuple[int, ...], wanted: str, tolerance: int = 40) -> bool:
    """Whether a decoded colour is the published one (``#rrggbb``), as far as lossy video keeps it."""
    parts = [int(wanted[at : at + 2], 16) for at in (1, 3, 5)]
    return all(abs(have - want) <= tolerance for have, want in zip(seen, parts, strict=True))


def page_is_built() -> bool:
    return (Path(PAGE_FILES) / "main.js").exists()
