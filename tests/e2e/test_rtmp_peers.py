"""Programs that people push with, against our side of the connection; and our player against a real server."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import av
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

from rtcloud.clock import SystemClock
from rtcloud.egress.publishing.flv import AudioFormat
from rtcloud.egress.publishing.outputs import Outputs
from rtcloud.egress.publishing.statuses import Status
from rtcloud.ingest.flv import FlvReader
from rtcloud.ingest.media import SourcePacket
from rtcloud.outgoing.dialing import Dialer
from rtcloud.rtmp.address import parse_address
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.media import Media
from rtcloud.rtmp.playing import Ended, Player, Playing
from rtcloud.rtmp.serving import CHUNK_SIZE, Connect, Publish
from rtcloud.tasks.protocol import OutputChanged
from tests.kit.cdn import Cdn
from tests.kit.encoded import in_order, pictures, sound
from tests.kit.rtmp_taker import Taken, Taker
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

NAME = "hello_room?sdkappid=1400000001&userid=obs&usersig=eJw1jd*E-x_"
FIELDS = {"sdkappid": "1400000001", "userid": "obs", "usersig": "eJw1jd*E-x_"}
PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2")
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25")


async def run(*command: str) -> tuple[int, str]:
    """The exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode("utf-8", "replace")


async def ffmpeg(*arguments: str) -> tuple[int, str]:
    return await run("ffmpeg", "-hide_banner", "-nostdin", "-v", "error", *arguments)


def decoded(packets: list[SourcePacket]) -> int:
    """How many pictures, or samples, they are."""
    form = packets[0].form
    context = cast(AudioCodecContext | VideoCodecContext, av.CodecContext.create(form.codec, "r"))
    context.extradata = form.config
    found = 0
    for packet in [*(av.Packet(each.data) for each in packets), None]:
        for frame in context.decode(packet):
            found += frame.samples if isinstance(frame, av.AudioFrame) else 1
    return found


def assert_whole(taken: Taken, pictures: int = 50, seconds: float = 2) -> None:
    assert (taken.error, taken.ended, taken.reader.skipped) == ("", True, 0)
    assert taken.publish == Publish("push", "hello_room", FIELDS)
    shown, heard = taken.kinds("video"), taken.kinds("audio")
    assert decoded(shown) == pictures
    assert decoded(heard) >= (seconds - 0.1) * (heard[0].form.rate or 48_000)
    assert shown[-1].dts_us - shown[0].dts_us == pytest.approx((seconds - 0.04) * 1e6, abs=2000)


async def test_what_ffmpeg_pushes_arrives_whole() -> None:
    async with Taker() as taker:
        for extra in ((), ("-bf", "2")):
            assert await ffmpeg(*PICTURE, *TONE, *X264, *extra, "-c:a", "aac", "-f", "flv", taker.url(NAME)) == (0, "")
            taken = await taker.closed()
            assert_whole(taken)
            reordered = any(packet.pts_us != packet.dts_us for packet in taken.kinds("video"))
            assert reordered == bool(extra)
            assert taken.reader.facts["framerate"] == 25
            assert taken.connect is not None
            assert "Lavf" in taken.connect.client


async def test_ffmpegs_long_times_and_large_pictures_are_put_together() -> None:
    """After four and a half hours times have more than 24 bits; pictures have more than a chunk."""
    large = ("-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=2", "-output_ts_offset", "16776.5")
    async with Taker() as taker:
        assert await ffmpeg(*large, *X264, "-qp", "4", "-f", "flv", taker.url(NAME)) == (0, "")
        taken = await taker.closed()
        shown = taken.kinds("video")
        assert (taken.error, taken.reader.skipped, decoded(shown)) == ("", 0, 50)
        assert max(len(packet.data) for packet in shown) > CHUNK_SIZE
        assert [packet.dts_us for packet in shown] == [16_776_500_000 + turn * 40_000 for turn in range(50)]


@pytest.mark.parametrize("at", [Connect, Publish])
async def test_ffmpeg_says_why_it_was_refused(at: type[Connect | Publish]) -> None:
    def judge(event: Connect | Publish) -> tuple[str, str] | None:
        return ("NetStream.Publish.Denied", "the user signature has expired") if isinstance(event, at) else None

    async with Taker(judge) as taker:
        status, said = await ffmpeg(*PICTURE, *X264, "-f", "flv", taker.url(NAME))
        assert status != 0
        assert "Server error: the user signature has expired" in said
        assert (await taker.closed()).packets == []


