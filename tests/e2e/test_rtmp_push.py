"""Pushing to a real RTMP server (nginx) and to FFmpeg's: what arrives, and what happens when one of them does not."""

import asyncio
import contextlib
import itertools
import random
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path

import av
import pytest

from rtcloud.aio import spawn
from rtcloud.clock import SystemClock
from rtcloud.egress.publishing.flv import AudioFormat
from rtcloud.egress.publishing.outputs import Outputs
from rtcloud.egress.publishing.pushing import Timing
from rtcloud.egress.publishing.statuses import Fault
from rtcloud.mixer.encoding import TICKS, EncodedPacket, VideoCodec
from rtcloud.outgoing.addresses import IpAddress
from rtcloud.outgoing.dialing import Dialer
from rtcloud.tasks.protocol import OutputChanged
from tests.kit.cdn import Cdn, Listener
from tests.kit.certificates import write_certificate
from tests.kit.encoded import in_order, pictures, sound
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

SOON = Timing(connect=3, stall=1, repeat=0.5, limit=2, backoff=(0.1,), steady=10, close=2)
STEREO = AudioFormat(48_000, 2)
LOOP_S = 2  # what is encoded; said again and again


class Studio:
    """Sends the same two seconds over and over, in real time, until the block ends."""

    def __init__(self, video: VideoCodec | None = "h264", *, timing: Timing = SOON, **others: object) -> None:
        self.reports: list[OutputChanged] = []
        self.asked = 0
        dialer = others.pop("dialer", Dialer(allow_private=True))
        self.outputs = Outputs(
            video,
            STEREO,
            dialer,  # type: ignore[arg-type]
            self.reports.append,
            SystemClock(),
            self._ask,
            chance=random.Random(1),
            timing=timing,
            **others,  # type: ignore[arg-type]
        )
        shown = pictures(video, 320, 180, 25 * LOOP_S, gop=10) if video else []
        self._loop = list(in_order(shown, sound(48_000 * LOOP_S // 1024)))

    def _ask(self) -> None:
        self.asked += 1

    def statuses(self, url: str) -> list[int]:
        """Without the repetitions."""
        said = [report.status for report in self.reports if report.url == url]
        return [status for status, _ in itertools.groupby(said)]

    async def until(self, url: str, statuses: list[int], within: float = 10) -> None:
        async def reached() -> bool:
            return self.statuses(url) == statuses

        await eventually(reached, f"statuses {statuses}", within, seen=lambda: self.reports)

    async def _send(self) -> None:
        began = asyncio.get_running_loop().time()
        for turn in itertools.count():
            for packet in self._loop:
                time = packet.time + turn * LOOP_S * TICKS
                due = began + time / TICKS
                await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
                self.outputs.put(EncodedPacket(packet.kind, packet.data, time, packet.keyframe, packet.codec))

    @contextlib.asynccontextmanager
    async def on_air(self, *urls: str) -> AsyncIterator[None]:
        self.outputs.set_urls(urls)
        sending = spawn(self._send(), name="studio")
        try:
            yield
        finally:
            await self.outputs.close()
            sending.cancel()
            await asyncio.wait({sending})


def received(path: Path) -> tuple[list[float], list[float]]:
    """The times of the pictures and of the sound, all of it decoded; seconds."""
    with av.open(str(path), "r") as container:
        shown = [frame.time or 0.0 for frame in container.decode(video=0)]
    with av.open(str(path), "r") as container:
        heard = [frame.time or 0.0 for frame in container.decode(audio=0)]
    return shown, heard


def check(path: Path, *, pictures_at_least: int, within: float = 0.1) -> None:
    """``within`` seconds of the first sound is the first picture: for who comes later that is the next keyframe."""
    shown, heard = received(path)
    assert len(shown) >= pictures_at_least
    for times in (shown, heard):
        assert all(earlier < later for earlier, later in itertools.pairwise(times))
        assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.1
    assert abs(shown[0] - heard[0]) < within


async def _in_thread(work: Callable[[], object]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


async def test_nginx_gets_pictures_and_sound_in_order_and_the_end(tmp_path: Path) -> None:
    with Cdn(tmp_path) as cdn:
        studio = Studio()
        url = cdn.url("x")
        async with studio.on_air(url):
            await studio.until(url, [1, 2])
            assert studio.asked == 1
            await _in_thread(lambda: cdn.wait_for("x"))
            files: list[Path] = []
            await _in_thread(lambda: files.append(cdn.pull("x", 2)))
            (figures,) = studio.outputs.figures.values()
            assert (figures.status, figures.dropped, figures.connections) == (2, 0, 1)
            assert figures.bytes > 10_000
        assert studio.statuses(url) == [1, 2, 5, 0]
        check(files[0], pictures_at_least=35, within=1.1)
        assert "x" not in cdn.streams()


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_ffmpeg_gets_every_picture(codec: VideoCodec, tmp_path: Path) -> None:
    with Listener(tmp_path / "got.mkv") as listener:
        studio = Studio(codec)
        async with studio.on_air(listener.url):
            await studio.until(listener.url, [1, 2])
            await asyncio.sleep(2)
        await _in_thread(listener.wait)
    with av.open(str(listener.path), "r") as container:
        assert container.streams.video[0].codec_context.name == {"h264": "h264", "h265": "hevc"}[codec]
    check(listener.path, pictures_at_least=35)


async def test_a_server_that_dies_and_returns_is_pushed_to_again_and_the_other_never_notices(tmp_path: Path) -> None:
    with Cdn(tmp_path / "a") as cdn, Cdn(tmp_path / "b") as other:
        studio = Studio(timing=Timing(backoff=(0.1,), repeat=0.5, limit=30))
        url, beside = cdn.url("x"), other.url("x")
        async with studio.on_air(url, beside):
            for each in (url, beside):
                await studio.until(each, [1, 2])
            await _in_thread(cdn.kill)
            await studio.until(url, [1, 2, 3])
            await asyncio.sleep(1.2)
            recovering = [report for report in studio.reports if report.url == url and report.status == 3]
            assert len(recovering) >= 3
            assert recovering[-1].code == Fault.REFUSED
            await _in_thread(cdn.start)
            await studio.until(url, [1, 2, 3, 2])
            await _in_thread(lambda: cdn.wait_for("x"))
            assert studio.statuses(beside) == [1, 2]
            assert studio.outputs.figures[beside].connections == 1
            assert studio.outputs.figures[beside].dropped == 0
        assert studio.statuses(url) == [1, 2, 3, 2, 5, 0]


async def test_what_is_not_taken_is_given_up_until_it_is_tried_again(tmp_path: Path) -> None:
    with Cdn(tmp_path) as cdn:
        studio = Studio()
        wrong, right = cdn.url("x").replace("/live/", "/nowhere/"), cdn.url("x")
        async with studio.on_air(wrong, right):
            await studio.until(wrong, [1, 4, 0])
            failed = next(report for report in studio.reports if report.status == 4)
            assert failed.code in (Fault.CLOSED, Fault.REJECTED)
            assert failed.message
            studio.outputs.set_urls([wrong, right])
            assert studio.statuses(wrong) == [1, 4, 0]
            studio.outputs.set_urls([wrong, right], retry=True)
            await studio.until(wrong, [1, 4, 0, 1])
            assert studio.statuses(right) == [1, 2]


async def test_a_name_in_use_is_called_so(tmp_path: Path) -> None:
    with Cdn(tmp_path) as cdn:
        first, second = Studio(), Studio()
        url = cdn.url("x")
        async with first.on_air(url):
            await first.until(url, [1, 2])
            async with second.on_air(url):
                await second.until(url, [1, 4, 0])
    failed = next(report for report in second.reports if report.status == 4)
    assert (failed.code, failed.message) == (
        Fault.NAME_IN_USE,
        "The server says that the stream name is in use. (NetStream.Publish.BadName)",
    )


async def test_a_server_that_takes_nothing_any_more_is_left(tmp_path: Path) -> None:
    with Cdn(tmp_path) as cdn:
        studio = Studio(timing=Timing(connect=1, stall=0.5, backoff=(0.1,), repeat=0.5, limit=60))
        url = cdn.url("x")
        async with studio.on_air(url):
            await studio.until(url, [1, 2])
            cdn.pause()
            # more than the system buffers on both sides
            big = EncodedPacket("video", studio._loop[0].data + bytes(1 << 20), 0, True, "h264")
            for _ in range(30):
                studio.outputs.put(big)
                await asyncio.sleep(0.02)
            await studio.until(url, [1, 2, 3], 20)
            broken = next(report for report in studio.reports if report.status == 3)
            assert broken.code in (Fault.STALLED, Fault.CLOSED)
            cdn.resume()
            await studio.until(url, [1, 2, 3, 2], 20)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [(None, Fault.TIMED_OUT), (b"HTTP/1.1 400 Bad Request\r\n\r\n", Fault.NOT_RTMP), (b"", Fault.CLOSED)],
)
async def test_a_server_of_another_kind_is_named(answer: bytes | None, fault: Fault) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"rtmp://127.0.0.1:{server.sockets[0].getsockname()[1]}/live/x"
    studio = Studio(None, timing=Timing(connect=0.4, repeat=0.3, limit=1, backoff=(0.1,)))
    async with studio.on_air(url):
        await studio.until(url, [1, 4, 0])
    server.close()
    assert next(report for report in studio.reports if report.status == 4).code == fault


async def _resolve(name: str) -> list[IpAddress]:
    if name == "inside.example":
        return [ip_address("10.0.0.1")]
    raise OSError("no such name")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("rtmp://127.0.0.1:1/live/x", Fault.PRIVATE_ADDRESS),
        ("rtmp://inside.example/live/x", Fault.PRIVATE_ADDRESS),
        ("rtmp://nowhere.example/live/x", Fault.NAME_NOT_FOUND),
        ("rtmp://user:word@cdn.example/live/x", Fault.INVALID_ADDRESS),
    ],
)
async def test_what_cannot_be_reached_says_why(url: str, fault: Fault) -> None:
    dialer = Dialer(allow_private=False, resolve=_resolve)
    studio = Studio(None, timing=Timing(repeat=0.2, limit=0.5, backoff=(0.1,)), dialer=dialer, resumes=True)
    async with studio.on_air(url):
        await studio.until(url, [3, 4, 0])
    assert next(report for report in studio.reports if report.status == 4).code == fault


async def test_rtmps_reaches_a_server_with_a_valid_certificate_only(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, 1)
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offered.load_cert_chain(chain, key)
    with Cdn(tmp_path / "cdn") as cdn:
        async with _tls_in_front(cdn.port, offered) as port:
            url = f"rtmps://127.0.0.1:{port}/live/x"
            trusting, doubting = Studio(ssl_context=ssl.create_default_context(cafile=str(chain))), Studio()
            async with trusting.on_air(url):
                await trusting.until(url, [1, 2])
                await _in_thread(lambda: cdn.wait_for("x"))
            assert trusting.statuses(url) == [1, 2, 5, 0]
            async with doubting.on_air(url):
                await doubting.until(url, [1, 4, 0])
    assert next(report for report in doubting.reports if report.status == 4).code == Fault.TLS


@contextlib.asynccontextmanager
async def _tls_in_front(target: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(copy(reader, ahead), copy(behind, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
