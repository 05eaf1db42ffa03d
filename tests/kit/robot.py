"""A Python program in a room through the native client: publishes an encoded picture and tone, watches the others."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType

from rtcloud.client import connect
from rtcloud.client.types import ClientRoom, DataReceived, EncodedFrame, KeyframeRequested, Publication, RoomEvent

FPS = 30
AUDIO_RATE = 48_000
AUDIO_FRAME = 960  # 20 ms


class VideoMaker:
    """H.264 or VP8 of one colour, with a moving bar so that no two pictures are alike."""

    def __init__(self, color: str, codec: str = "h264", width: int = 320, height: int = 180) -> None:
        name = {"h264": "libx264", "vp8": "libvpx"}[codec]
        encoder = av.CodecContext.create(name, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        self._encoder = encoder
        self._encoder.width, self._encoder.height = width, height
        self._encoder.pix_fmt = "yuv420p"
        self._encoder.time_base = Fraction(1, FPS)
        self._encoder.framerate = Fraction(FPS)
        self._encoder.bit_rate = 300_000
        self._encoder.gop_size = 10 * FPS
        self._encoder.options = (
            {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
            if codec == "h264"
            else {"deadline": "realtime", "lag-in-frames": "0", "cpu-used": "8"}
        )
        self._picture = np.empty((height, width, 3), np.uint8)
        self._rgb = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        self._count = 0

    def frame(self, keyframe: bool) -> bytes:
        height, width, _ = self._picture.shape
        self._picture[:] = self._rgb
        left = self._count * 4 % (width - 10)
        self._picture[-height // 6 :, left : left + 10] = 0
        picture = av.VideoFrame.from_ndarray(self._picture, format="rgb24").reformat(format="yuv420p")
        picture.pts = self._count
        picture.time_base = Fraction(1, FPS)
        if keyframe:
            picture.pict_type = PictureType.I
        self._count += 1
        return b"".join(bytes(packet) for packet in self._encoder.encode(picture))


class AudioMaker:
    """Opus of one tone."""

    def __init__(self, hz: float) -> None:
        self._encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(self._encoder, av.AudioCodecContext)
        self._encoder.sample_rate = AUDIO_RATE
        self._encoder.layout = "mono"
        self._encoder.format = av.AudioFormat("s16")
        self._encoder.bit_rate = 48_000
        self._hz = hz
        self._position = 0

    def packet(self) -> bytes:
        times = (self._position + np.arange(AUDIO_FRAME)) / AUDIO_RATE
        wave = (0.2 * 32767 * np.sin(2 * np.pi * self._hz * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = AUDIO_RATE
        frame.pts = self._position
        frame.time_base = Fraction(1, AUDIO_RATE)
        self._position += AUDIO_FRAME
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))


class Robot:
    def __init__(self, room: ClientRoom) -> None:
        self.room = room
        self.happened: list[RoomEvent] = []
        self.frames: Counter[tuple[str, str]] = Counter()  # (user, kind) → frames received
        self.by_track: Counter[str] = Counter()  # the same by track, also of tracks that nobody announced
        self.last: dict[tuple[str, str], EncodedFrame] = {}
        self.keyframes: Counter[str] = Counter()  # user → video keyframes received
        self._wants_keyframe = True
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks += [asyncio.create_task(self._watch()), asyncio.create_task(self._receive())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.room.leave()

    async def publish(self, color: str, hz: float, codec: str = "h264") -> None:
        video = await self.room.publish_video(width=320, height=180, codec=codec)  # type: ignore[arg-type]
        audio = await self.room.publish_audio()
        self._tasks += [
            asyncio.create_task(self._send_video(video, VideoMaker(color, codec))),
            asyncio.create_task(self._send_audio(audio, AudioMaker(hz))),
        ]

    def messages(self) -> list[DataReceived]:
        return [event for event in self.happened if isinstance(event, DataReceived)]

    async def _watch(self) -> None:
        while events := await self.room.events():
            self.happened += events
            self._wants_keyframe |= any(isinstance(event, KeyframeRequested) for event in events)

    async def _receive(self) -> None:
        while frames := await self.room.frames():
            for frame in frames:
                self.by_track[frame.track] += 1
                for participant in self.room.participants.values():
                    for track in participant.tracks:
                        if track.track_id == frame.track:
                            self.frames[participant.user_id, track.kind] += 1
                            self.last[participant.user_id, track.kind] = frame
                            if track.kind == "video" and frame.keyframe:
                                self.keyframes[participant.user_id] += 1

    async def _send_video(self, publication: Publication, maker: VideoMaker) -> None:
        async for capture_us in _paced(1 / FPS):
            wanted, self._wants_keyframe = self._wants_keyframe, False
            publication.write(maker.frame(wanted), capture_us)

    async def _send_audio(self, publication: Publication, maker: AudioMaker) -> None:
        async for capture_us in _paced(AUDIO_FRAME / AUDIO_RATE):
            if packet := maker.packet():
                publication.write(packet, capture_us)


async def _paced(interval_s: float) -> AsyncIterator[int]:
    """Unix microseconds, one each interval; late ones follow at once."""
    began_ns, began = time.time_ns(), time.monotonic()
    count = 0
    while True:
        yield began_ns // 1000 + int(count * interval_s * 1e6)
        count += 1
        await asyncio.sleep(max(0.0, began + count * interval_s - time.monotonic()))


@asynccontextmanager
async def robot(url: str, token: str) -> AsyncIterator[Robot]:
    async with connect(url, token) as room:
        started = Robot(room)
        started.start()
        try:
            yield started
        finally:
            await started.close()