@pytest.mark.parametrize("sink", ["rtmp2sink", "rtmpsink"])
async def test_what_gstreamer_pushes_arrives_whole(sink: str) -> None:
    """The second is librtmp, which OBS has as well."""
    async with Taker() as taker:
        picture = (
            "videotestsrc num-buffers=50 ! video/x-raw,width=320,height=180,framerate=25/1 ! x264enc tune=zerolatency"
        )
        tone = "audiotestsrc num-buffers=87 samplesperbuffer=1024 ! audio/x-raw,rate=44100,channels=1 ! voaacenc"
        mux = f"flvmux name=mux streamable=true ! {sink} location={taker.url(NAME)}"
        pipeline = f"{picture} ! h264parse ! mux. {tone} ! aacparse ! mux. {mux}"
        status, said = await run("gst-launch-1.0", "-q", *pipeline.split())
        assert status == 0, said
        assert_whole(await taker.closed())


#: in a process of its own: PyAV holds the interpreter while it connects
_PUSH = """
import sys, av
with av.open(sys.argv[1]) as source, av.open(sys.argv[2], "w", format="flv") as target:
    copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
    for packet in source.demux():
        if packet.dts is not None:
            packet.stream = copies[packet.stream.index]
            target.mux(packet)
"""


async def test_what_pyav_pushes_in_enhanced_rtmp_arrives_whole(tmp_path: Path) -> None:
    """H.265 and Opus, by FourCC."""
    path = tmp_path / "source.mkv"
    h265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:bframes=0")
    assert (await ffmpeg(*PICTURE, *TONE, *h265, "-c:a", "libopus", str(path)))[0] == 0

    async with Taker() as taker:
        status, said = await run(sys.executable, "-c", _PUSH, str(path), taker.url(NAME))
        assert status == 0, said
        taken = await taker.closed()
        assert_whole(taken)
        assert {packet.form.codec for packet in taken.packets} == {"hevc", "opus"}


async def test_what_our_relay_pushes_arrives_whole() -> None:
    reports: list[OutputChanged] = []
    async with Taker() as taker:
        outputs = Outputs(
            "h264",
            AudioFormat(48_000, 2),
            Dialer(allow_private=True),
            reports.append,
            SystemClock(),
            lambda: None,
            chance=random.Random(1),
        )
        outputs.set_urls([taker.url(NAME)])
        shown, heard = pictures("h264", 320, 180, 50), sound(94)
        try:

            async def published() -> bool:
                return any(report.status == Status.RUNNING for report in reports)

            await eventually(published, "it publishes")
            for packet in in_order(shown, heard):
                outputs.put(packet)
                await asyncio.sleep(0)
        finally:
            await outputs.close()
        taken = await taker.closed()
        assert_whole(taken, pictures=len(taken.kinds("video")))
        came = [packet.data for packet in taken.kinds("audio")]
        assert len(came) > 90  # what comes before the first picture is left out
        assert came == [packet.data for packet in heard[-len(came) :]]


class _Viewer:
    def __init__(self, url: str) -> None:
        self.address = parse_address(url)
        self.player = Player(self.address, random.Random(1).randbytes(SIZE - 8))
        self.said: list[Playing | Ended | Refused] = []
        self.packets: list[SourcePacket] = []
        self._reader = FlvReader()

    async def watch(self) -> None:
        """Until the server says that it is over."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        with contextlib.closing(writer):
            self.player.begin()
            while not any(isinstance(event, Ended | Refused) for event in self.said):
                writer.write(self.player.take_output())
                if not (data := await reader.read(65536)):
                    return
                for event in self.player.receive(data):
                    if isinstance(event, Media):
                        self.packets += self._reader.receive(event.kind, event.data, event.time_ms)
                    else:
                        self.said.append(event)


@contextlib.asynccontextmanager
async def _pushed(*arguments: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec("ffmpeg", "-nostdin", "-v", "error", *arguments)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def test_our_player_gets_what_a_real_server_has(tmp_path: Path) -> None:
    with Cdn(tmp_path) as cdn:
        viewer = _Viewer(cdn.url("one"))
        push = ("-re", *PICTURE, *TONE, *X264, "-c:a", "aac", "-f", "flv", cdn.url("one"))
        async with asyncio.timeout(40), _pushed("-stream_loop", "-1", *push):
            await asyncio.to_thread(cdn.wait_for, "one")
            watching = asyncio.create_task(viewer.watch())

            async def enough() -> bool:
                return len(viewer.packets) > 120 or watching.done()

            await eventually(enough, "media come", 20, seen=lambda: (viewer.said, len(viewer.packets)))
        async with asyncio.timeout(20):
            await watching
    assert isinstance(viewer.said[0], Playing)
    shown = [packet for packet in viewer.packets if packet.kind == "video"]
    first = next(index for index, packet in enumerate(shown) if packet.keyframe)
    assert decoded(shown[first:]) == len(shown) - first
    assert {packet.form.codec for packet in viewer.packets} == {"h264", "aac"}
