"""The demo page in real Chromium with its fake camera and microphone: two rooms, a recording, and its playback."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.kit.acts import Act
from tests.kit.server import Server
from tests.kit.stage import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.e2e, pytest.mark.interop]


@pytest.fixture(scope="module")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("demo") / "data", "--demo") as started:
        yield started


async def join(page: Page, url: str, user_id: str, room: str, kind: str = "number") -> None:
    if not page.url.startswith(url):
        await page.goto(f"{url}/demo")
    await page.get_by_label("Your name").fill(user_id)
    await page.get_by_label("Room", exact=True).fill(room)
    await page.get_by_label("a number" if kind == "number" else "a text").check()
    await page.get_by_role("button", name="Join", exact=True).click()
    await expect(page.get_by_role("button", name="Leave").locator("visible=true")).to_be_visible(timeout=15_000)


async def test_people_meet_talk_and_record(demo_server: Server, browser: Browser) -> None:
    alice, bob = await browser.new_page(), await browser.new_page()
    await join(alice, demo_server.url, "alice", "1001")
    await join(bob, demo_server.url, "bob", "1001")
    for page, other in ((alice, "bob"), (bob, "alice")):
        video = page.get_by_role("figure").filter(has_text=other).locator("video")
        await expect(video).to_be_visible(timeout=15_000)
        script = "video => new Promise(done => video.requestVideoFrameCallback(() => done(video.videoWidth)))"
        assert await video.evaluate(script) > 0

    await bob.get_by_role("button", name="Microphone").click()
    await expect(alice.get_by_text("bob · muted")).to_be_visible()

    await alice.get_by_role("button", name="Record").click()
    await expect(alice.get_by_role("button", name="Stop recording")).to_be_visible(timeout=15_000)
    await expect(bob.get_by_text("recording…")).to_be_visible(timeout=15_000)
    # Recorded time, not luck: the server's own first frame is awaited by the list, then a few seconds of talk.
    await alice.wait_for_timeout(4000)
    await alice.get_by_role("button", name="Stop recording").click()
    play = alice.get_by_role("button", name="Play", exact=True)
    await expect(play).to_be_visible(timeout=30_000)
    await play.click()
    played = """video => new Promise(done => video.addEventListener(
        "timeupdate", () => video.currentTime > 1 && done(video.duration)))"""
    assert await alice.locator("#player").evaluate(played) > 2
    for page in (alice, bob):
        await page.close()


async def test_one_person_is_in_two_rooms_at_once(demo_server: Server, browser: Browser) -> None:
    page = await browser.new_page()
    await join(page, demo_server.url, "carol", "1002")
    await page.get_by_role("tab", name="+ Join a room").click()
    await join(page, demo_server.url, "carol", "tea room", "text")
    await expect(page.get_by_role("tab", name="Room tea room")).to_have_attribute("aria-selected", "true")
    await page.get_by_role("tab", name="Room 1002").click()
    await expect(page.get_by_text("Room 1002 · connected · 1 here")).to_be_visible()
    await page.get_by_role("button", name="Leave").locator("visible=true").click()
    await expect(page.get_by_text("Room tea room · connected · 1 here")).to_be_visible()
    await page.close()


async def test_a_screen_is_shared(demo_server: Server, browser: Browser) -> None:
    alice, bob = await browser.new_page(), await browser.new_page()
    await join(alice, demo_server.url, "alice", "1003")
    await join(bob, demo_server.url, "bob", "1003")
    await alice.get_by_role("button", name="Share screen").click()
    await expect(bob.get_by_text("alice: screen")).to_be_visible(timeout=15_000)
    await alice.get_by_role("button", name="Stop sharing").click()
    await expect(bob.get_by_text("alice: screen")).to_be_hidden(timeout=15_000)
    await expect(alice.get_by_text("alice (you): screen")).to_be_hidden()
    for page in (alice, bob):
        await page.close()


async def test_a_shared_screen_that_was_only_heard_is_gone_with_its_sound(
    demo_server: Server, browser: Browser
) -> None:
    """So it is for others when sharing ends while its picture still waits for a place to be received in."""
    bob = await browser.new_page()
    await join(bob, demo_server.url, "bob", "1004")
    with Stage(demo_server) as stage:
        alice = stage.enter(1004, "alice", Act(0, picture=False, screen=True))
        await expect(bob.get_by_text("alice: screen")).to_be_visible(timeout=15_000)
        alice.stop("screen_audio")
        await expect(bob.get_by_text("alice: screen")).to_be_hidden(timeout=15_000)
    await bob.close()


async def test_a_camera_goes_in_by_whip_and_out_by_whep(demo_server: Server, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"{demo_server.url}/demo")
    await page.get_by_role("link", name="WHIP and WHEP").click()
    await expect(page.get_by_label("WHIP address")).to_contain_text("/studio?SessionID=camera")
    await page.get_by_role("button", name="Publish camera").click()
    await expect(page.locator("#pub-status")).to_have_text("connected", timeout=15_000)
    await page.get_by_role("button", name="Play", exact=True).click()
    reception = page.get_by_label("Reception")
    await expect(reception).to_contain_text(re.compile(r"\d{3,4} × \d{3,4} · \d+ fps · .*\d+ kbit/s"), timeout=20_000)
    await expect(reception).to_contain_text(re.compile(r"\b\d{1,3} ms"), timeout=20_000)
    await page.get_by_role("button", name="Stop playing").click()
    await page.get_by_role("button", name="Stop publishing").click()
    await expect(reception).to_be_empty()

    await page.locator("#sub").get_by_label("Stream").fill("not/a room")
    await page.get_by_role("button", name="Play", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("HTTP 4")
    await page.close()


async def test_problems_are_told_in_words(demo_server: Server, browser: Browser, tmp_path: Path) -> None:
    page = await browser.new_page()
    await page.goto(f"{demo_server.url}/demo")
    await page.get_by_label("Room", exact=True).fill("not a number")
    await page.get_by_role("button", name="Join", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("numeric room id")
    await page.close()
