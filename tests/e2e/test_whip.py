"""Publishers that come by WHIP and viewers that come by WHEP, in a room with everybody else."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.kit.browser import BLUE, RED, PageFiles
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.waiting import eventually
from tests.kit.whip import address
from tests.kit.whip_page import WhipPage

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.interop]


@pytest.fixture
async def page(browser: Browser, page_files: PageFiles, shared_server: Server) -> AsyncIterator[WhipPage]:
    opened = await browser.new_page()
    yield await WhipPage.open(opened, page_files.url, shared_server)
    await opened.close()


@pytest.mark.parametrize(("codec", "simulcast"), [("h264", False), ("vp8", True)])
async def test_a_browser_publishes(page: WhipPage, shared_server: Server, codec: str, simulcast: bool) -> None:
    ticket = shared_server.ticket("watcher", f"browser-{codec}")
    async with robot(**ticket) as watcher:
        answer = await page.publish(f"browser-{codec}", "camera", RED, codec=codec, simulcast=simulcast)
        assert answer["status"] == 201, answer

        async def received() -> bool:
            return watcher.frames["camera", "video"] > 30 and watcher.frames["camera", "audio"] > 30

        await eventually(received, "pictures and sound of the browser", 20, lambda: dict(watcher.frames))
        assert await page.stop("camera") == 200


async def test_a_browser_watches_whoever_publishes(page: WhipPage, shared_server: Server) -> None:
    answer = await page.play("watched", "viewer")
    assert answer["status"] == 201, answer
    assert (await page.publish("watched", "first", RED))["status"] == 201
    await page.shows("viewer", RED)
    assert (await page.publish("watched", "second", BLUE))["status"] == 201
    assert await page.stop("first") == 200

    await page.shows("viewer", BLUE)  # the section goes to who is there still
    assert await page.stop("viewer") == 200
    assert await page.stop("second") == 200


async def test_a_decoder_goes_on_whoever_publishes_in_whatever_codec(page: WhipPage) -> None:
    assert (await page.play("turns", "viewer"))["status"] == 201
    seen: list[dict[str, float]] = []

    async def is_heard() -> bool:
        return any(one["kind"] == "audio" for one in await page.stats("viewer", "inbound-rtp"))

    for turn, (color, codec) in enumerate([(RED, "h264"), (BLUE, "vp8"), (RED, "vp8"), (BLUE, "h264")]):
        assert (await page.publish("turns", f"turn-{turn}", color, codec=codec))["status"] == 201
        await page.shows("viewer", color)
        await eventually(is_heard, "the first sound arrives")
        streams = await page.stats("viewer", "inbound-rtp")
        seen.append({f"{one['kind']} {key}": one[key] for one in streams for key in ("ssrc", "packetsLost")})
        assert await page.stop(f"turn-{turn}") == 200
    assert set(seen[0]) == {f"{kind} {key}" for kind in ("audio", "video") for key in ("ssrc", "packetsLost")}
    assert all(each == seen[0] for each in seen), "one stream of each kind, and nothing lost"
    assert await page.stop("viewer") == 200


async def test_a_browser_watches_one_of_many(page: WhipPage, shared_server: Server) -> None:
    for user_id, color in (("red", RED), ("blue", BLUE)):
        assert (await page.publish("chosen", user_id, color))["status"] == 201
    assert (await page.play("chosen", "viewer", only="blue"))["status"] == 201
    await page.shows("viewer", BLUE)
    for user_id in ("viewer", "red", "blue"):
        assert await page.stop(user_id) == 200


async def test_ice_restarts_and_media_goes_on(page: WhipPage, shared_server: Server) -> None:
    async with robot(**shared_server.ticket("watcher", "restarted")) as watcher:
        first = await page.publish("restarted", "camera", RED)

        async def received() -> bool:
            return watcher.frames["camera", "video"] > 30

        await eventually(received, "pictures", 20)
        again = await page.restart("camera")
        assert again["status"] == 200, again
        assert again["etag"] != first["etag"]
        before = watcher.frames["camera", "video"]

        async def more() -> bool:
            return watcher.frames["camera", "video"] > before + 60

        await eventually(more, "pictures after the restart", 20)
        pairs = await page.stats("camera", "candidate-pair")
        assert any(pair["state"] == "succeeded" and pair.get("nominated") for pair in pairs)
        assert await page.stop("camera") == 200


@asynccontextmanager
async def muxer(url: str, token: str, folder: Path, color: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that publishes until its input ends."""
    arguments = ["-m", "tests.kit.whip_pusher", url, token, str(folder), color]
    program = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=asyncio.subprocess.PIPE)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()


async def test_ffmpegs_muxer_publishes(page: WhipPage, shared_server: Server, tmp_path: Path) -> None:
    """And a page sees it; when the program ends, so does its session."""
    url, token = address(shared_server, "pub", "muxed", "muxer"), shared_server.user_sig("muxer")
    async with (
        robot(**shared_server.ticket("watcher", "muxed")) as watcher,
        muxer(url, token, tmp_path, BLUE) as program,
    ):

        async def received() -> bool:
            return watcher.frames["muxer", "video"] > 30 and watcher.frames["muxer", "audio"] > 30

        await eventually(received, "pictures and sound of the muxer", 30, lambda: dict(watcher.frames))
        assert (await page.play("muxed", "viewer"))["status"] == 201
        await page.shows("viewer", BLUE)
        await program.communicate(b"")  # its input ends
        assert program.returncode == 0

        async def left() -> bool:
            return all(one.user_id != "muxer" for one in watcher.room.participants.values())

        await eventually(left, "the muxer's session ended with it")
        assert await page.stop("viewer") == 200
