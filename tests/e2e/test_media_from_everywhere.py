"""The programs that people have publish into a room, by the commands that the guides print; a browser in the room and
one that knows nothing but WHEP see and hear them."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.conftest import Open
from tests.kit import printed
from tests.kit.browser import Caller, is_near
from tests.kit.ports import free_port
from tests.kit.printed import Typed
from tests.kit.server import Server
from tests.kit.waiting import eventually
from tests.kit.whip import address

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.interop]

ROOM = "hello-room"
RED = "#d81818"
MIDDLE = (0.5, 0.25)
SAMPLE = ["-f", "lavfi", "-i", f"color=0x{RED[1:]}:size=640x360:rate=30", "-f", "lavfi", "-i", "sine=500"]


@dataclass(frozen=True)
class House:
    server: Server
    rtmp: int
    folder: Path

    def typed(self, page: str, heading: str) -> Typed:
        """The guides speak of port 1935, the rest is as it stands there."""
        return Typed(printed.block(page, heading, "sh").replace(":1935/", f":{self.rtmp}/"), self.folder)

    def ffmpeg(self) -> Typed:
        encoded = ["-t", "60", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        sample = self.folder / "sample.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-y", *SAMPLE, *encoded, str(sample)], check=True, timeout=60)
        return self.typed("rtmp.md", "FFmpeg")

    def gstreamer(self) -> Typed:
        return self.typed("rtmp.md", "GStreamer")

    def python(self) -> Typed:
        where = address(self.server, "pub", ROOM, "python")
        certificate = printed.block("whip.md", "From Python", "sh")
        subprocess.run(certificate, shell=True, check=True, capture_output=True, cwd=self.folder, timeout=30)
        text = printed.block("whip.md", "From Python", "python")
        return Typed.python(text, self.folder, where, self.server.user_sig("python"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("everywhere"), free_port()
    with Server(folder / "data", "--demo", "--rtmp-listen", f"127.0.0.1:{port}") as server:
        yield House(server, port, folder)
        assert server.alive


async def check_sound(watcher: Caller, user_id: str, hz: int) -> None:
    async def heard() -> bool:
        tone, beside = await watcher.loudness(user_id, hz, hz * 2.7)
        return tone > -60 and tone > beside + 20

    await eventually(heard, f"{watcher.user_id} hears {hz} Hz of {user_id}", 20)


async def check_color(watcher: Caller, user_id: str, color: str) -> None:
    seen: list[object] = []

    async def right() -> bool:
        seen[:] = (await watcher.call("look", user_id, [list(MIDDLE)]))["colors"]
        return bool(seen) and is_near(tuple(seen[0]), color)  # type: ignore[arg-type]

    await eventually(right, f"{watcher.user_id} sees {user_id} in {color}", 20, lambda: seen)


async def check_whep(page: Page, user_id: str, color: str) -> None:
    """On the demo's page."""
    form = page.locator("#sub")
    await form.get_by_label("Stream").fill(ROOM)
    await form.get_by_label("Only this user").fill(user_id)
    await page.get_by_role("button", name="Play", exact=True).click()
    await expect(page.get_by_label("Reception")).to_contain_text(
        re.compile(r"640 × 360 · \d+ fps · .*\d+ kbit/s"), timeout=20_000
    )
    script = """([video, [x, y]]) => {
        const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight), pen = canvas.getContext("2d");
        pen.drawImage(video, 0, 0);
        return [...pen.getImageData(x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3);
    }"""
    seen = await page.evaluate(script, [await page.locator("#screen").element_handle(), list(MIDDLE)])
    assert is_near(tuple(seen), color), (user_id, seen)
    await page.get_by_role("button", name="Stop playing").click()


@pytest.mark.parametrize(
    ("user_id", "color", "hz"), [("ffmpeg", RED, 500), ("gstreamer", "#00ff00", 700), ("python", "#1818d8", 900)]
)
async def test_a_printed_command_is_seen_and_heard(
    house: House, open_caller: Open, browser: Browser, user_id: str, color: str, hz: int
) -> None:
    watcher = await open_caller(f"watcher-of-{user_id}")
    await watcher.join(house.server, ROOM)
    page = await browser.new_page()
    await page.goto(f"{house.server.url}/demo/whep")
    program: AbstractContextManager[Typed] = await asyncio.to_thread(getattr(house, user_id))
    with program as typed:
        try:
            await watcher.saw_event("participantConnected", userId=user_id, within=30)
            await watcher.sees(user_id)
            await check_color(watcher, user_id, color)
            await check_sound(watcher, user_id, hz)
            stats = await watcher.received(user_id, "video")
            assert (stats["frameWidth"], stats["frameHeight"], stats["mimeType"]) == (640, 360, "video/H264")
            await check_whep(page, user_id, color)
            status = await asyncio.to_thread(typed.stop)
        except BaseException:
            print(typed.said)
            raise
    assert status == 0 or user_id != "gstreamer", typed.said  # whose end is an orderly one
    await watcher.saw_event("participantDisconnected", userId=user_id, within=20)
    await page.close()
