"""Pictures that requests name: fetched once, within bounds, kept as long as a task names them."""

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from PIL import Image

from rtcloud.accounts.store import Accounts
from rtcloud.images import fetching
from rtcloud.images.fetching import Fetcher, ImageError
from rtcloud.images.keeping import Images
from rtcloud.outgoing.dialing import Dialer
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer
from rtcloud.watermarks.store import Watermarks
from tests.kit.clock import NOW_MS, StillClock

URL = "https://pictures.example/logo.png?token=s"
APP = 1_400_000_001


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


class Body(httpx.AsyncByteStream):
    """As it is on the wire."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


@dataclass
class Web:
    """Answers by plan: each request takes the next answer, the last one stays."""

    answers: list[httpx.Response | Exception]
    asked: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Body(answer.content))


class Place:
    """``named`` are the files that open tasks use."""

    def __init__(self, directory: Path, web: Web, *, most_bytes: int = 1 << 20) -> None:
        self.directory = directory / "images"
        self.clock = StillClock()
        self.named: set[str] = set()
        self.database = open_database(None)
        self.watermarks = Watermarks(self.database)
        fetcher = Fetcher(Dialer(allow_private=True), transport=httpx.MockTransport(web), pauses=(0, 0))
        self.images = Images(
            self.directory, fetcher, self.watermarks, self.clock, named=self._named, most_bytes=most_bytes
        )

    async def _named(self) -> set[str]:
        return self.named

    @property
    def files(self) -> list[str]:
        return sorted(os.listdir(self.directory))


def played(directory: Path, web: Web, scene: Callable[[Place], Awaitable[None]], *, most_bytes: int = 1 << 20) -> None:
    async def play() -> None:
        place = Place(directory, web, most_bytes=most_bytes)
        try:
            await scene(place)
        finally:
            await place.images.close()
            await place.database.close()

    asyncio.run(play())


def ok(content: bytes) -> httpx.Response:
    return httpx.Response(200, content=content)


@pytest.mark.parametrize(
    ("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("BMP", "bmp"), ("GIF", "gif"), ("WEBP", "webp")]
)
def test_a_picture_is_kept_under_the_name_of_its_content_for_the_owner_alone(
    tmp_path: Path, kind: str, extension: str
) -> None:
    content = picture(kind)

    async def scene(place: Place) -> None:
        name = await place.images.keep(APP, URL)
        assert name == f"{hashlib.sha256(content).hexdigest()}.{extension}"
        assert place.files == [name]
        file = place.directory / name
        assert file.read_bytes() == content
        assert (file.stat().st_mode & 0o777, place.directory.stat().st_mode & 0o777) == (0o600, 0o700)

    played(tmp_path, Web([ok(content)]), scene)


def test_an_address_asked_for_at_once_is_fetched_once_even_if_the_first_who_asked_goes_away(tmp_path: Path) -> None:
    web = Web([ok(picture())])

    async def scene(place: Place) -> None:
        web.hold = asyncio.Event()
        first, *others = (asyncio.ensure_future(place.images.keep(APP, URL)) for _ in range(5))
        while not web.asked:
            await asyncio.sleep(0)
        first.cancel()
        web.hold.set()
        assert len(set(await asyncio.gather(*others))) == 1
        assert len(web.asked) == 1

    played(tmp_path, web, scene)


def test_an_address_is_remembered_for_half_a_minute_and_while_its_file_is_there(tmp_path: Path) -> None:
    web = Web([ok(picture())])

    async def scene(place: Place) -> None:
        name = await place.images.keep(APP, URL)
        place.clock.ms += 29_000
        await place.images.keep(APP, URL)
        assert len(web.asked) == 1
        (place.directory / name).unlink()
        await place.images.keep(APP, URL)
        assert len(web.asked) == 2
        place.clock.ms += 31_000
        await place.images.keep(APP, URL)
        assert len(web.asked) == 3
        assert place.files == [name]

    played(tmp_path, web, scene)


@pytest.mark.parametrize(
    "passing", [httpx.Response(503), httpx.Response(429), httpx.ConnectError("no"), httpx.ReadTimeout("slow")]
)
def test_what_may_pass_is_tried_three_times(tmp_path: Path, passing: httpx.Response | Exception) -> None:
    web = Web([passing, passing, ok(picture())])

    async def scene(place: Place) -> None:
        assert await place.images.keep(APP, URL)
        assert len(web.asked) == 3

    played(tmp_path, web, scene)
    dead = Web([passing])

    async def given_up(place: Place) -> None:
        with pytest.raises(ImageError, match="could not be fetched"):
            await place.images.keep(APP, URL)
        assert len(dead.asked) == 3

    played(tmp_path, dead, given_up)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(404), "could not be fetched: the server answers HTTP status 404"),
        (httpx.Response(302, headers={"Location": "http://elsewhere/"}), "leads elsewhere (HTTP status 302)"),
        (ok(b"<html>"), "is not a whole PNG, JPEG, BMP, GIF or WebP picture"),
        (ok(picture()[:-30]), "is not a whole"),
        (ok(bytes(5 * 1024 * 1024 + 1)), "has more than 5242880 bytes"),
        (ok(picture(size=(4097, 10))), "is wider or higher than 4096 pixels"),
        (httpx.Response(200, headers={"Content-Encoding": "br"}), "comes compressed"),
    ],
)
def test_what_will_not_pass_is_refused_at_the_first_try_with_its_reason(
    tmp_path: Path, answer: httpx.Response, reason: str
) -> None:
    web = Web([answer])

    async def scene(place: Place) -> None:
        with pytest.raises(ImageError) as error:
            await place.images.keep(APP, URL)
        assert str(error.value).startswith(reason)
        assert "token" not in str(error.value)
        assert len(web.asked) == 1

    played(tmp_path, web, scene)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a.png",
        "file:///etc/passwd",
        "http://",
        "//h/a.png",
        "https://u:p@h/a.png",
        "http://\x00/",
        "http://h/" + "a" * 2048,
    ],
)
def test_an_address_that_is_none_is_not_asked(tmp_path: Path, url: str) -> None:
    web = Web([ok(picture())])

    async def scene(place: Place) -> None:
        with pytest.raises(ImageError, match="has an address"):
            await place.images.keep(APP, url)
        assert not web.asked

    played(tmp_path, web, scene)


def test_a_server_that_never_answers_costs_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TOTAL_SECONDS", 0.01)
    web = Web([ok(picture())], hold=asyncio.Event())

    async def scene(place: Place) -> None:
        with pytest.raises(ImageError, match="could not be fetched within"):
            await place.images.keep(APP, URL)

    played(tmp_path, web, scene)


def test_private_networks_are_not_reached(tmp_path: Path) -> None:
    async def scene() -> None:
        fetcher = Fetcher(Dialer(allow_private=False))
        try:
            with pytest.raises(ImageError, match="leads into a private network"):
                await fetcher.fetch("http://127.0.0.1:1/a.png")
        finally:
            await fetcher.close()

    asyncio.run(scene())


def test_a_watermark_is_had_by_its_own_application_only(tmp_path: Path) -> None:
    content = picture()

    async def scene(place: Place) -> None:
        accounts = await Accounts.load(place.database, Sealer(bytes(32)), place.clock)
        await accounts.ensure_first(NOW_MS)
        app = accounts.applications()[0].sdk_app_id
        with pytest.raises(ImageError, match="cannot be had: the application has no watermark"):
            await place.images.keep(app, "watermark:WM_none")
        mark = await place.watermarks.create(app, content, now_ms=NOW_MS)
        address = f"watermark:{mark.watermark_id}"
        assert (place.directory / await place.images.keep(app, address)).read_bytes() == content
        with pytest.raises(ImageError, match="cannot be had"):
            await place.images.keep(app + 1, address)
        await place.watermarks.delete(app, mark.watermark_id)
        with pytest.raises(ImageError, match="cannot be had"):
            await place.images.keep(app, address)

    played(tmp_path, Web([]), scene)


def test_a_file_goes_a_day_after_it_was_last_asked_for_unless_a_task_names_it(tmp_path: Path) -> None:
    web = Web([ok(picture()), ok(picture("BMP")), ok(picture())])

    async def scene(place: Place) -> None:
        idle, used = await place.images.keep(APP, URL + "1"), await place.images.keep(APP, URL + "2")
        place.named = {used}
        place.clock.ms += 12 * 3_600_000
        assert await place.images.keep(APP, URL + "3") == idle
        place.clock.ms += 13 * 3_600_000
        assert await place.images.sweep() == 0
        place.clock.ms += 12 * 3_600_000
        assert await place.images.sweep() == 1
        assert place.files == [used]
        place.named = set()
        assert await place.images.sweep() == 1

    played(tmp_path, web, scene)


def test_a_full_directory_lets_go_what_nobody_names_and_then_refuses(tmp_path: Path) -> None:
    contents = [picture("BMP", (40, 30 + n)) for n in range(4)]

    async def scene(place: Place) -> None:
        first, second = await place.images.keep(APP, URL + "1"), await place.images.keep(APP, URL + "2")
        with pytest.raises(ImageError, match="holds too many pictures"):
            await place.images.keep(APP, URL + "3")
        place.named = {first}
        place.clock.ms += 601_000
        fourth = await place.images.keep(APP, URL + "4")
        assert place.files == sorted([first, fourth])
        assert second not in place.files

    played(tmp_path, Web(list(map(ok, contents))), scene, most_bytes=2 * len(contents[-1]))
