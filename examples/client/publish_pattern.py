"""Join a room and publish a moving pattern and a tone, encoded with PyAV (H.264 and Opus).

rtcloud admin usersig SDKAPPID pattern --data data
python examples/client/publish_pattern.py http://127.0.0.1:8080 SDKAPPID pattern USERSIG 1001
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType

from rtcloud.client import ConnectError, Room, join
from rtcloud.client.types import KeyframeRequested, Publication

WIDTH, HEIGHT, FPS = 640, 360, 30
RATE, SAMPLES = 48_000, 960  # 20 ms


class Keyframes:
    """Set when a subscriber needs one; the first frame is one anyway."""

    def __init__(self) -> None:
        self._wanted = True

    def want(self) -> None:
        self._wanted = True

    def take(self) -> bool:
        wanted, self._wanted = self._wanted, False
        return wanted


async def every(interval_s: float) -> AsyncIterator[tuple[int, int]]:
    """Number and capture time (Unix µs) of each frame. Exact steps: the clock of the source, not of the timer."""
    began_us, began, number = time.time_ns() // 1000, time.monotonic(), 0
    while True:
        yield number, began_us + round(number * interval_s * 1e6)
        number += 1
        await asyncio.sleep(max(0.0, began + number * interval_s - time.monotonic()))


async def send_picture(publication: Publication, keyframes: Keyframes) -> None:
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, FPS), Fraction(FPS), 600_000
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"}
    row = np.arange(WIDTH, dtype=np.uint16)
    async for number, capture_us in every(1 / FPS):
        stripes = ((row + 4 * number) % 256).astype(np.uint8)
        pixels = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        pixels[:HEIGHT] = stripes
        picture = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
        picture.pts = number
        if keyframes.take():
            picture.pict_type = PictureType.I
        packets = await asyncio.to_thread(encoder.encode, picture)
        publication.write(b"".join(bytes(packet) for packet in packets), capture_us)


async def send_tone(publication: Publication) -> None:
    encoder = av.AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    async for number, capture_us in every(SAMPLES / RATE):
        times = (number * SAMPLES + np.arange(SAMPLES)) / RATE
        wave = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, number * SAMPLES, Fraction(1, RATE)
        for packet in encoder.encode(frame):
            publication.write(bytes(packet), capture_us)


async def watch(room: Room, keyframes: Keyframes) -> None:
    while events := await room.events():
        if any(isinstance(event, KeyframeRequested) for event in events):
            keyframes.want()


async def main(arguments: argparse.Namespace) -> None:
    entering = join(arguments.server, arguments.sdk_app_id, arguments.user, arguments.user_sig, room_id=arguments.room)
    async with entering as room:
        keyframes = Keyframes()
        video = await room.publish_video(width=WIDTH, height=HEIGHT)
        audio = await room.publish_audio()
        senders = [asyncio.create_task(send_picture(video, keyframes)), asyncio.create_task(send_tone(audio))]
        try:
            await watch(room, keyframes)
        finally:
            for sender in senders:
                sender.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server")
    parser.add_argument("sdk_app_id", type=int)
    parser.add_argument("user")
    parser.add_argument("user_sig")
    parser.add_argument("room", type=int)
    try:
        asyncio.run(main(parser.parse_args()))
    except ConnectError as error:
        raise SystemExit(f"cannot join: {error}") from error
    except KeyboardInterrupt:
        pass
